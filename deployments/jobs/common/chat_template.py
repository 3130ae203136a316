"""Chat templates for inference: without training markers, with support for a system message."""

import json
import re
from datetime import date
from importlib import import_module
from typing import Any

CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
DAY = date(2024, 7, 26)
"""The day that templates write: that of Llama 3.2's where a program gives it none."""
STOPPED = "{%- set date_string = '" + DAY.strftime("%d %b %Y") + "' %}"
"""Prepended to a template that asks the program for the day, as Llama 3's do; llama.cpp tells."""
FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n' + "
    "messages[1]['content']}] + messages[2:] -%}"
    "{%- endif -%}"
)
"""Prepended to a template that rejects system messages (Gemma 2's), or drops them once there is
a reply (Mistral Nemo's). It puts the text before the user's first message, as Gemma's authors
recommend and llama.cpp does."""


def fold_system(template: str, tokenizer: Any) -> str:
    """Makes a template accept a system message.

    Returns:
        The template itself, or one that puts the message before the user's first one.
    """
    said = {"system": "Answer in a word.", "user": "Is it?", "assistant": "Yes."}
    chat = [{"role": role, "content": content} for role, content in said.items()]
    try:
        text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
    except (import_module("jinja2").TemplateError, TypeError):
        return FOLDED + template
    return template if said["system"] in text else FOLDED + template


def without_clock(template: str) -> str:
    """Returns a template that writes the same date on each day.

    With that of the day, as Llama 3.2's and SmolLM3's write it, the prompts in use would differ
    from those that were trained, and a training that is resumed a day later would have other data.
    """
    template = CLOCK.sub(lambda found: json.dumps(DAY.strftime(found[2])), template)
    asks = "date_string" in template and STOPPED not in template
    return STOPPED + template if asks else template


def without_markers(template: str) -> str:
    """Returns a template that renders the same text without the tag `{% generation %}`.

    Inference programs do not know this tag. Another tag replaces it, since a tag also strips the
    whitespace around it.
    """
    tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
    return tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], template)

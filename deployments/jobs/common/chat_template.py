"""Chat templates for inference: without training markers, with support for a system message."""

import json
import re
from datetime import date
from importlib import import_module
from typing import Any

CLOCK = re.compile(r"""strftime_now\(\s*(["'])(.*?)\1\s*\)""")
DAY = date(2024, 7, 26)
"""The date that templates write: the default of Llama 3.2's template."""
STOPPED = "{%- set date_string = '" + DAY.strftime("%d %b %Y") + "' %}"
"""Prepended to a template that reads today's date from the program, such as Llama 3's. llama.cpp
would supply it."""
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
    """Make a template accept a system message.

    Returns:
        The template itself, or one that puts the message before the user's first one.
    """
    contents = {"system": "Answer in a word.", "user": "Is it?", "assistant": "Yes."}
    chat = [{"role": role, "content": content} for role, content in contents.items()]
    try:
        text = tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
    except (import_module("jinja2").TemplateError, TypeError):
        return FOLDED + template
    return template if contents["system"] in text else FOLDED + template


def without_clock(template: str) -> str:
    """Return a template that writes the same date every day.

    With today's date, as Llama 3.2's and SmolLM3's templates write it, the prompts in use would
    differ from those in training, and a training resumed on another day would have other data.
    """
    template = CLOCK.sub(lambda match: json.dumps(DAY.strftime(match[2])), template)
    asks = "date_string" in template and STOPPED not in template
    return STOPPED + template if asks else template


def without_markers(template: str) -> str:
    """Return a template that renders the same text without the tag `{% generation %}`.

    Inference programs do not know this tag. Another tag replaces it, since a tag also strips the
    whitespace around it.
    """
    tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
    return tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], template)

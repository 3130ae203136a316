"""Chat templates for inference: without training markers, with support for a system message."""

import re
from importlib import import_module
from typing import Any

FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n' + "
    "messages[1]['content']}] + messages[2:] -%}"
    "{%- endif -%}"
)
"""Prepended to a template that rejects system messages (Gemma 2's). It puts the text before the
user's first message, as Gemma's authors recommend and llama.cpp does."""


def fold_system(template: str, tokenizer: Any) -> str:
    """Makes a template accept a system message.

    Returns:
        The template itself, or one that puts the message before the user's first one.
    """
    chat = [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]
    try:
        tokenizer.apply_chat_template(chat, chat_template=template, tokenize=False)
    except import_module("jinja2").TemplateError:
        return FOLDED + template
    return template


def without_markers(template: str) -> str:
    """Returns a template that renders the same text without the tag `{% generation %}`.

    Inference programs do not know this tag. Another tag replaces it, since a tag also strips the
    whitespace around it.
    """
    tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
    return tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], template)

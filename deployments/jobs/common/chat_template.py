"""Chat templates as programs that only read them need them."""

import re
from importlib import import_module
from typing import Any

FOLDED = (
    "{%- if messages and messages[0]['role'] == 'system' -%}"
    "{%- set messages = [{'role': 'user', 'content': messages[0]['content'] + '\\n' + "
    "messages[1]['content']}] + messages[2:] -%}"
    "{%- endif -%}"
)
"""Goes before a template that refuses a system message (Gemma 2's): its makers have the text put
before the user's first message, and llama.cpp does so too."""


def fold_system(template: str, tokenizer: Any) -> str:
    """A template that takes a system message.

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
    """A template that renders the same without marking the replies as `{% generation %}` does.

    Programs that only read a template do not know this tag. Others stand in its place, not none:
    a tag takes blanks and line breaks away around it.
    """
    tags = re.compile(r"(\{%[-+]?\s*)(end)?generation(\s*[-+]?%\})")
    return tags.sub(lambda tag: tag[1] + ("endif" if tag[2] else "if true") + tag[3], template)

"""The replies in a conversation whose chat template does not mark them."""

import re
from typing import Any

from ..common.dataset import Messages
from ..common.events import JobError
from ..common.quoting import Span, control_tokens, encode_chat

SAMPLE_MESSAGE = "QUESTION"
"""A user message, rendered to see what a template writes between a message and its reply."""


def find_replies(tokenizer: Any, chat: Messages, template: str, text: str) -> list[Span]:
    """Return start and end of each reply, including its stop token, in the rendered text.

    A reply starts where the prompt for it ends. A template that renders a past reply differently
    from the prompt for it, as Qwen3's does with think blocks, is an error.

    Args:
        text: the rendered conversation.

    Raises:
        JobError: a reply does not follow its prompt, or is not followed by a control token.
    """
    encoded = encode_chat(
        tokenizer, [{"role": "user", "content": SAMPLE_MESSAGE}], template, prompt=True
    )
    between = encoded.text.rpartition(SAMPLE_MESSAGE)[2]
    stop = re.compile("|".join(control_tokens(tokenizer).values()) or r"(?!)")
    spans, at = list[Span](), 0
    for before, message in zip([{"content": ""}, *chat], chat, strict=False):
        if message["role"] != "assistant":
            continue
        prompt = before["content"] + between
        start = text.find(prompt, at) + len(prompt)
        begin = start + len(text[start:]) - len(text[start:].lstrip())
        end = stop.match(text, begin + len(message["content"]))
        if prompt not in text[at:] or not text.startswith(message["content"], begin) or not end:
            wrong = "The chat template renders a past reply differently from the prompt for it, and"
            wrong = f"{wrong} does not mark the assistant's replies with {{% generation %}}"
            raise JobError(f"{wrong}; mark them (docs/training.md), or give another template.")
        at = end.end()
        spans.append((start, at))
    return spans

"""The tokenizer, and the prompts with which models and files are compared."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..common.chat_template import fold_system, without_clock, without_markers
from ..common.dataset import Messages
from ..common.events import JobError, short
from ..common.quoting import Encoded, encode_chat

PROMPTS = [
    "I slept badly and my work is piling up. I also argued with my sister. What should I do first?",
    "Hello. How are you?",
    "3 short lines about 2026: the café, a naïve plan and 12.5 % — it's fine, isn't it?\n\nThanks!",
]
TURNS = [
    "What helps against worry?",
    "Writing it down, for one.\n\n- What is it?\n- What can wait?",
    "My exam, and the rent :-/",
]


def load_tokenizer(arguments: argparse.Namespace, folder: Path) -> Any:
    from transformers import AutoTokenizer

    if not (folder / "tokenizer_config.json").is_file():
        remedy = "copy the one used in training there, as train_sft.py does"
        raise JobError(f"{str(folder)!r} has no tokenizer; {remedy}.")
    tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if arguments.chat_template:
        tokenizer.chat_template = arguments.chat_template.read_text(encoding="utf-8")
    if not isinstance(tokenizer.chat_template, str):
        wrong = "The tokenizer does not have exactly one chat template"
        raise JobError(f"{wrong}; give one with --chat-template.")
    template = without_clock(without_markers(tokenizer.chat_template))
    tokenizer.chat_template = fold_system(template, tokenizer)
    return tokenizer


def turns(*texts: str) -> Messages:
    """Return a chat in which user and assistant alternate."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(texts)]


def render(tokenizer: Any, chat: Messages, prompt: bool = True) -> str:
    return tokenize(tokenizer, chat, prompt).text


def tokenize(tokenizer: Any, chat: Messages, prompt: bool = True) -> Encoded:
    try:
        return encode_chat(tokenizer, chat, prompt=prompt)
    except import_module("jinja2").TemplateError as error:
        roles = ", ".join(message["role"] for message in chat[:4])
        wrong = f"The chat template cannot render messages of {roles} ({short(error)})"
        raise JobError(f"{wrong}; give another --chat-template or other texts.") from None


def make_chats(tokenizer: Any, system: str) -> list[Messages]:
    """Return chats that end with a user message, with and without a system prompt.

    Chats with a system prompt are left out if the template supports none and `system` is empty.
    """
    questions = [*map(turns, PROMPTS), turns(*TURNS)]
    content = system or "You are a helpful assistant. Be brief."
    heads: list[Messages] = [[{"role": "system", "content": content}], []]
    try:
        render(tokenizer, heads[0] + questions[0])
    except JobError:
        if system:
            raise
        heads = [[]]
    if not system:
        heads.reverse()
    return [head + chat for head in heads for chat in questions]


def find_stop(tokenizer: Any) -> tuple[str, int]:
    """Return the text and number of the token with which the template ends a reply."""
    after = render(tokenizer, turns("A", "REPLY"), prompt=False).split("REPLY")[-1].lstrip()
    numbers = {token.content: number for number, token in tokenizer.added_tokens_decoder.items()}
    stop = max((text for text in numbers if after.startswith(text)), key=len, default="")
    if not stop:
        wrong = f"The chat template ends a reply with {after[:20]!r}, which is no special token"
        raise JobError(f"{wrong}; give another --chat-template.")
    return stop, numbers[stop]


class Prompts(NamedTuple):
    """The prompts for the merged model and its files: chats, also as text and as tokens.

    `stop` is the text and number of the token that ends a reply.
    """

    chats: list[Messages]
    texts: list[str]
    ids: list[list[int]]
    stop: tuple[str, int]


def make_prompts(tokenizer: Any, system: str) -> Prompts:
    chats, stop = make_chats(tokenizer, system), find_stop(tokenizer)
    encoded = [tokenize(tokenizer, chat) for chat in chats]
    return Prompts(chats, [chat.text for chat in encoded], [chat.ids for chat in encoded], stop)

"""The check on the labels that exactly the assistant's replies are learnt."""

import argparse
import re
from collections.abc import Iterable
from itertools import groupby, takewhile, zip_longest
from typing import Any

from ..common.dataset import as_read
from ..common.events import JobError
from .data import Example, Row


def check_labels(
    examples: list[Example],
    rows: list[Row],
    tokenizer: Any,
    arguments: argparse.Namespace,
) -> set[str]:
    """Check on the labels that exactly the replies and their stop tokens are learnt.

    Returns:
        The stop tokens.

    Raises:
        JobError: something else is learnt, or a reply or stop token is not.
    """
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    controls = set(tokenizer.convert_tokens_to_ids(sorted(special)))
    prefix = tokenizer(arguments.reply_prefix, add_special_tokens=False)["input_ids"]
    before = sum(token in controls for token in prefix)
    stops: set[str] = set()
    # A few hundred examples, evenly spaced: decoding all of a large dataset would take minutes.
    for number in range(0, len(examples), max(1, len(examples) // 256)):
        spans = learnt_spans(examples[number])
        messages, times, _ = rows[number]
        replies = [m["content"] for m in messages if m["role"] == "assistant"]
        learnt = [(reply, n) for reply, n in zip(replies, times, strict=True) if n]
        expected = [arguments.reply_prefix + reply for reply, _ in learnt]
        cut = len(examples[number].ids) == arguments.max_length
        pairs = zip_longest(spans, expected[: len(spans)] if cut else expected)
        for position, (span_or_none, reply_or_none) in enumerate(pairs, 1):
            span, reply = span_or_none or [], reply_or_none or ""
            text = text_of(span, tokenizer)
            after = ends_of(ending(text, reply, tokenizer), special)
            if after and sum(token in controls for token in span) <= before + len(after):
                stops.add(after[0])
            # The last reply of a truncated example may be incomplete, even end within a character.
            elif not (cut and position == len(spans) and reply.startswith(text.rstrip("\ufffd"))):
                raise wrong_label(number + 1, text, reply)
        check_times(number + 1, examples[number], [n for _, n in learnt])
    return stops


def check_times(number: int, example: Example, expected: list[int]) -> None:
    """Check that each reply has the weight that its row gives it."""
    replies, times = example.replies.tolist(), example.times.tolist()
    counted = {reply: n for reply, n in zip(replies, times, strict=True) if reply}
    uniform = all(counted[reply] == n for reply, n in zip(replies, times, strict=True) if reply)
    if not uniform or list(counted.values()) != expected[: len(counted)]:
        wrong = f"Example {number} would count its replies {list(counted.values())} times"
        raise JobError(f"{wrong} instead of {expected}; report this.")


def learnt_spans(example: Example) -> list[list[int]]:
    ids, labels = example.ids.tolist(), example.labels.tolist()
    runs = groupby(zip(ids, labels, strict=True), key=lambda pair: pair[1] != -100)
    return [[token for token, _ in run] for learnt, run in runs if learnt]


def text_of(span: list[int], tokenizer: Any) -> str:
    # The template may put a line break after the stop token, which may be learnt with it.
    return tokenizer.decode(span, clean_up_tokenization_spaces=False).removesuffix("\n")


def ending(text: str, reply: str, tokenizer: Any) -> str:
    """Return what follows a reply in a learnt text; empty if the text does not start with it.

    The text may contain the reply in another Unicode form, into which some tokenizers convert it.
    """
    # Mistral's template puts a blank before a reply, which becomes part of its first token.
    text = text if text.startswith(reply) else text.removeprefix(" ")
    if text.startswith(reply):
        return text.removeprefix(reply)
    seen = tokenizer(reply, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    reply = tokenizer.decode(seen, clean_up_tokenization_spaces=False)
    return text.removeprefix(reply) if text.startswith(reply) else ""


def ends_of(text: str, special: set[str]) -> list[str]:
    """Return a text's control tokens; an empty list if it contains other text than these."""
    # Phi's template ends the last reply with <|end|> and <|endoftext|>.
    either = "|".join(map(re.escape, sorted(special, key=len, reverse=True))) or r"(?!)"
    return re.findall(either, text) if not re.sub(either, "", text).strip() else []


def wrong_label(number: int, text: str, reply: str) -> JobError:
    part = slice(max(0, alike(text, reply) - 20), None)
    learnt, expected = text[part][:80], reply[part][:80]
    if reply and text.startswith(reply) and len(text) > len(reply):
        wrong = f"Example {number} would learn control tokens in {learnt!r} in addition to the one"
        wrong = f"{wrong} at its end"
    else:
        # As code points if both look the same.
        same = as_read(learnt) == as_read(expected)
        show = ascii if same else repr
        wrong = f"Example {number} would learn {show(learnt)} instead of {show(expected)} and a"
        wrong = f"{wrong} stop token"
    remedy = "use another --chat-template, or name what it adds with --reply-prefix"
    return JobError(f"{wrong}; {remedy}.")


def alike(these: Iterable[str], those: Iterable[str]) -> int:
    """Return the length of the common prefix."""
    pairs = zip(these, those, strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))

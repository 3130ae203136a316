"""The pairs of both splits as tokens, with checks of what is compared. No pair is truncated."""

import argparse
import hashlib
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..common.dataset import Messages, as_read, download_files, look_up_dataset
from ..common.events import JobError, emit, short
from ..common.limits import check_tokens, context_of, text_part
from ..common.quoting import encode_chat, is_marked, within
from ..train.label_proof import ending, ends_of, text_of
from ..train.marking import find_replies
from ..train.template import fetch_config, load_tokenizer

PAIR_SPLITS = ("train", "validation")
ON_THE_HUB = {
    "train": "pairs/train.parquet",
    "validation": "pairs/validation.parquet",
    "heldout": "conversations/validation.parquet",
}
"""The files of a dataset that Understudy published."""


class Replies(NamedTuple):
    """A pair as tokens: both replies with their stop tokens, after the same prompt."""

    prompt: list[int]
    chosen: list[int]
    rejected: list[int]

    @property
    def longest(self) -> int:
        return len(self.prompt) + max(len(self.chosen), len(self.rejected))


class Learnt(NamedTuple):
    """A held-out conversation; the label -100 is ignored."""

    ids: list[int]
    labels: list[int]


class PairData(NamedTuple):
    """The data of a training.

    Args:
        heldout: conversations that the adapter was never trained on.
        facts: figures for metrics.json.
    """

    tokenizer: Any
    pairs: dict[str, list[Replies]]
    heldout: list[Learnt]
    facts: dict[str, Any]


def prepare_pairs(arguments: argparse.Namespace) -> PairData:
    """Read, encode and check all data."""
    files = find_pair_files(arguments)
    table = {
        split: read_rows(files[split], ("prompt", "chosen", "rejected")) for split in PAIR_SPLITS
    }
    tokenizer, template = load_tokenizer(arguments)
    encoder = PairEncoder(tokenizer, template, arguments.reply_prefix)
    pairs, counts = dict[str, list[Replies]](), dict[str, dict[str, int]]()
    for split, rows in table.items():
        every = [encoder.pair(row, f"row {n} of {split}") for n, row in enumerate(rows, 1)]
        pairs[split] = [pair for pair in every if pair.longest <= arguments.max_length]
        longest = max(pair.longest for pair in every)
        counts[split] = {
            "pairs": len(pairs[split]),
            "too_long": len(every) - len(pairs[split]),
            "longest": longest,
            "tokens": sum(
                2 * len(pair.prompt) + len(pair.chosen) + len(pair.rejected)
                for pair in pairs[split]
            ),
        }
        if not pairs[split]:
            wrong = f"No {split} pair fits --max-length {arguments.max_length}"
            raise JobError(f"{wrong} (the longest takes {longest} tokens); raise it.", 2)
    emit("pairs", max_length=arguments.max_length, **counts)
    heldout = encoder.conversations(
        read_rows(files["heldout"], ("messages",)), arguments.heldout_examples, arguments.max_length
    )
    check_pair_base(arguments, tokenizer, pairs, heldout)
    mean = {
        name: sum(len(getattr(pair, name)) for pair in pairs["train"]) / len(pairs["train"])
        for name in ("chosen", "rejected")
    }
    facts = {
        "pairs": counts,
        "stop_tokens": sorted(encoder.stops),
        "mean_tokens": {name: round(value, 1) for name, value in mean.items()},
    }
    emit("mask", stop_tokens=facts["stop_tokens"], mean_tokens=facts["mean_tokens"])
    return PairData(tokenizer, pairs, heldout, facts)


def find_pair_files(arguments: argparse.Namespace) -> dict[str, Path]:
    if not arguments.dataset:
        files = {name: Path(getattr(arguments, name)) for name in ON_THE_HUB}
        for name, path in files.items():
            if not path.is_file():
                wrong = f"File {str(path)!r} does not exist"
                raise JobError(f"{wrong}; give a parquet file with --{name}.")
        return files
    info = look_up_dataset(arguments)
    arguments.dataset_revision = info.sha
    published = {sibling.rfilename for sibling in info.siblings}
    if missing := [name for name in ON_THE_HUB.values() if name not in published]:
        wrong = f"Dataset {arguments.dataset!r} at {info.sha[:12]} has no {missing[0]}"
        remedy = "build it again with pairs (understudy repair, understudy preferences)"
        raise JobError(f"{wrong}; {remedy}.")
    paths = download_files(arguments, info, list(ON_THE_HUB.values()))
    return dict(zip(ON_THE_HUB, paths, strict=True))


def read_rows(path: Path, columns: tuple[str, ...]) -> list[list[Messages]]:
    """Return the columns of each row; texts are composed and stripped as for the training."""
    parquet = import_module("pyarrow.parquet")
    try:
        rows = parquet.read_table(path, columns=list(columns)).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        wrong = f"{path.name} cannot be read ({short(error)})"
        raise JobError(f"{wrong}; give a parquet file with the columns {columns}.") from None
    if not rows:
        raise JobError(f"{path.name} has no row; give one with the columns {columns}.")
    for number, row in enumerate(rows, 1):
        if not all(is_chat(row[name], ends=name != "prompt") for name in columns):
            wrong = f"{path.name} has no reply in row {number}"
            raise JobError(f"{wrong}; each of {columns} needs role and content, a reply last.")
    return [
        [
            [{"role": m["role"], "content": as_read(m["content"])} for m in row[name]]
            for name in columns
        ]
        for row in rows
    ]


def is_chat(messages: Any, ends: bool) -> bool:
    """Return whether these are messages and, if `ends`, whether the last one is a reply."""
    complete = bool(messages) and all(
        m and isinstance(m.get("role"), str) and isinstance(m.get("content"), str) for m in messages
    )
    return complete and (not ends or messages[-1]["role"] == "assistant")


class PairEncoder:
    """Turns messages into tokens, and checks that the compared tokens are the two replies.

    Args:
        template: the chat template, with generation markers if it has any.
        prefix: text that the template puts before each reply and that is learnt with it.
    """

    def __init__(self, tokenizer: Any, template: str, prefix: str) -> None:
        self.tokenizer, self.template, self.prefix = tokenizer, template, prefix
        specials = tokenizer.added_tokens_decoder.values()
        self.special = {token.content for token in specials if token.special}
        self.stops: set[str] = set()

    def pair(self, row: list[Messages], where: str) -> Replies:
        prompt, chosen, rejected = row
        better, worse = (
            self.last_reply(prompt + chosen, where),
            self.last_reply(prompt + rejected, where),
        )
        if better[0] != worse[0]:
            wrong = f"The two replies of {where} do not follow the same tokens"
            raise JobError(f"{wrong}; give another --chat-template.")
        return Replies(better[0], better[1], worse[1])

    def last_reply(self, chat: Messages, where: str) -> tuple[list[int], list[int]]:
        """Return the tokens before the last reply, and those of the reply with its stop token."""
        ids, marks = self.marked(chat, where)
        end = len(marks) - marks[::-1].index(True) if True in marks else 0
        start = end
        while start and marks[start - 1]:
            start -= 1
        reply, expected = ids[start:end], self.prefix + chat[-1]["content"]
        text = text_of(reply, self.tokenizer)
        after = ends_of(ending(text, expected, self.tokenizer), self.special)
        if not after:
            wrong = f"The reply in {where} would be learnt as {text[-60:]!r} instead of"
            wrong = f"{wrong} {expected[-60:]!r} and a stop token"
            raise JobError(f"{wrong}; use another --chat-template, or --reply-prefix.")
        self.stops.add(after[0])
        return ids[:start], reply

    def conversations(self, rows: list[list[Messages]], count: int, limit: int) -> list[Learnt]:
        """Return some held-out conversations, evenly spaced and cut to `limit` tokens.

        Args:
            count: maximum number of conversations.
        """
        chosen = []
        for row in rows[:: max(1, len(rows) // max(1, count))][:count]:
            ids, marks = self.marked(row[0], "the held-out conversations")
            labels = [token if mark else -100 for token, mark in zip(ids, marks, strict=True)]
            if any(label != -100 for label in labels[:limit]):
                chosen.append(Learnt(ids[:limit], labels[:limit]))
        return chosen

    def marked(self, chat: Messages, where: str) -> tuple[list[int], list[bool]]:
        wrong = (import_module("jinja2").TemplateError, TypeError, ValueError)
        try:
            encoded = encode_chat(self.tokenizer, chat, self.template)
        except wrong as error:
            failed = f"The chat template cannot render {where} ({short(error)})"
            raise JobError(f"{failed}; correct it or give another --chat-template.") from None
        if is_marked(self.template):
            return encoded.ids, encoded.learnt
        spans = find_replies(self.tokenizer, chat, self.template, encoded.text)
        return encoded.ids, within(encoded.text, spans, encoded.places)


def check_pair_base(
    arguments: argparse.Namespace,
    tokenizer: Any,
    pairs: dict[str, list[Replies]],
    heldout: list[Learnt],
) -> None:
    """Check that the base has an embedding for every token and that its context is long enough."""
    config = fetch_config(arguments)
    parts = [part for rows in pairs.values() for pair in rows for part in pair]
    check_tokens(
        tokenizer, [*parts, *(chat.ids for chat in heldout)], text_part(config).get("vocab_size")
    )
    longest, context = max(p.longest for rows in pairs.values() for p in rows), context_of(config)
    if context is not None and longest > context:
        wrong = f"The longest pair takes {longest} tokens, and the base's context is {context}"
        raise JobError(f"{wrong}; lower --max-length to {context}.", 2)


def identify_pairs(
    arguments: argparse.Namespace, data: PairData, adapter: str, cuda: bool, arithmetic: str
) -> str:
    """Return a hash of everything that determines the trained weights.

    Args:
        adapter: checksum of the adapter that is trained further.
    """
    free = {"train", "validation", "heldout", "dataset", "dataset_revision", "base", "output"}
    free |= {"adapter", "adapter_revision", "chat_template", "save_steps", "push_to", "push_tag"}
    free |= {"public", "retry_seconds", "trackio_project", "trackio_space", "base_revision"}
    knobs = {name: value for name, value in vars(arguments).items() if name not in free}
    inputs = [data.pairs, knobs, adapter, cuda, arithmetic]
    return hashlib.sha256(repr(inputs).encode()).hexdigest()

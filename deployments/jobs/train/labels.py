"""The examples with their labels: encoded, counted, truncated and checked."""

import argparse
import math
from importlib import import_module
from typing import Any

from ..common.dataset import Messages
from ..common.events import JobError, emit, short
from ..common.limits import check_kind, check_tokens, context_of, text_part
from ..common.quoting import encode_chat, is_marked, within
from .data import SPLITS, Example, Row, find_files, read_split
from .label_proof import check_labels
from .marking import find_replies
from .template import fetch_config, load_tokenizer
from .windows import trimmed, windows_of


def prepare(arguments: argparse.Namespace) -> tuple[Any, dict[str, list[Example]], dict[str, Any]]:
    """Read, encode and check all data; return tokenizer, examples and facts about them."""
    files, examples = find_files(arguments), dict[str, list[Example]]()
    rows: dict[str, list[Row]] = {}
    for split in SPLITS:
        where = f"Dataset file {str(files[split][0])!r}"
        if arguments.dataset:
            where = f"Split {split!r} of {arguments.dataset!r}"
        rows[split] = read_split(where, files[split], arguments.learn)
    tokenizer, template = load_tokenizer(arguments)
    for split in SPLITS:
        rows[split], examples[split] = encode(rows[split], tokenizer, template, split, arguments)
    truncation = check_lengths(rows, examples, arguments)
    check_base(arguments, tokenizer, examples)
    stops = set[str]()
    for split in SPLITS:
        stops |= check_labels(examples[split], rows[split], tokenizer, arguments)
    learnt = int(sum((example.labels != -100).sum() for example in examples["train"]))
    replies = sum(len(set(example.replies.tolist()) - {0}) for example in examples["train"])
    facts: dict[str, Any] = {"stop_tokens": sorted(stops), "supervised_tokens": learnt}
    facts |= {"replies": replies, "tokens": sum(len(example.ids) for example in examples["train"])}
    emit("mask", **facts)
    sample = max((row.messages for row in rows["train"]), key=len)
    used = tokenizer.apply_chat_template(sample, tokenize=False)
    trained = tokenizer.apply_chat_template(sample, chat_template=template, tokenize=False)
    options = {"tokenize": False, "add_generation_prompt": True}
    last = max(at for at, message in enumerate(sample) if message["role"] == "assistant")
    prompt = tokenizer.apply_chat_template(sample[:last], **options) if last else ""
    if used != trained or not trained.startswith(prompt):
        wrong = "The chat template for use renders past replies differently from the one for"
        emit("warning", text=f"{wrong} training; choose another --chat-template.")
    return tokenizer, examples, facts | {"truncation": truncation}


def check_base(
    arguments: argparse.Namespace, tokenizer: Any, examples: dict[str, list[Example]]
) -> None:
    """Check the base's kind, that it has an embedding for every token, and its context."""
    config = fetch_config(arguments)
    check_kind(config, arguments.base)
    rows = [example.ids for split in SPLITS for example in examples[split]]
    size, context = text_part(config).get("vocab_size"), context_of(config)
    check_tokens(tokenizer, rows, size)
    if size is not None and len(tokenizer) > size:
        more = f"{len(tokenizer) - size} of the tokenizer's tokens have no embedding in the base"
        emit("warning", text=f"{more}; the data use none of them.")
    longest = max(map(len, rows))
    if context is not None and longest > context:
        wrong = f"The longest example takes {longest} tokens, and the base's context is {context}"
        remedy = f"lower --max-length to {context}, give a base with a longer context, or state"
        raise JobError(f"{wrong}; {remedy} a scaling (rope_parameters) in its config.json.", 2)


def encode(
    rows: list[Row], tokenizer: Any, template: str, where: str, arguments: argparse.Namespace
) -> tuple[list[Row], list[Example]]:
    """Encode rows; complete conversations that are too long are cut into windows.

    Returns:
        The rows, or windows of them, and their examples.
    """
    wrong = (import_module("jinja2").TemplateError, TypeError, ValueError)
    encoded_rows, examples, marked = list[Row](), list[Example](), is_marked(template)

    def tokens_of(messages: Messages) -> tuple[list[int], list[bool]]:
        encoded = encode_chat(tokenizer, messages, template)
        if marked:
            return encoded.ids, encoded.learnt
        spans = find_replies(tokenizer, messages, template, encoded.text)
        return encoded.ids, within(encoded.text, spans, encoded.places)

    for number, row in enumerate(rows, 1):
        try:
            parts = [row]
            if arguments.learn != "slices":
                parts = windows_of(trimmed(row), tokens_of, arguments.max_length)
            examples += [label(*tokens_of(part.messages), part) for part in parts]
        except wrong as error:
            failed = f"The chat template cannot render row {number} of {where} ({short(error)})"
            raise JobError(f"{failed}; correct it or give another --chat-template.") from None
        encoded_rows += parts
    return encoded_rows, examples


def label(ids: list[int], marks: list[bool], row: Row) -> Example:
    """Return the example of a row; each run of marked tokens is a reply."""
    numpy = import_module("numpy")
    tokens, learnt = numpy.asarray(ids, dtype=numpy.int32), numpy.asarray(marks, dtype=bool)
    begins = learnt & ~numpy.concatenate([[False], learnt[:-1]])
    # If the template marks more runs than there are replies, `check_labels` reports it.
    run = numpy.where(learnt, begins.cumsum(), 0)
    times = numpy.asarray([0, *row.times, *[1] * len(ids)], dtype=numpy.int32)[run]
    labels = numpy.where(times > 0, tokens, numpy.int32(-100))
    replies = numpy.where(times > 0, run + row.before, 0).astype(numpy.int32)
    return Example(tokens, labels, replies, times)


def check_lengths(
    splits: dict[str, list[Row]],
    examples: dict[str, list[Example]],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Truncate examples to --max-length, and drop those left without a reply.

    Args:
        splits, examples: rows and examples of each split; both are changed in place.

    Returns:
        Counts for each split.

    Raises:
        JobError: more examples would be truncated than --allow-truncated, or none is left.
    """
    counts: dict[str, dict[str, Any]] = {}
    limit = arguments.max_length
    for name, full in examples.items():
        lengths = [len(example.ids) for example in full]
        with_reply = [bool((example.labels[:limit] != -100).any()) for example in full]
        kept = [number for number, learns in enumerate(with_reply) if learns]
        splits[name] = [splits[name][number] for number in kept]
        examples[name] = [Example(*(column[:limit] for column in full[at])) for at in kept]
        cut_share = sum(max(0, length - limit) for length in lengths) / sum(lengths)
        counts[name] = {
            "examples": len(lengths),
            "truncated": sum(length > limit for length in lengths),
            "longest": max(lengths),
            "tokens": sum(lengths),
            "cut_token_share": round(cut_share, 4),
            "without_reply": len(full) - len(kept),
        }
    emit("truncation", max_length=limit, **counts)
    for name, part in counts.items():
        longest = f"(longest: {part['longest']})"
        if not splits[name]:
            wrong = f"No {name} example has a reply within --max-length {limit} {longest}"
            raise JobError(f"{wrong}; raise it.", 2)
        share, allowed = part["truncated"] / part["examples"], arguments.allow_truncated
        if share > allowed:
            cut = f"{part['truncated']} of {part['examples']} {name} examples {longest}"
            wrong = f"--max-length {limit} would cut {cut}, and --allow-truncated is {allowed:g}"
            enough = math.ceil(share * 100) / 100
            advice = f"raise --max-length, or allow it with --allow-truncated {enough}"
            raise JobError(f"{wrong}; {advice}.", 2)
    return counts

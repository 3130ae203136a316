"""The labels: encoded, counted and truncated."""

import argparse
import math
from importlib import import_module
from typing import Any

from ..common.dataset import Messages
from ..common.events import JobError, emit, short
from ..common.limits import check_tokens, context_of, text_part
from ..common.quoting import encode_chat, is_marked, within
from .data import SPLITS, Example, find_files, read_split
from .label_proof import check_labels
from .marking import find_replies
from .template import fetch_config, load_tokenizer


def prepare(arguments: argparse.Namespace) -> tuple[Any, dict[str, list[Example]], dict[str, Any]]:
    """Reads, encodes and checks all data; returns tokenizer, examples and facts about them."""
    files, examples = find_files(arguments), {}
    splits: dict[str, list[Messages]] = {}
    for split in SPLITS:
        where = f"Dataset file {str(files[split][0])!r}"
        if arguments.dataset:
            where = f"Split {split!r} of {arguments.dataset!r}"
        splits[split] = read_split(where, files[split])
    tokenizer, template = load_tokenizer(arguments)
    for split in SPLITS:
        examples[split] = encode(splits[split], tokenizer, template, split)
    truncation = check_lengths(splits, examples, arguments)
    check_base(arguments, tokenizer, examples)
    stops = set[str]()
    for split, rows in splits.items():
        stops |= check_labels(examples[split], rows, tokenizer, arguments)
    learnt = int(sum((labels != -100).sum() for _, labels in examples["train"]))
    facts: dict[str, Any] = {"stop_tokens": sorted(stops), "supervised_tokens": learnt}
    emit("mask", **facts)
    sample = sorted(splits["train"], key=len)[-1]
    used = tokenizer.apply_chat_template(sample, tokenize=False)
    trained = tokenizer.apply_chat_template(sample, chat_template=template, tokenize=False)
    asked = {"tokenize": False, "add_generation_prompt": True}
    last = max(at for at, message in enumerate(sample) if message["role"] == "assistant")
    prompt = tokenizer.apply_chat_template(sample[:last], **asked) if last else ""
    if used != trained or not trained.startswith(prompt):
        wrong = "The chat template in use later renders past replies otherwise than the one that is"
        emit("warning", text=f"{wrong} trained with; choose another --chat-template.")
    return tokenizer, examples, facts | {"truncation": truncation}


def check_base(
    arguments: argparse.Namespace, tokenizer: Any, examples: dict[str, list[Example]]
) -> None:
    """Checks that the base has an embedding for every token and is made for the longest example."""
    config = fetch_config(arguments)
    rows = [ids for split in SPLITS for ids, _ in examples[split]]
    size, context = text_part(config).get("vocab_size"), context_of(config)
    check_tokens(tokenizer, rows, size)
    if size is not None and len(tokenizer) > size:
        more = f"{len(tokenizer) - size} of the tokenizer's tokens have no embedding in the base"
        emit("warning", text=f"{more}; the data use none of them.")
    longest = max(map(len, rows))
    if context is not None and longest > context:
        wrong = f"The longest example takes {longest} tokens, and the base was made for {context}"
        remedy = f"lower --max-length to {context}, give a base with a longer context, or state"
        raise JobError(f"{wrong}; {remedy} a scaling (rope_parameters) in its config.json.", 2)


def encode(rows: list[Messages], tokenizer: Any, template: str, where: str) -> list[Example]:
    numpy = import_module("numpy")
    wrong = (import_module("jinja2").TemplateError, TypeError, ValueError)
    examples, marked = [], is_marked(template)
    for number, messages in enumerate(rows, 1):
        try:
            encoded = encode_chat(tokenizer, messages, template)
        except wrong as error:
            failed = f"The chat template cannot render row {number} of {where} ({short(error)})"
            raise JobError(f"{failed}; mend it or give another --chat-template.") from None
        ids, marks = numpy.asarray(encoded.ids, dtype=numpy.int32), encoded.learnt
        if not marked:
            spans = find_replies(tokenizer, messages, template, encoded.text)
            marks = within(encoded.text, spans, encoded.places)
        learnt = numpy.asarray(marks, dtype=bool)
        examples.append((ids, numpy.where(learnt, ids, numpy.int32(-100))))
    return examples


def check_lengths(
    splits: dict[str, list[Messages]],
    examples: dict[str, list[Example]],
    arguments: argparse.Namespace,
) -> dict[str, Any]:
    """Counts and truncates what exceeds --max-length; drops examples left without a reply."""
    counts: dict[str, dict[str, Any]] = {}
    limit = arguments.max_length
    for name, whole in examples.items():
        lengths = [len(ids) for ids, _ in whole]
        with_reply = [bool((labels[:limit] != -100).any()) for _, labels in whole]
        kept = [number for number, learns in enumerate(with_reply) if learns]
        splits[name] = [splits[name][number] for number in kept]
        examples[name] = [(whole[number][0][:limit], whole[number][1][:limit]) for number in kept]
        cut_share = sum(max(0, length - limit) for length in lengths) / sum(lengths)
        counts[name] = {
            "examples": len(lengths),
            "truncated": sum(length > limit for length in lengths),
            "longest": max(lengths),
            "tokens": sum(lengths),
            "cut_token_share": round(cut_share, 4),
            "without_reply": len(whole) - len(kept),
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
            wrong = f"--max-length {limit} would cut {cut} and --allow-truncated is {allowed:g}"
            enough = math.ceil(share * 100) / 100
            advice = f"raise it, or allow that with --allow-truncated {enough}"
            raise JobError(f"{wrong}; {advice}.", 2)
    return counts

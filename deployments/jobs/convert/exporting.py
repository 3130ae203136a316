"""The export: one 16-bit file, and the quantised files made from it."""

import argparse
import gc
import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.dataset import Messages
from ..common.events import emit
from ..common.files import facts_of, write_json
from .adapter import measure_adapter
from .checks import begins_with_bos, check_reading, check_rendering, passed
from .heldout import Example, read_calibration, read_heldout
from .judging import judge
from .ladder import find_importance, ladder
from .llama_cpp import load, quantise, run_converter
from .losses import token_losses
from .measures import answer, measure_quantised, measure_replies
from .merging import Written, check_origin, merge
from .modelfile import write_modelfile
from .sources import fetch, fetch_converter
from .texts import Prompts, load_tokenizer, make_prompts
from .work import adapter_file, quantised_file, whole_file

SAMPLES = 2
"""Number of held-out messages that each quantised file answers for the report."""


def export(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Build, measure and judge all files in the work folder; return export.json's content."""
    measured = measure(arguments, work)
    loader = import_module("transformers").AutoTokenizer
    tokenizer = loader.from_pretrained(work / "tokenizer", trust_remote_code=False)
    quantise_all(arguments, work, measured, tokenizer)
    checks = judge(measured, arguments)
    done = work / "done"
    shutil.rmtree(done, ignore_errors=True)
    done.mkdir()
    write_modelfile(arguments, done, tokenizer, measured["chats"], checks["stop_tokens"])
    results = [quantised_file(arguments, work, kind) for kind in arguments.quantisations]
    results += [whole_file(arguments, work)] if arguments.keep_f16 else []
    results += [adapter_file(arguments, work)] if checks["lora"] else []
    for path in results:
        path.rename(done / path.name)
    files = {path.name: facts_of(path) for path in sorted(done.iterdir())}
    fallen = {name: types for name, types in measured["fallen"].items() if name in files}
    return {
        "files": files,
        "checks": checks,
        "fallback_tensors": fallen,
        "fallback_counts": {name: len(types) for name, types in fallen.items()},
        "system": arguments.system,
        "importance": measured.get("importance"),
        **ladder(arguments, files, checks),
    }


def quantise_all(
    arguments: argparse.Namespace, work: Path, measured: dict[str, Any], tokenizer: Any
) -> None:
    """Make and measure the quantised files; skip those that an earlier call measured."""
    f16, weights = whole_file(arguments, work), None
    for kind in arguments.quantisations:
        target = quantised_file(arguments, work, kind)
        if target.name in measured["replies"]:
            continue
        if arguments.imatrix and weights is None:
            weights, measured["importance"] = find_importance(arguments, f16, tokenizer)
        emit("progress", step=f"quantising to {kind}")
        measured["fallen"][target.name] = quantise(f16, target, kind, arguments, weights)
        emit("progress", step=f"checking {target.name}")
        figures = measure_quantised(target, f16, measured, tokenizer, arguments)
        for name, value in figures.items():
            measured[name][target.name] = value
        write_json(work / "measured.json", measured, ensure_ascii=False)


def measure(arguments: argparse.Namespace, work: Path) -> dict[str, Any]:
    """Merge the model, convert it to 16 bits, and measure the file in the work folder.

    Returns:
        The figures that `judge` needs. They are also stored in the work folder.
    """
    record, f16 = work / "measured.json", whole_file(arguments, work)
    if record.is_file() and f16.is_file():
        emit("progress", step="reusing the earlier merge and measurements")
        return json.loads(record.read_text(encoding="utf-8"))
    # Small inputs that may be wrong are read first.
    where, heldout = read_heldout(arguments)
    if arguments.imatrix:
        read_calibration(arguments)
    folders = [fetch(arguments, "adapter" if arguments.adapter else "base")]
    tokenizer = load_tokenizer(arguments, folders[0])
    prompts = make_prompts(tokenizer, arguments.system)
    ids = prompts.ids
    if arguments.adapter:
        folders.append(fetch(arguments, "base"))
        check_origin(arguments, folders[0])
    converter, merged = arguments.llama_cpp or fetch_converter(work), work / "merged"
    references, examples, checks, losses = merge(
        arguments, folders, tokenizer, prompts.chats, ids, heldout, prompts.stop, merged
    )
    # Frees the merged model before llama.cpp loads its own.
    gc.collect()
    emit("progress", step="converting")
    begins, fallback = begins_with_bos(tokenizer, prompts.texts), arguments.fallback_pre_tokenizer
    checks["fallback_pre_tokenizer"] = run_converter(converter, merged, f16, fallback, begins)
    checks["heldout"] = where
    shutil.rmtree(merged)
    tokenizer.save_pretrained(work / "tokenizer")
    emit("progress", step="checking")
    context = max(*map(len, ids), *(len(row) for row, _ in examples))
    context += max(arguments.greedy_tokens, arguments.reply_tokens)
    figures, losses[f16.name], reply = measure_whole(
        arguments, f16, tokenizer, prompts, references, examples, context
    )
    checks |= figures
    rendering = check_rendering(f16, tokenizer, prompts.chats, prompts.texts, checks["adds_bos"])
    checks |= passed("prompts", **rendering)
    if arguments.adapter:
        source = (folders, tokenizer, converter, begins)
        checks["lora"] = measure_adapter(
            arguments, work, source, ids, references, examples, context
        )
    measured: dict[str, Any] = {"checks": checks, "losses": losses, "replies": {f16.name: reply}}
    measured |= {"examples": examples, "context": context}
    measured |= {"chats": prompts.chats, "asked": first_messages(heldout)}
    measured |= {"kl": {}, "samples": {}, "fallen": {}}
    write_json(record, measured, ensure_ascii=False)
    return measured


def measure_whole(
    arguments: argparse.Namespace,
    f16: Path,
    tokenizer: Any,
    prompts: Prompts,
    references: list[Written],
    examples: list[Example],
    context: int,
) -> tuple[dict[str, Any], list[list[float]], dict[str, Any]]:
    """Measure the 16-bit file against the merged model.

    Args:
        references: the merged model's logits and greedy replies for the prompts.
        examples: held-out texts.
        context: tokens of the longest text, including what is generated after it.

    Returns:
        The file's figures, its losses on the examples, and its reply to the first chat.
    """
    llm = load(f16, context, arguments)
    # Two tokens whose logits differ by no more than rounding may count as equally likely.
    slack = 4 * arguments.logit_tolerance
    checks = measure_replies(llm, prompts.ids, references, slack)
    as_tensor = import_module("torch").from_numpy
    losses = token_losses(f16.name, lambda row: as_tensor(llm.logits(row)), examples)
    reply = answer(llm, tokenizer, prompts.chats[0], arguments.reply_tokens)
    llm.close()
    reading = check_reading(load(f16, 0, arguments), tokenizer, prompts.stop, prompts.texts)
    return checks | reading, losses, reply


def first_messages(heldout: list[Messages]) -> list[Messages]:
    """Return some conversations up to the user's first message; the report shows the replies."""
    beginnings = []
    for chat in heldout[:SAMPLES]:
        first = next(number for number, message in enumerate(chat) if message["role"] == "user")
        beginnings.append(chat[: first + 1])
    return beginnings

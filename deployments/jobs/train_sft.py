# /// script
# requires-python = ">=3.11,<3.14"
# dependencies = [
#   "torch==2.13.0",
#   "transformers==5.23.0",
#   "trl==1.16.0",
#   "peft==0.21.2",
#   "accelerate==1.15.0",
#   "datasets>=5.2,<6",
#   "sentencepiece==0.2.3",
#   "bitsandbytes==0.50.2; sys_platform == 'linux'",
# ]
# ///
"""Trains a LoRA adapter on conversations, learning the assistant's replies alone; QLoRA (4-bit base) on a GPU with --qlora.

Before the first step it counts what --max-length would cut and proves, on TRL's own labels, that exactly the assistant's texts
and their stop token are learnt. metrics.json is written last: an --output without it is not finished.

    OMP_NUM_THREADS=1 python train_sft.py --train t.parquet --validation v.parquet --base base --output adapter --max-length 1024
"""

import argparse
import json
import logging
import math
import os
import re
import sys
import time
import warnings
from importlib import import_module
from importlib.metadata import version
from itertools import groupby, zip_longest
from os.path import commonpath
from pathlib import Path
from statistics import fmean
from typing import Any

Messages = list[dict[str, str]]
# Options that are stored under the names TRL knows them by, and handed on unchanged.
TRAINER = ("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "warmup_steps")
TRAINER += ("lr_scheduler_type", "optim", "max_length", "activation_checkpointing", "seed")


class JobError(Exception):
    """A mistake the caller can mend: the one sentence that is shown and, if not 1, the exit code."""


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def parse_arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    add = parser.add_argument
    add("--train", type=Path, help="parquet file with a 'messages' column")
    add("--validation", type=Path, help="the same, never trained on")
    add("--dataset", help="instead of the two files: a dataset id on the Hub with splits train and validation")
    add("--dataset-revision", help="its commit")
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    add("--output", type=Path, required=True, help="folder for the adapter, the tokenizer and metrics.json")
    add("--chat-template", type=Path, help="Jinja file to use in place of the base's chat template")
    add("--reply-prefix", default="", help="text the template itself puts before each reply, such as Qwen3's empty think block")
    add("--lora-r", dest="r", type=int, default=16, help="rank of the adapter")
    add("--lora-alpha", type=int, default=32, help="its scale is alpha / rank")
    add("--lora-dropout", type=float, default=0.0, help="dropout before the adapter; costs half as much memory again on long texts")
    add("--target-modules", nargs="+", default=["all-linear"], help="all-linear, or names such as q_proj k_proj v_proj o_proj")
    add("--qlora", action="store_true", help="4-bit base (nf4, double quantisation) where CUDA is present; plain LoRA elsewhere")
    add("--epochs", dest="num_train_epochs", type=float, default=3.0, help="passes over the training examples")
    add("--max-steps", type=int, default=-1, help="exact number of optimiser steps; -1 leaves it to --epochs")
    add("--batch-size", dest="per_device_train_batch_size", type=int, default=4, help="examples on the device at once")
    add("--gradient-accumulation", dest="gradient_accumulation_steps", type=int, default=1, help="batches of an optimiser step")
    add("--learning-rate", type=float, default=2e-4, help="peak of the schedule")
    add("--schedule", dest="lr_scheduler_type", default="cosine", help="transformers' lr_scheduler_type")
    add("--warmup", dest="warmup_steps", type=float, default=0.03, help="share of the steps in which the learning rate rises")
    add("--optimizer", dest="optim", default="adamw_torch", help="transformers' optim; paged_adamw_8bit saves GPU memory")
    add("--max-length", type=int, required=True, help="tokens of an example; what is longer loses its end")
    add("--allow-truncated", type=float, default=0.0, help="share of examples that may be cut before the job stops with exit code 2")
    add("--gradient-checkpointing", dest="activation_checkpointing", action=argparse.BooleanOptionalAction, default=False)
    add("--evaluate", choices=["epoch", "end"], default="epoch", help="when the validation loss is taken, besides before training")
    add("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    if (arguments.dataset is None) == (arguments.train is None) or (arguments.train is None) != (arguments.validation is None):
        parser.error("give either --train with --validation, or --dataset")
    return arguments


def short(error: Exception) -> str:
    return " ".join(str(error).split())[:250]


def read_split(arguments: argparse.Namespace, split: str) -> list[Messages]:
    path = getattr(arguments, split)
    where = f"Split {split!r} of {arguments.dataset!r}" if arguments.dataset else f"Dataset file {str(path)!r}"
    if path and not path.is_file():
        raise JobError(f"{where} does not exist; give a parquet file with --{split}.")
    try:
        if path:
            # Not through load_dataset, which would keep a copy in the home folder.
            table: Any = import_module("pyarrow.parquet").read_table(path)
        else:
            load = import_module("datasets").load_dataset
            table = load(arguments.dataset, revision=arguments.dataset_revision, split=split).data
    except (OSError, ValueError) as error:
        raise JobError(f"{where} cannot be read ({short(error)}); give a parquet file, or a Hub id and its commit.") from None
    data = table.to_pydict()
    if not data.get("messages"):
        raise JobError(f"{where} needs a column 'messages' with at least one row; it has the columns {list(data)}.")
    for number, messages in enumerate(data["messages"], 1):
        roles = [m.get("role") for m in messages or [] if isinstance(m, dict) and isinstance(m.get("content"), str)]
        if len(roles) != len(messages or []) or "assistant" not in roles:
            raise JobError(f"{where} has no assistant reply in row {number}; each row needs role and content in 'messages'.")
    # Templates differ in whether they strip; without outer blanks all of them render the same reply.
    return [[{"role": m["role"], "content": m["content"].strip()} for m in messages] for messages in data["messages"]]


def load_tokenizer(arguments: argparse.Namespace) -> tuple[Any, str]:
    """The tokenizer, and its template with generation markers, without which nobody can tell which tokens are the assistant's."""
    base, own = Path(arguments.base), arguments.chat_template
    if not (base / "config.json").is_file() and (base.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", arguments.base)):
        raise JobError(f"Base {arguments.base!r} is neither a folder with config.json nor a model id like 'Qwen/Qwen3-4B'; correct --base.")
    from transformers import AutoTokenizer
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(arguments.base, revision=arguments.base_revision)
        if own:
            tokenizer.chat_template = own.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise JobError(f"Tokenizer or chat template cannot be read ({short(error)}); correct --base or --chat-template.") from None
    try:
        marked = has_generation_markers(tokenizer.chat_template)
        return tokenizer, str(tokenizer.chat_template if marked else get_training_chat_template(tokenizer))
    except (ValueError, TypeError):
        wrong = "The chat template is missing, or neither marks the assistant's replies with {% generation %} nor is known to TRL"
        raise JobError(f"{wrong}; give one of TRL's, from its folder chat_templates, with --chat-template.") from None


def check_lengths(splits: dict[str, list[Messages]], tokenizer: Any, template: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts what --max-length would cut, before it is cut, and takes out the examples that would be left without a reply."""
    counts: dict[str, dict[str, Any]] = {}
    limit = arguments.max_length
    for name, rows in splits.items():
        asked = {"chat_template": template, "return_dict": True, "return_assistant_tokens_mask": True}
        masks = [tokenizer.apply_chat_template(messages, **asked)["assistant_masks"] for messages in rows]
        lengths = [len(mask) for mask in masks]
        splits[name] = [messages for messages, mask in zip(rows, masks, strict=True) if any(mask[:limit])]
        cut_share = sum(max(0, length - limit) for length in lengths) / sum(lengths)
        counts[name] = {"examples": len(lengths), "truncated": sum(length > limit for length in lengths), "longest": max(lengths)}
        counts[name] |= {"tokens": sum(lengths), "cut_token_share": round(cut_share, 4), "without_reply": len(rows) - len(splits[name])}
    emit("truncation", max_length=limit, **counts)
    for name, part in counts.items():
        if not splits[name]:
            raise JobError(f"No {name} example has a reply within --max-length {limit} (longest: {part['longest']}); raise it.", 2)
        share = part["truncated"] / part["examples"]
        if share > arguments.allow_truncated:
            wrong = f"--max-length {limit} would cut {part['truncated']} of {part['examples']} {name} examples (longest: {part['longest']})"
            advice = f"raise it, or allow that with --allow-truncated {math.ceil(share * 100) / 100}"
            raise JobError(f"{wrong} and --allow-truncated is {arguments.allow_truncated:g}; {advice}.", 2)
    return counts


def check_labels(dataset: Any, conversations: list[Messages], tokenizer: Any, arguments: argparse.Namespace) -> set[str]:
    """Proves on the labels as they will be trained that each reply and its stop token are learnt, and nothing else; returns the stop."""
    if len(dataset) != len(conversations):
        raise JobError(f"TRL kept {len(dataset)} of {len(conversations)} examples, and not all of them have a reply; report this.")
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    stops: set[str] = set()
    # Some hundred, spread evenly: reading all of a large dataset back would take minutes.
    for number in range(0, len(dataset), max(1, len(dataset) // 256)):
        row = dataset[number]
        runs = groupby(zip(row["input_ids"], row["labels"], strict=True), key=lambda pair: pair[1] != -100)
        # A line break after the stop token belongs to the template's turn and may be learnt with it.
        spans = [[token for token, _ in run] for learnt, run in runs if learnt]
        found = [tokenizer.decode(span, clean_up_tokenization_spaces=False).removesuffix("\n") for span in spans]
        wanted = [arguments.reply_prefix + m["content"] for m in conversations[number] if m["role"] == "assistant"]
        cut = len(row["input_ids"]) == arguments.max_length
        for position, (text, reply) in enumerate(zip_longest(found, wanted[: len(found)] if cut else wanted, fillvalue=""), 1):
            stop = text.removeprefix(reply)
            if text.startswith(reply) and stop in special:
                stops.add(stop)
            # The last reply of a cut example may be a beginning only, and end within a character.
            elif not (cut and position == len(found) and reply.startswith(text.rstrip("\ufffd"))):
                part = slice(max(0, len(commonpath([text, reply])) - 20), None)
                wrong = f"Example {number + 1} would learn {text[part][:80]!r} instead of {reply[part][:80]!r} and a stop token"
                raise JobError(f"{wrong}; use another --chat-template, or name what it adds with --reply-prefix.")
    return stops


def build_trainer(splits: dict[str, list[Messages]], tokenizer: Any, arguments: argparse.Namespace) -> Any:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import BitsAndBytesConfig
    from trl import SFTConfig, SFTTrainer

    cuda, names, quantisation = torch.cuda.is_available(), arguments.target_modules, None
    if arguments.qlora and cuda:
        four_bit = {"bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": torch.bfloat16}
        quantisation = BitsAndBytesConfig(load_in_4bit=True, **four_bit)
    lora = {name: getattr(arguments, name) for name in ("r", "lora_alpha", "lora_dropout")}
    lora["target_modules"] = names[0] if names == ["all-linear"] else names
    knobs = {name: getattr(arguments, name) for name in TRAINER}
    knobs |= {"use_cpu": not cuda, "bf16": cuda, "dataloader_pin_memory": cuda, "report_to": "none", "disable_tqdm": True}
    knobs |= {"save_strategy": "no", "logging_steps": 1, "per_device_eval_batch_size": arguments.per_device_train_batch_size}
    knobs |= {"eval_strategy": "epoch" if arguments.evaluate == "epoch" else "no", "assistant_only_loss": True}
    # TRL would load 32-bit weights on a GPU unless told; on a CPU 16-bit arithmetic is the slower one.
    knobs["model_init_kwargs"] = {"dtype": "bfloat16" if cuda else "float32", "revision": arguments.base_revision}
    try:
        return SFTTrainer(
            model=arguments.base,
            args=SFTConfig(output_dir=str(arguments.output), **knobs),
            train_dataset=Dataset.from_dict({"messages": splits["train"]}),
            eval_dataset=Dataset.from_dict({"messages": splits["validation"]}),
            processing_class=tokenizer,
            quantization_config=quantisation,
            peft_config=LoraConfig(task_type="CAUSAL_LM", **lora),
        )
    except (OSError, ValueError, RuntimeError, IndexError) as error:
        raise JobError(f"Training of {arguments.base!r} cannot be set up: {short(error)}") from None


def report_progress(trainer: Any) -> None:
    """Replaces transformers' printing by one JSON line a step."""
    from transformers import PrinterCallback, TrainerCallback

    started = time.monotonic()

    class Lines(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if "loss" in logs:
                left = (time.monotonic() - started) / state.global_step * (state.max_steps - state.global_step)
                emit("progress", step=state.global_step, of=state.max_steps, loss=round(logs["loss"], 4), seconds_left=round(left, 1))
            elif "eval_loss" in logs:
                emit("validation", step=state.global_step, loss=round(logs["eval_loss"], 4))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Lines())


def train(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    # Before the libraries are imported: their bars and warnings would drown what is said here.
    os.environ["TQDM_DISABLE"] = "1"
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    splits = {split: read_split(arguments, split) for split in ("train", "validation")}
    tokenizer, template = load_tokenizer(arguments)
    truncation = check_lengths(splits, tokenizer, template, arguments)
    (arguments.output / "metrics.json").unlink(missing_ok=True)
    trainer = build_trainer(splits, tokenizer, arguments)
    data = {"train": trainer.train_dataset, "validation": trainer.eval_dataset}
    stops = set().union(*(check_labels(data[name], rows, tokenizer, arguments) for name, rows in splits.items()))
    learnt = sum(label != -100 for labels in data["train"]["labels"] for label in labels)
    facts: dict[str, Any] = {"stop_tokens": sorted(stops), "supervised_tokens": learnt}
    emit("mask", **facts)
    report_progress(trainer)
    # train() starts a new log, so this figure is kept by hand.
    first = trainer.evaluate()["eval_loss"]
    trainer.train()
    if arguments.evaluate == "end":
        trainer.evaluate()
    trainer.save_model()
    trainer.save_state()
    write_metrics(trainer, arguments, first, facts | {"truncation": truncation, "seconds": round(time.monotonic() - started, 1)})


def write_metrics(trainer: Any, arguments: argparse.Namespace, first: float, facts: dict[str, Any]) -> None:
    log = trainer.state.log_history
    curve, checks = ([{"step": e["step"], "loss": round(e[key], 4)} for e in log if key in e] for key in ("loss", "eval_loss"))
    metrics = {
        "validation_loss_first": round(first, 4),
        "validation_loss_last": checks[-1]["loss"],
        "train_loss_first": curve[0]["loss"],
        "train_loss_last": round(fmean(entry["loss"] for entry in curve[-5:]), 4),
        "steps": trainer.state.global_step,
        **facts,
        "method": "qlora" if arguments.qlora and trainer.args.bf16 else "lora",
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        # Base, dataset, their revisions, and every knob.
        **{name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft", "datasets")},
        "loss_curve": curve,
        "validation_curve": [{"step": 0, "loss": round(first, 4)}, *checks],
    }
    part = arguments.output / "metrics.json.part"
    part.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    part.replace(arguments.output / "metrics.json")
    emit("done", output=str(arguments.output), validation_loss=metrics["validation_loss_last"], seconds=facts["seconds"])


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        train(arguments)
    except JobError as error:
        print(error.args[0], file=sys.stderr)
        return error.args[1] if len(error.args) > 1 else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

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

    OMP_NUM_THREADS=1 python deployments/jobs/train_sft.py --train train.parquet --validation validation.parquet --base base \
        --output adapter --max-length 1024
"""

import argparse
import json
import math
import os
import re
import sys
import time
import warnings
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Any

Messages = list[dict[str, str]]
# Options that are stored under the names TRL and PEFT know them by, and handed on unchanged.
TRAINER = ("num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "warmup_steps")
TRAINER += ("lr_scheduler_type", "optim", "max_length", "activation_checkpointing", "seed")
LORA = ("r", "lora_alpha", "lora_dropout")
# Examples of each split whose labels are read back, spread evenly.
MASK_CHECKS = 256


class JobError(Exception):
    """A mistake the caller can mend; its text is all that is shown."""

    code = 1


class TruncationError(JobError):
    """More would be cut than the caller allowed."""

    code = 2


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
    add("--reply-prefix", default="", help=r"text the template itself puts before each reply, e.g. '<think>\n\n</think>\n\n'")
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
    arguments.reply_prefix = arguments.reply_prefix.replace("\\n", "\n")
    return arguments


def read_split(arguments: argparse.Namespace, split: str) -> list[Messages]:
    path = getattr(arguments, split)
    where = f"Split {split!r} of {arguments.dataset!r}" if arguments.dataset else f"Dataset file {str(path)!r}"
    if path and not path.is_file():
        raise JobError(f"{where} does not exist; give a parquet file with --{split}.")
    try:
        if path:
            # Not through load_dataset, which would keep a copy in the home folder.
            import pyarrow.parquet

            data = pyarrow.parquet.read_table(path).to_pydict()
        else:
            from datasets import load_dataset

            data = load_dataset(arguments.dataset, revision=arguments.dataset_revision, split=split).to_dict()
    except (OSError, ValueError) as error:
        raise JobError(f"{where} cannot be read ({' '.join(str(error).split())[:200]}); give parquet, or a Hub id and commit.") from None
    if "messages" not in data:
        raise JobError(f"{where} has the columns {list(data)}; the column 'messages' is needed.")
    if not data["messages"]:
        raise JobError(f"{where} has no rows; training needs at least one example in each split.")
    for number, messages in enumerate(data["messages"], 1):
        roles = [m.get("role") for m in messages or [] if isinstance(m, dict) and isinstance(m.get("content"), str)]
        if len(roles) != len(messages or []) or "assistant" not in roles:
            raise JobError(f"{where} has no assistant reply in row {number}; each row needs role and content in 'messages'.")
    return [[{"role": m["role"], "content": m["content"]} for m in messages] for messages in data["messages"]]


def load_tokenizer(arguments: argparse.Namespace) -> tuple[Any, str]:
    """The tokenizer, and its template with generation markers, without which nobody can tell which tokens are the assistant's."""
    from transformers import AutoTokenizer
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    base, own = Path(arguments.base), arguments.chat_template
    if not (base / "config.json").is_file() and (base.exists() or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", arguments.base)):
        raise JobError(f"Base {arguments.base!r} is neither a folder with a config.json nor a model id like 'Qwen/Qwen3-4B'; correct --base.")
    if own and not own.is_file():
        raise JobError(f"Chat template {str(own)!r} does not exist; correct --chat-template.")
    try:
        tokenizer = AutoTokenizer.from_pretrained(arguments.base, revision=arguments.base_revision)
    except (OSError, ValueError) as error:
        raise JobError(f"Base {arguments.base!r} has no usable tokenizer ({' '.join(str(error).split())[:200]}); correct --base.") from None
    if own:
        tokenizer.chat_template = own.read_text(encoding="utf-8")
    try:
        if not isinstance(tokenizer.chat_template, str):
            raise ValueError
        marked = has_generation_markers(tokenizer.chat_template)
        return tokenizer, tokenizer.chat_template if marked else str(get_training_chat_template(tokenizer))
    except ValueError:
        raise JobError(
            "The base's chat template is missing, or neither marks the assistant's replies with {% generation %} nor is known to TRL;"
            " give one of TRL's (its folder chat_templates) with --chat-template."
        ) from None


def check_lengths(splits: dict[str, list[Messages]], tokenizer: Any, template: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Counts what --max-length would cut, and takes out examples without a reply left, since TRL drops those silently."""
    counts: dict[str, dict[str, Any]] = {}
    limit = arguments.max_length
    for name, conversations in splits.items():
        options = {"chat_template": template, "return_dict": True, "return_assistant_tokens_mask": True}
        coded = [tokenizer.apply_chat_template(messages, **options) for messages in conversations]
        lengths = [len(one["input_ids"]) for one in coded]
        counts[name] = {"examples": len(lengths), "truncated": sum(length > limit for length in lengths), "longest": max(lengths)}
        counts[name] |= {"tokens": sum(lengths), "cut_tokens": sum(max(0, length - limit) for length in lengths)}
        conversations[:] = [
            messages
            for messages, one in zip(conversations, coded, strict=True)
            if 1 in one["assistant_masks"][:limit] or 1 not in one["assistant_masks"]
        ]
        counts[name] |= {"cut_token_share": round(counts[name]["cut_tokens"] / sum(lengths), 4), "dropped": len(lengths) - len(conversations)}
    emit("truncation", max_length=limit, **counts)
    share = max(part["truncated"] / part["examples"] for part in counts.values())
    if share > arguments.allow_truncated:
        cut, total, longest = (sum(p["truncated"] for p in counts.values()), sum(p["examples"] for p in counts.values()),
                               max(p["longest"] for p in counts.values()))
        raise TruncationError(
            f"--max-length {limit} would cut {cut} of {total} examples (the longest has {longest} tokens) and --allow-truncated is"
            f" {arguments.allow_truncated:g}; raise --max-length, or allow it with --allow-truncated {math.ceil(share * 100) / 100}."
        )
    if not all(splits.values()):
        raise TruncationError(f"No example of a split has an assistant reply within --max-length {limit}; raise it.")
    return counts


def check_labels(dataset: Any, conversations: list[Messages], tokenizer: Any, arguments: argparse.Namespace) -> set[str]:
    """Proves on the labels as they will be trained that each reply and its stop token are learnt, and nothing else; returns the stop."""
    special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
    stops: set[str] = set()
    for number in range(0, len(conversations), max(1, len(conversations) // MASK_CHECKS)):
        row = dataset[number]
        runs = groupby(zip(row["input_ids"], row["labels"], strict=True), key=lambda pair: pair[1] != -100)
        # A line break after the stop token belongs to the template's turn and may be learnt with it.
        found = [tokenizer.decode([token for token, _ in run]).removesuffix("\n") for learnt, run in runs if learnt]
        wanted = [arguments.reply_prefix + m["content"] for m in conversations[number] if m["role"] == "assistant"]
        cut = len(row["input_ids"]) == arguments.max_length
        if len(found) > len(wanted) or (len(found) < len(wanted) and not cut):
            raise JobError(f"Example {number + 1} would learn {len(found)} texts but has {len(wanted)} replies; the chat template does not fit.")
        for position, (text, reply) in enumerate(zip(found, wanted, strict=False), 1):
            stop = text.removeprefix(reply)
            if text.startswith(reply) and stop in special:
                stops.add(stop)
            # The last reply of a cut example may be a beginning only, and end within a character.
            elif not (cut and position == len(found) and reply.startswith(text.rstrip("\ufffd"))):
                wish = f"would learn {text[-80:]!r}, not {reply[-80:]!r} and a stop token"
                raise JobError(f"Example {number + 1} {wish}; use another --chat-template or name what it adds with --reply-prefix.")
    if len(dataset) != len(conversations) or not stops:
        raise JobError(f"TRL kept {len(dataset)} of {len(conversations)} examples, with {len(stops)} stop tokens; raise --max-length.")
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
    modules = names[0] if names == ["all-linear"] else names
    data = {name: Dataset.from_dict({"messages": rows}) for name, rows in splits.items()}
    try:
        config = SFTConfig(
            output_dir=str(arguments.output),
            **{name: getattr(arguments, name) for name in TRAINER},
            per_device_eval_batch_size=arguments.per_device_train_batch_size,
            assistant_only_loss=True,
            # TRL would load 32-bit weights on a GPU unless told; on a CPU 16-bit arithmetic is the slower one.
            model_init_kwargs={"dtype": "bfloat16" if cuda else "float32", "revision": arguments.base_revision},
            use_cpu=not cuda,
            bf16=cuda,
            dataloader_pin_memory=cuda,
            eval_strategy="epoch" if arguments.evaluate == "epoch" else "no",
            save_strategy="no",
            logging_steps=1,
            report_to="none",
            disable_tqdm=True,
        )
        return SFTTrainer(
            model=arguments.base,
            args=config,
            train_dataset=data["train"],
            eval_dataset=data["validation"],
            processing_class=tokenizer,
            quantization_config=quantisation,
            peft_config=LoraConfig(task_type="CAUSAL_LM", target_modules=modules, **{name: getattr(arguments, name) for name in LORA}),
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise JobError(f"Training of {arguments.base!r} cannot be set up: {' '.join(str(error).split())[:300]}") from None


def report_progress(trainer: Any) -> None:
    """Replaces transformers' printing by one JSON line a step."""
    from transformers import PrinterCallback, TrainerCallback

    class Lines(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.started = time.monotonic()

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
            if "loss" in logs:
                left = (time.monotonic() - self.started) / state.global_step * (state.max_steps - state.global_step)
                emit("progress", step=state.global_step, of=state.max_steps, loss=round(logs["loss"], 4), seconds_left=round(left, 1))
            elif "eval_loss" in logs:
                emit("validation", step=state.global_step, loss=round(logs["eval_loss"], 4))

    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(Lines())


def train(arguments: argparse.Namespace) -> None:
    started = time.monotonic()
    splits = {split: read_split(arguments, split) for split in ("train", "validation")}

    import datasets
    import transformers

    warnings.simplefilter("ignore")
    datasets.disable_progress_bars()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    (arguments.output / "metrics.json").unlink(missing_ok=True)
    tokenizer, template = load_tokenizer(arguments)
    truncation = check_lengths(splits, tokenizer, template, arguments)
    trainer = build_trainer(splits, tokenizer, arguments)
    data = {"train": trainer.train_dataset, "validation": trainer.eval_dataset}
    stops = set().union(*(check_labels(data[name], rows, tokenizer, arguments) for name, rows in splits.items()))
    facts = {"stop_tokens": sorted(stops), "supervised_tokens": sum(t != -100 for labels in data["train"]["labels"] for t in labels)}
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
    log, cuda = trainer.state.log_history, trainer.args.bf16
    curve = [{"step": entry["step"], "loss": round(entry["loss"], 4)} for entry in log if "loss" in entry]
    checks = [{"step": entry["step"], "loss": round(entry["eval_loss"], 4)} for entry in log if "eval_loss" in entry]
    few = [entry["loss"] for entry in curve[-5:]]
    metrics = {
        "validation_loss_first": round(first, 4),
        "validation_loss_last": checks[-1]["loss"],
        "train_loss_first": curve[0]["loss"],
        "train_loss_last": round(sum(few) / len(few), 4),
        "steps": trainer.state.global_step,
        **facts,
        "method": "qlora" if arguments.qlora and cuda else "lora",
        "device": "cuda" if cuda else "cpu",
        "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        # Base, dataset, their revisions, and every knob.
        **{name: str(value) if isinstance(value, Path) else value for name, value in vars(arguments).items()},
        "versions": {name: version(name) for name in ("torch", "transformers", "trl", "peft", "datasets")},
        "loss_curve": curve,
        "validation_curve": [{"step": 0, "loss": round(first, 4)}, *checks],
    }
    part = arguments.output / "metrics.json.part"
    part.write_text(json.dumps(metrics, indent=1) + "\n", encoding="utf-8")
    os.replace(part, arguments.output / "metrics.json")
    emit("done", output=str(arguments.output), validation_loss=metrics["validation_loss_last"], seconds=facts["seconds"])


def main(argv: list[str] | None = None) -> int:
    arguments = parse_arguments(argv)
    try:
        train(arguments)
    except JobError as error:
        print(error, file=sys.stderr)
        return error.code
    return 0


if __name__ == "__main__":
    sys.exit(main())

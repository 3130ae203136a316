"""The arguments of the training script."""

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .data import LEARN

TRAINER = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "warmup_steps",
    "lr_scheduler_type",
    "optim",
    "activation_checkpointing",
    "seed",
)
"""Options that are stored under TRL's names and passed on unchanged."""


def count(text: str) -> int:
    if not re.fullmatch(r"0*[1-9]\d*", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of 1 or more")
    return int(text)


def parse_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description.split("\n\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_inputs(parser.add_argument)
    add_knobs(parser.add_argument)
    add_results(parser.add_argument)
    arguments = parser.parse_args(argv)
    files = (arguments.train is not None, arguments.validation is not None)
    if files not in ((True, True), (False, False)) or files[0] == (arguments.dataset is not None):
        parser.error("give either --train with --validation, or --dataset")
    check_target(parser, arguments)
    return arguments


def check_target(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> None:
    """Ends the script if only one of --push-to and --push-tag is given, or not in its form."""
    repo, tag = arguments.push_to or "", arguments.push_tag or ""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+ \w+([.-]\w+)*", f"{repo} {tag}", re.ASCII)
    if (repo or tag) and not named:
        wanted = "give --push-to owner/name together with --push-tag word-1.2"
        given = f"they are {arguments.push_to!r} and {arguments.push_tag!r}"
        parser.error(f"{wanted}; {given}")


def add_inputs(add: Callable[..., Any]) -> None:
    add("--train", type=Path, help="parquet file with a 'messages' column")
    add("--validation", type=Path, help="the same, never trained on")
    splits = "a dataset id on the Hub with splits train and validation"
    add("--dataset", help=f"instead of the two files: {splits}")
    add("--dataset-revision", help="its commit")
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    template = "Jinja file, or name of one of TRL's (qwen3_instruct_2507)"
    add("--chat-template", help=f"{template}, in place of the base's chat template")
    prefix = "text the template itself puts before each reply and has learnt, such as a think block"
    add("--reply-prefix", default="", help=prefix)
    learn = "'slices': each row as it is; 'each_reply_once': rows are whole conversations, cut into"
    learn = f"{learn} windows if they are too long; 'slices_folded': the same, each reply counted"
    add("--learn", choices=LEARN, default="slices", help=f"{learn} by the column 'slices'")
    longest = "tokens of an example; what is longer loses its end"
    add("--max-length", type=count, required=True, help=longest)
    cut = "share of examples that may be cut before the job stops with exit code 2"
    add("--allow-truncated", type=float, default=0.0, help=cut)


def add_knobs(add: Callable[..., Any]) -> None:
    add_adapter_knobs(add)
    add(
        "--epochs",
        dest="num_train_epochs",
        type=float,
        default=3.0,
        help="passes over the training examples",
    )
    steps = "exact number of optimiser steps; -1 leaves it to --epochs"
    add("--max-steps", type=int, default=-1, help=steps)
    batch = {"dest": "per_device_train_batch_size", "type": count, "default": 1}
    add("--batch-size", **batch, help="examples on the device at once")
    batches = {"dest": "gradient_accumulation_steps", "type": count, "default": 8}
    add("--gradient-accumulation", **batches, help="batches of an optimiser step")
    packing = "put several short examples into one row as long as the longest example"
    add("--packing", action="store_true", help=f"{packing}, which do not see each other")
    add("--learning-rate", type=float, default=2e-4, help="peak of the schedule")
    schedule = {"dest": "lr_scheduler_type", "default": "cosine"}
    add("--schedule", **schedule, help="transformers' lr_scheduler_type")
    rise = "share of the steps in which the learning rate rises"
    add("--warmup", dest="warmup_steps", type=float, default=0.1, help=rise)
    optimizer = "transformers' optim; paged_adamw_8bit saves GPU memory"
    add("--optimizer", dest="optim", default="adamw_torch", help=optimizer)
    switch = {"dest": "activation_checkpointing", "action": argparse.BooleanOptionalAction}
    add("--gradient-checkpointing", **switch, default=True)
    offload = "keep what gradient checkpointing keeps in the machine's memory, not the GPU's"
    add("--offload-checkpoints", action="store_true", help=offload)
    when = "when the validation loss is taken, besides before training"
    add("--evaluate", choices=["epoch", "end"], default="epoch", help=when)
    add("--seed", type=int, default=0)


def add_adapter_knobs(add: Callable[..., Any]) -> None:
    add("--lora-r", dest="r", type=count, default=64, help="rank of the adapter")
    add("--lora-alpha", type=int, default=128, help="its scale is alpha / rank")
    dropout = "dropout before the adapter; costs half as much memory again on long texts"
    add("--lora-dropout", type=float, default=0.05, help=dropout)
    projections = ["q_proj", "k_proj", "v_proj", "o_proj"]
    add("--target-modules", nargs="+", default=projections, help="such names, or all-linear")
    four_bit = "4-bit base (nf4, double quantisation) where CUDA is present; plain LoRA elsewhere"
    add("--qlora", action="store_true", help=four_bit)
    add("--attention", default="sdpa", help="transformers' attn_implementation")


def add_results(add: Callable[..., Any]) -> None:
    output = "folder for checkpoints, the adapter, the tokenizer and metrics.json"
    add("--output", type=Path, required=True, help=output)
    steps = "steps between checkpoints, in place of one each epoch; the newest is kept"
    add("--save-steps", type=count, help=steps)
    repo = "model repository on the Hub for the result and, while it trains, the newest checkpoint"
    add("--push-to", help=repo)
    tag = "tag of the finished commit; if it is there at the start, nothing is trained"
    add("--push-tag", help=tag)
    public = "publish where everybody can read; without it a public repository is refused"
    add("--public", action="store_true", help=public)
    pause = "pause before a call of the Hub is tried again; it doubles each time"
    add("--retry-seconds", type=float, default=1.0, help=pause)
    add("--trackio-project", help="log to this Trackio project as well")
    add("--trackio-space", help="Space that shows it, as owner/name")

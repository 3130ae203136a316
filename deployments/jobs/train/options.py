"""The command-line arguments of the training script."""

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
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
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
    """Exit with an error if only one of --push-to and --push-tag is given, or if one is invalid."""
    repo, tag = arguments.push_to or "", arguments.push_tag or ""
    named = re.fullmatch(r"[\w.-]+/[\w.-]+ \w+([.-]\w+)*", f"{repo} {tag}", re.ASCII)
    if (repo or tag) and not named:
        remedy = "give --push-to owner/name together with --push-tag word-1.2"
        values = f"they are {arguments.push_to!r} and {arguments.push_tag!r}"
        parser.error(f"{remedy}; {values}")


def add_inputs(add: Callable[..., Any]) -> None:
    add("--train", type=Path, help="parquet file with a 'messages' column")
    add("--validation", type=Path, help="the same, never trained on")
    splits = "a dataset id on the Hub with splits train and validation"
    add("--dataset", help=f"instead of the two files: {splits}")
    add("--dataset-revision", help="its commit")
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    template = "Jinja file, or name of one of TRL's (qwen3_instruct_2507)"
    add("--chat-template", help=f"{template}, instead of the base's chat template")
    prefix = "text that the template puts before each reply and that is learnt, e.g. a think block"
    add("--reply-prefix", default="", help=prefix)
    learn = "'slices': rows as they are; 'each_reply_once': rows are complete conversations, cut"
    learn = f"{learn} into windows if they are too long; 'slices_folded': the same, and the column"
    learn = f"{learn} 'slices' is the weight of each reply"
    add("--learn", choices=LEARN, default="slices", help=learn)
    longest = "maximum tokens of an example; the end of a longer one is cut off"
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
    steps = "exact number of optimiser steps; -1 uses --epochs"
    add("--max-steps", type=int, default=-1, help=steps)
    batch = {"dest": "per_device_train_batch_size", "type": count, "default": 1}
    add("--batch-size", **batch, help="examples on the device at once")
    batches = {"dest": "gradient_accumulation_steps", "type": count, "default": 8}
    add("--gradient-accumulation", **batches, help="batches of an optimiser step")
    packing = "put several short examples into one row as long as the longest example; they do not"
    add("--packing", action="store_true", help=f"{packing} see each other")
    add("--learning-rate", type=float, default=2e-4, help="peak of the schedule")
    schedule = {"dest": "lr_scheduler_type", "default": "cosine"}
    add("--schedule", **schedule, help="transformers' lr_scheduler_type")
    rise = "share of the steps in which the learning rate rises"
    add("--warmup", dest="warmup_steps", type=float, default=0.1, help=rise)
    optimizer = "transformers' optim; paged_adamw_8bit saves GPU memory"
    add("--optimizer", dest="optim", default="adamw_torch", help=optimizer)
    switch = {"dest": "activation_checkpointing", "action": argparse.BooleanOptionalAction}
    add("--gradient-checkpointing", **switch, default=True)
    offload = (
        "keep the activations of gradient checkpointing in the machine's memory, not the GPU's"
    )
    add("--offload-checkpoints", action="store_true", help=offload)
    when = "when the validation loss is measured, in addition to before the training"
    add("--evaluate", choices=["epoch", "end"], default="epoch", help=when)
    add("--seed", type=int, default=0)


def add_adapter_knobs(add: Callable[..., Any]) -> None:
    add("--lora-r", dest="r", type=count, default=64, help="rank of the adapter")
    add("--lora-alpha", type=int, default=128, help="its scale is alpha / rank")
    dropout = "dropout before the adapter; it needs half as much memory again on long texts"
    add("--lora-dropout", type=float, default=0.05, help=dropout)
    projections = ["q_proj", "k_proj", "v_proj", "o_proj"]
    modules = "names of the modules to adapt, or all-linear"
    add("--target-modules", nargs="+", default=projections, help=modules)
    four_bit = "4-bit base (nf4, double quantisation) if CUDA is available; plain LoRA otherwise"
    add("--qlora", action="store_true", help=four_bit)
    add("--attention", default="sdpa", help="transformers' attn_implementation")


def add_results(add: Callable[..., Any]) -> None:
    output = "folder for checkpoints, the adapter, the tokenizer and metrics.json"
    add("--output", type=Path, required=True, help=output)
    steps = "steps between checkpoints, instead of one per epoch; only the newest is kept"
    add("--save-steps", type=count, help=steps)
    repo = "model repository on the Hub for the result and, during training, the newest checkpoint"
    add("--push-to", help=repo)
    tag = "tag of the finished commit; if it already exists, nothing is trained"
    add("--push-tag", help=tag)
    public = "allow a public repository, which is refused otherwise"
    add("--public", action="store_true", help=public)
    pause = "pause before a failed call of the Hub is repeated; it doubles each time"
    add("--retry-seconds", type=float, default=1.0, help=pause)
    add("--trackio-project", help="also log to this Trackio project")
    add("--trackio-space", help="Space that shows the project, as owner/name")

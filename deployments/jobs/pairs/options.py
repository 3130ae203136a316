"""The command-line arguments of the preference training script."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..train.options import add_results, check_target, count

BETAS = {"dpo": 5.0, "kto": 0.1}
"""How strongly the adapter is kept close to the reference, by loss. DPO's loss is normalised by
length, so its rewards are per token: Tulu 3 chose 5 for it (arXiv 2411.15124, 5.1.2). KTO's rewards
are per reply, and its authors chose 0.1 (arXiv 2402.01306)."""


def parse_pair_arguments(argv: list[str] | None, description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=description.split("\n\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add_pair_inputs(parser.add_argument)
    add_pair_knobs(parser.add_argument)
    add_results(parser.add_argument)
    arguments = parser.parse_args(argv)
    files = [arguments.train, arguments.validation, arguments.heldout]
    if all(files) == bool(arguments.dataset) or (any(files) and not all(files)):
        parser.error("give either --train, --validation and --heldout, or --dataset")
    check_target(parser, arguments)
    if arguments.per_device_train_batch_size < 2 and arguments.loss == "kto":
        parser.error("--loss kto compares the replies of a batch; give --batch-size 2 or more")
    arguments.beta = BETAS[arguments.loss] if arguments.beta is None else arguments.beta
    return arguments


def add_pair_inputs(add: Callable[..., Any]) -> None:
    columns = "'prompt', 'chosen' and 'rejected'"
    add("--train", type=Path, help=f"parquet file of pairs, with columns {columns}")
    add("--validation", type=Path, help="the same, never trained on")
    heldout = "parquet file with a 'messages' column: conversations that were never trained on"
    add("--heldout", type=Path, help=heldout)
    add("--dataset", help="instead of the files: a dataset id on the Hub with pairs")
    add("--dataset-revision", help="its commit")
    add("--base", required=True, help="model folder, or a model id on the Hub")
    add("--base-revision", help="its commit")
    add("--adapter", required=True, help="folder or Hub id of the adapter to train further")
    add("--adapter-revision", help="its commit")
    template = "the chat template that the adapter was trained with, as for train_sft.py"
    add("--chat-template", help=template)
    prefix = "text that the template puts before each reply and that is learnt, e.g. a think block"
    add("--reply-prefix", default="", help=prefix)
    longest = "maximum tokens of a prompt and its longer reply; longer pairs are left out"
    add("--max-length", type=count, required=True, help=longest)


def add_pair_knobs(add: Callable[..., Any]) -> None:
    loss = "dpo compares the replies of a pair; kto judges each reply alone"
    add("--loss", choices=sorted(BETAS), default="dpo", help=loss)
    beta = f"how strongly the adapter is kept close to the reference (default: {BETAS})"
    add("--beta", type=float, help=beta)
    epochs = {"dest": "num_train_epochs", "type": float, "default": 1.0}
    add("--epochs", **epochs, help="passes over the pairs")
    steps = "exact number of optimiser steps; -1 uses --epochs"
    add("--max-steps", type=int, default=-1, help=steps)
    batch = {"dest": "per_device_train_batch_size", "type": count, "default": 2}
    add("--batch-size", **batch, help="pairs (dpo) or replies (kto) on the device at once")
    batches = {"dest": "gradient_accumulation_steps", "type": count, "default": 4}
    add("--gradient-accumulation", **batches, help="batches of an optimiser step")
    add("--learning-rate", type=float, default=5e-6, help="peak of the schedule")
    schedule = {"dest": "lr_scheduler_type", "default": "cosine"}
    add("--schedule", **schedule, help="transformers' lr_scheduler_type")
    rise = "share of the steps in which the learning rate rises"
    add("--warmup", dest="warmup_steps", type=float, default=0.1, help=rise)
    add("--optimizer", dest="optim", default="adamw_torch", help="transformers' optim")
    switch = {"dest": "activation_checkpointing", "action": argparse.BooleanOptionalAction}
    add("--gradient-checkpointing", **switch, default=True)
    offload = (
        "keep the activations of gradient checkpointing in the machine's memory, not the GPU's"
    )
    add("--offload-checkpoints", action="store_true", help=offload)
    add("--qlora", action="store_true", help="4-bit base if CUDA is available")
    add("--attention", default="sdpa", help="transformers' attn_implementation")
    when = "when the loss on validation pairs is measured, in addition to before the training"
    add("--evaluate", choices=["epoch", "end"], default="end", help=when)
    held = "number of held-out conversations whose loss is measured before and after"
    add("--heldout-examples", type=int, default=64, help=held)
    prompts = "number of validation prompts answered before and after, to measure reply lengths"
    add("--reply-prompts", type=int, default=8, help=prompts)
    add("--reply-tokens", type=count, default=256, help="maximum tokens of such a reply")
    add("--seed", type=int, default=0)

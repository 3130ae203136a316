"""The result of a training: adapter, tokenizer, log and metrics."""

import argparse
import shutil
from importlib.metadata import version
from pathlib import Path
from statistics import fmean
from typing import Any

from ..common.files import facts_of, named, write_json

PACKAGES = ("torch", "transformers", "trl", "peft", "datasets")
LATEST_STEPS = 5
"""Number of last steps over which the final training loss is averaged."""


def save(trainer: Any, tokenizer: Any, output: Path) -> dict[str, dict[str, Any]]:
    """Write adapter, tokenizer, template and log; return their sizes and hashes."""
    part = output / ".part"
    shutil.rmtree(part, ignore_errors=True)
    trainer.model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    trainer.state.save_to_json(str(part / "trainer_state.json"))
    files = {}
    for path in sorted(part.iterdir()):
        files[path.name] = facts_of(path)
        path.replace(output / path.name)
    part.rmdir()
    return files


def write_sft_metrics(trainer: Any, arguments: argparse.Namespace, facts: dict[str, Any]) -> float:
    """Write metrics.json; return the last validation loss."""
    method = "qlora" if arguments.qlora and not trainer.args.use_cpu else "lora"
    log = trainer.state.log_history
    by_reply = next((entry["by_reply"] for entry in log[::-1] if "by_reply" in entry), {})
    return write_metrics(trainer, arguments, facts, method, validation_by_reply=by_reply)


def write_metrics(
    trainer: Any, arguments: argparse.Namespace, facts: dict[str, Any], method: str, **figures: Any
) -> float:
    """Write metrics.json with what all trainings measure, and further figures; return the last
    validation loss."""
    log = trainer.state.log_history
    curve, checks = (
        [{"step": e["step"], "loss": round(e[key], 4)} for e in log if key in e]
        for key in ("loss", "eval_loss")
    )
    trainable = (p.numel() for p in trainer.model.parameters() if p.requires_grad)
    metrics = {
        "validation_loss_last": checks[-1]["loss"],
        "train_loss_first": curve[0]["loss"],
        "train_loss_last": round(fmean(entry["loss"] for entry in curve[-LATEST_STEPS:]), 4),
        "steps": trainer.state.global_step,
        **facts,
        "method": method,
        "arithmetic": "bfloat16" if trainer.args.bf16 else "float32",
        "trainable_parameters": sum(trainable),
        # Base, dataset, their revisions, and all other options.
        **{name: named(value) for name, value in vars(arguments).items()},
        "versions": {name: version(name) for name in PACKAGES},
        **figures,
        "loss_curve": curve,
        "validation_curve": [{"step": 0, "loss": facts["validation_loss_first"]}, *checks],
    }
    write_json(arguments.output / "metrics.json", metrics)
    return checks[-1]["loss"]

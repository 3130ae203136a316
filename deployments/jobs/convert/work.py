"""The work folder, which --keep preserves for the next call."""

import argparse
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

MEASURED_WITH = ("name", "dataset", "dataset_revision", "reference_dtype", "heldout_examples")
MEASURED_WITH += ("heldout_tokens", "greedy_tokens", "reply_tokens", "fallback_pre_tokenizer")
MEASURED_WITH += ("imatrix", "calibration_tokens")
"""Arguments that the measurements depend on, in addition to files and models."""


def whole_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """Return the path of the 16-bit model."""
    return folder / f"{arguments.name}-f16.gguf"


def adapter_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """Return the path of the 16-bit adapter."""
    return folder / f"{arguments.name}-lora-f16.gguf"


def quantised_file(arguments: argparse.Namespace, folder: Path, kind: str) -> Path:
    return folder / f"{arguments.name}-{kind}.gguf"


def identify(arguments: argparse.Namespace) -> str:
    """Return a hash of everything that the measurements depend on; tolerances are excluded."""
    digest, script = hashlib.sha256(), Path(__file__)
    texts = (arguments.chat_template, arguments.system_file, arguments.heldout)
    texts += (arguments.calibration,)
    for path in (script, script.with_name("llama_library.py"), *texts):
        digest.update(path.read_bytes() if path else b"-")
    for model in ("base", "adapter"):
        source, state = getattr(arguments, model), getattr(arguments, f"{model}_revision")
        folder = Path(source or "-")
        if folder.is_dir():
            files = [(path.name, path.stat()) for path in folder.iterdir()]
            state = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
        digest.update(json.dumps([source, state]).encode())
    digest.update(json.dumps([getattr(arguments, name) for name in MEASURED_WITH]).encode())
    return digest.hexdigest()[:24]


def begin_work(arguments: argparse.Namespace) -> Path:
    """Return the work folder: the one that an earlier call kept for the same model, or a new one.

    Remove earlier results from the output folder.
    """
    stale = (arguments.output / "export.json", whole_file(arguments, arguments.output))
    for path in (*stale, adapter_file(arguments, arguments.output)):
        path.unlink(missing_ok=True)
    # Inside the output folder, so that each finished file is moved atomically.
    work = arguments.output / ".part"
    shutil.rmtree(work, ignore_errors=True)
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.keep:
        # Computed once, since looking up a model on the Hub adds its commit to the arguments.
        arguments.identity = identify(arguments)
        with suppress(FileNotFoundError):
            (arguments.keep / arguments.identity).rename(work)
    work.mkdir(exist_ok=True)
    return work


def keep(arguments: argparse.Namespace, work: Path) -> None:
    """Move the work folder to --keep for the next call; replace everything that was kept there."""
    shutil.rmtree(arguments.keep, ignore_errors=True)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        work.rename(arguments.keep / arguments.identity)

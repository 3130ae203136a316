"""The work folder, which can be kept for the next call."""

import argparse
import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

MEASURED_WITH = ("name", "dataset", "dataset_revision", "reference_dtype", "heldout_examples")
MEASURED_WITH += ("heldout_tokens", "greedy_tokens", "reply_tokens", "fallback_pre_tokenizer")
MEASURED_WITH += ("imatrix", "calibration_tokens")
"""Arguments, besides files and models, that the measurements depend on."""


def whole_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """Returns the path of the model in 16 bits."""
    return folder / f"{arguments.name}-f16.gguf"


def adapter_file(arguments: argparse.Namespace, folder: Path) -> Path:
    """Returns the path of the adapter in 16 bits."""
    return folder / f"{arguments.name}-lora-f16.gguf"


def quantised_file(arguments: argparse.Namespace, folder: Path, kind: str) -> Path:
    return folder / f"{arguments.name}-{kind}.gguf"


def identify(arguments: argparse.Namespace) -> str:
    """Returns a hash of all that the measurements depend on, which excludes tolerances."""
    digest, script = hashlib.sha256(), Path(__file__)
    texts = (arguments.chat_template, arguments.system_file, arguments.heldout)
    texts += (arguments.calibration,)
    for path in (script, script.with_name("llama_library.py"), *texts):
        digest.update(path.read_bytes() if path else b"-")
    for model in ("base", "adapter"):
        given, listed = getattr(arguments, model), getattr(arguments, f"{model}_revision")
        folder = Path(given or "-")
        if folder.is_dir():
            files = [(path.name, path.stat()) for path in folder.iterdir()]
            listed = sorted((name, known.st_size, known.st_mtime_ns) for name, known in files)
        digest.update(json.dumps([given, listed]).encode())
    digest.update(json.dumps([getattr(arguments, name) for name in MEASURED_WITH]).encode())
    return digest.hexdigest()[:24]


def begin_work(arguments: argparse.Namespace) -> Path:
    """Returns the work folder: what an earlier call kept of the same model, or an empty one."""
    stale = (arguments.output / "export.json", whole_file(arguments, arguments.output))
    for path in (*stale, adapter_file(arguments, arguments.output)):
        path.unlink(missing_ok=True)
    # Within the output, so that each finished file is moved atomically.
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
    """Moves the work folder to --keep for the next call, replacing that of other models."""
    shutil.rmtree(arguments.keep, ignore_errors=True)
    arguments.keep.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        work.rename(arguments.keep / arguments.identity)

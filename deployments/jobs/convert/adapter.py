"""The adapter as a GGUF file of its own, for llama.cpp's --lora."""

import argparse
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.events import JobError, emit
from .checks import why_ended
from .heldout import Example
from .llama_cpp import convert_adapter, llama, load, run_converter
from .losses import token_losses
from .measures import measure_greedy, measure_logits
from .merging import Written, keep_pieces
from .work import adapter_file

CONFIGURED = ("config.json", "generation_config.json", "model.safetensors.index.json")
"""What a model's folder has besides weights and tokenizer."""


def measure_adapter(
    arguments: argparse.Namespace,
    work: Path,
    source: tuple[list[Path], Any, Path, bool],
    ids: list[list[int]],
    references: list[Written],
    examples: list[Example],
    context: int,
) -> dict[str, Any]:
    """Converts the adapter and measures it beside the base's 16-bit file, as the merged one is.

    Args:
        source: folders of adapter and base, tokenizer, converter, and whether prompts begin with a
            BOS.

    Returns:
        Its figures; only `why` if there is no such file, which does not fail the export.
    """
    folders, tokenizer, converter, begins = source
    file, plain, base = adapter_file(arguments, work), work / "base", work / "unmerged.gguf"
    emit("progress", step="converting the adapter")
    plain.mkdir(exist_ok=True)
    for path in folders[-1].resolve().iterdir():
        if path.suffix == ".safetensors":
            (plain / path.name).symlink_to(path)
        elif path.name in CONFIGURED:
            # The converter's caller completes it.
            shutil.copy(path, plain)
    tokenizer.save_pretrained(plain)
    keep_pieces(tokenizer, plain, folders)
    slack, as_tensor = 4 * arguments.logit_tolerance, import_module("torch").from_numpy
    try:
        run_converter(converter, plain, base, arguments.fallback_pre_tokenizer, begins)
        convert_adapter(converter, plain, folders[0], file)
        check_application(arguments, base, file)
        llm = load(base, context, arguments, file)
        figures = measure_logits(llm, ids, references, slack)
        figures |= measure_greedy(llm, ids, references, slack)
        losses = token_losses(file.name, lambda row: as_tensor(llm.logits(row)), examples)
        llm.close()
    except (JobError, llama().LibraryError) as error:
        file.unlink(missing_ok=True)
        return {"why": str(error)}
    finally:
        base.unlink(missing_ok=True)
        shutil.rmtree(plain)
    return figures | {"losses": losses}


def check_application(arguments: argparse.Namespace, base: Path, adapter: Path) -> None:
    """Applies the adapter in another process first: llama.cpp aborts where it does not fit.

    Raises:
        JobError: it does not fit.
    """
    script = Path(__file__).with_name("llama_library.py")
    command = [sys.executable, str(script), "apply", str(base), str(adapter)]
    command += ["--library", str(arguments.library)] if arguments.library else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(why_ended(done.returncode, done.stderr))

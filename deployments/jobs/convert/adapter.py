"""The adapter as a separate GGUF file, for llama.cpp's --lora."""

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
from .measures import measure_replies
from .merging import Written, keep_pieces
from .work import adapter_file

CONFIGURED = ("config.json", "generation_config.json", "model.safetensors.index.json")
"""Files of a model's folder other than weights and tokenizer."""


def measure_adapter(
    arguments: argparse.Namespace,
    work: Path,
    source: tuple[list[Path], Any, Path, bool],
    ids: list[list[int]],
    references: list[Written],
    examples: list[Example],
    context: int,
) -> dict[str, Any]:
    """Convert the adapter, and measure it with the base's 16-bit file like the merged model's file.

    Args:
        source: folders of adapter and base, tokenizer, folder of the converter, and whether prompts
            start with a BOS.
        ids: tokens of the prompts.
        references: the merged model's logits and replies for these prompts.
        examples: held-out texts, on which losses are measured.
        context: tokens of the longest text, including what is generated after it.

    Returns:
        Its figures. If the file cannot be made, only `why`; this does not fail the export.
    """
    folders, tokenizer, converter, begins = source
    file, plain, base = adapter_file(arguments, work), work / "base", work / "unmerged.gguf"
    emit("progress", step="converting the adapter")
    plain.mkdir(exist_ok=True)
    for path in folders[-1].resolve().iterdir():
        if path.suffix == ".safetensors":
            (plain / path.name).symlink_to(path)
        elif path.name in CONFIGURED:
            # Copied and not linked: `run_converter` completes config.json.
            shutil.copy(path, plain)
    tokenizer.save_pretrained(plain)
    keep_pieces(tokenizer, plain, folders)
    slack, as_tensor = 4 * arguments.logit_tolerance, import_module("torch").from_numpy
    try:
        run_converter(converter, plain, base, arguments.fallback_pre_tokenizer, begins)
        convert_adapter(converter, plain, folders[0], file)
        check_application(arguments, base, file)
        llm = load(base, context, arguments, file)
        figures = measure_replies(llm, ids, references, slack)
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
    """Apply the adapter in another process first, since llama.cpp aborts if it does not fit.

    Raises:
        JobError: the adapter does not fit the base.
    """
    script = Path(__file__).with_name("llama_library.py")
    command = [sys.executable, str(script), "apply", str(base), str(adapter)]
    command += ["--library", str(arguments.library)] if arguments.library else []
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise JobError(why_ended(done.returncode, done.stderr))

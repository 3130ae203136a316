"""llama.cpp: converting, quantising and loading files."""

import argparse
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

from ..common.events import JobError, emit, short


@cache
def llama() -> Any:
    """Imports llama.cpp's C interface from the file beside this one."""
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    return import_module("llama_library")


def load(
    path: Path, context: int, arguments: argparse.Namespace, adapter: Path | None = None
) -> Any:
    return llama().Llama(path, context, arguments.threads, arguments.library, adapter)


def run_converter(
    folder: Path,
    merged: Path,
    target: Path,
    fallback: str | None,
    begins: bool,
    vocabulary_only: bool = False,
) -> str | None:
    """Runs llama.cpp's own converter in this process.

    Args:
        fallback: pre-tokenizer for a tokenizer that the converter does not know.
        begins: whether a prompt begins with the BOS token. If not, the file says so, and no program
            adds one that was not in the training.

    Returns:
        The fallback, if it was used.
    """
    complete_config(merged / "config.json")
    sys.path[:0] = [str(folder / "gguf-py"), str(folder)]
    converter = import_module("convert_hf_to_gguf")
    # transformers neither loads nor saves the layers that predict further tokens.
    import_module("conversion.base").ModelBase.no_mtp = True
    words = [str(merged), "--outfile", str(target), "--outtype", "f16"]
    sys.argv = ["convert_hf_to_gguf.py", *words, *(["--vocab-only"] if vocabulary_only else [])]
    with vocabulary_adapted(fallback, begins) as used:
        try:
            converter.main()
        except (Exception, SystemExit) as error:
            reason = f"({type(error).__name__}: {short(error)})"
            wrong = f"llama.cpp's converter refuses the model {reason}"
            advice = "if its tokenizer is of your own making, name its pattern"
            raise JobError(f"{wrong}; {advice} with --fallback-pre-tokenizer.") from None
    return used[0] if used else None


@contextmanager
def vocabulary_adapted(fallback: str | None, begins: bool) -> Generator[list[str]]:
    """Replaces what the converter writes of a vocabulary, as `run_converter` describes it.

    Returns:
        A list that holds the fallback as soon as it was used.
    """
    text_model = import_module("conversion.base").TextModel
    original, used = text_model.get_vocab_base_pre, list[str]()
    special = import_module("gguf").SpecialVocab
    adding = special.add_to_gguf

    def with_bos(self: Any, *rest: Any, **more: Any) -> None:
        if not begins:
            self.add_special_token["bos"] = False
        adding(self, *rest, **more)

    def with_fallback(self: Any, tokenizer: Any) -> str:
        try:
            return original(self, tokenizer)
        except NotImplementedError:
            if not fallback:
                raise
            used.append(fallback)
            return fallback

    text_model.get_vocab_base_pre, special.add_to_gguf = with_fallback, with_bos
    try:
        yield used
    finally:
        text_model.get_vocab_base_pre, special.add_to_gguf = original, adding


def complete_config(path: Path) -> None:
    """Adds what the converter asks every Gemma 4 for, and transformers saves only for some."""
    config = json.loads(path.read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    if str(text.get("model_type")).startswith("gemma4"):
        text.setdefault("moe_intermediate_size", None)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def convert_adapter(folder: Path, base: Path, adapter: Path, target: Path) -> None:
    """Runs llama.cpp's own converter of LoRA adapters in this process.

    Raises:
        JobError: it refuses the adapter.
    """
    script = folder / "convert_lora_to_gguf.py"
    if not script.is_file():
        raise JobError(f"{str(folder)!r} has no {script.name}; fetch the converter again.")
    sys.argv = [script.name, "--base", str(base), "--outfile", str(target), "--outtype", "f16"]
    sys.argv.append(str(adapter))
    try:
        # All of it is under `if __name__ == "__main__"`.
        run_path(str(script), run_name="__main__")
    except (Exception, SystemExit) as error:
        wrong = f"llama.cpp's converter refuses it ({type(error).__name__}: {short(error)})"
        raise JobError(wrong) from None


def quantise(
    source: Path,
    target: Path,
    kind: str,
    arguments: argparse.Namespace,
    importance: dict[str, Any] | None,
) -> dict[str, str]:
    """Writes a quantised file.

    Args:
        importance: of the matrices' columns.

    Returns:
        The matrices with another type than requested, because their rows do not divide by its
        blocks, and that type.
    """
    machine = (arguments.threads, arguments.library)
    made = llama().quantise(source, target, kind, *machine, importance)
    fallen = {name: found for name, (found, _) in made.items()}
    if fallen:
        others = ", ".join(sorted(set(fallen.values())))
        text = f"{target.name}: {len(fallen)} matrices are quantised to {others}, since their rows"
        text = f"{text} do not divide by the blocks of {kind}."
        emit("fallback", text=text, file=target.name, matrices=len(fallen))
    return fallen

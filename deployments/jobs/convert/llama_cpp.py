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
    """Import llama.cpp's C interface from llama_library.py in the same folder."""
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
    """Run llama.cpp's own converter in this process.

    Args:
        folder: folder of the converter.
        fallback: name of the pre-tokenizer for a tokenizer that the converter does not know.
        begins: whether prompts start with the BOS token. If not, the file records it, so that no
            program adds a BOS that was not in the training.

    Returns:
        The fallback if it was used, else None.
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
            advice = "if the tokenizer is custom-made, name its pattern"
            raise JobError(f"{wrong}; {advice} with --fallback-pre-tokenizer.") from None
    return used[0] if used else None


@contextmanager
def vocabulary_adapted(fallback: str | None, begins: bool) -> Generator[list[str]]:
    """Patch how the converter writes a vocabulary, as `run_converter` describes.

    Yields:
        A list that contains the fallback once it was used.
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
    """Add a field that the converter requires of every Gemma 4; transformers omits it for some."""
    config = json.loads(path.read_text(encoding="utf-8"))
    text = config.get("text_config") or config
    if str(text.get("model_type")).startswith("gemma4"):
        text.setdefault("moe_intermediate_size", None)
        path.write_text(json.dumps(config, indent=2), encoding="utf-8")


def convert_adapter(folder: Path, base: Path, adapter: Path, target: Path) -> None:
    """Run llama.cpp's own converter of LoRA adapters in this process.

    Raises:
        JobError: the converter refuses the adapter.
    """
    script = folder / "convert_lora_to_gguf.py"
    if not script.is_file():
        raise JobError(f"{str(folder)!r} has no {script.name}; fetch the converter again.")
    sys.argv = [script.name, "--base", str(base), "--outfile", str(target), "--outtype", "f16"]
    sys.argv.append(str(adapter))
    try:
        # The script has no main function: all its code is under `if __name__ == "__main__"`.
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
    """Write a quantised file.

    Args:
        importance: importance of each matrix's columns; None rounds all alike.

    Returns:
        The matrices that got another type than requested, and that type. The length of their rows
        is not a multiple of the requested type's block size.
    """
    machine = (arguments.threads, arguments.library)
    replaced = llama().quantise(source, target, kind, *machine, importance)
    fallen = {name: used for name, (used, _) in replaced.items()}
    if fallen:
        others = ", ".join(sorted(set(fallen.values())))
        text = f"{target.name}: {len(fallen)} matrices are quantised to {others}, since their row"
        text = f"{text} length is not a multiple of the block size of {kind}."
        emit("fallback", text=text, file=target.name, matrices=len(fallen))
    return fallen

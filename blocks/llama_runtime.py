"""Which llama.cpp this installation uses: what deployments/install.sh proved and wrote down, or the wheel that is installed."""

import importlib.util
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import blocks.prebuilt_server
from core.errors import SettingsError
from core.settings.job_arguments import Argument

RECORD = "understudy-llama.json"
"""File below the environment's folder."""


class LlamaRuntime(BaseModel):
    """A llama.cpp that is used.

    Args:
        kind: `prebuilt` (the wheel of xllamacpp), `own` (built with CMAKE_ARGS), or `portable` (built for any machine, where the prebuilt one died).
        library: its shared library; server: command that takes llama-server's flags.
        converter: folder with convert_hf_to_gguf.py; none where it was not installed.
        why: what failed before it; empty for the first choice.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["own", "prebuilt", "portable"]
    library: Path
    server: list[str]
    converter: Path | None = None
    why: str = ""


def read_runtime() -> LlamaRuntime | None:
    """Return the llama.cpp of this installation; none if it has none.

    Raises:
        SettingsError: what was written down cannot be read, or is gone.
    """
    path = Path(sys.prefix) / RECORD
    if not path.is_file():
        return _of_wheel()
    try:
        runtime = LlamaRuntime.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SettingsError(f"{path} cannot be read ({error.error_count()} errors). Remove it and run `make setup`.") from error
    if not (runtime.library.exists() and Path(runtime.server[0]).exists()):
        raise SettingsError(f"{path} names {runtime.library} and {runtime.server[0]}, and one of them is gone. Run `make setup`.")
    return runtime


def library_words() -> list[str]:
    """Return the arguments by which the probe tries the library of this installation; none where it cannot be said which one that is."""
    try:
        found = read_runtime()
    except SettingsError:
        return []
    return ["--library", str(found.library)] if found else []


def _of_wheel() -> LlamaRuntime | None:
    found = importlib.util.find_spec("xllamacpp")
    library = next(Path(found.origin).parent.glob("xllamacpp*.so"), None) if found and found.origin else None
    return LlamaRuntime(kind="prebuilt", library=library, server=[sys.executable, "-I", blocks.prebuilt_server.__file__]) if library else None


def llama_arguments() -> dict[str, Argument]:
    """Return the llama.cpp of this installation and the sources of its converter, as a job script is given them; what is missing it finds or fetches itself."""
    if (runtime := read_runtime()) is None:
        return {}
    converter = {"llama-cpp": str(runtime.converter)} if runtime.converter and runtime.converter.is_dir() else {}
    return {"library": str(runtime.library), **converter}

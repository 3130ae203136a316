"""The llama.cpp of this installation: the one that deployments/install.sh tested and recorded, or the installed wheel."""

import importlib.util
import sys
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

import blocks.prebuilt_server
from core.errors import SettingsError
from core.settings.job_arguments import Argument

RECORD = "understudy-llama.json"
"""File in the environment's folder, where deployments/install.sh records the llama.cpp."""


class LlamaRuntime(BaseModel):
    """An installed llama.cpp.

    Args:
        kind: `prebuilt` (the xllamacpp wheel), `own` (built with CMAKE_ARGS), or `portable` (built for any CPU, because the prebuilt one crashed).
        library: path of the shared library.
        server: command that takes llama-server's flags.
        converter: folder with convert_hf_to_gguf.py; None if it is not installed.
        why: why the preferred kind was not used; empty for the first choice.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    kind: Literal["own", "prebuilt", "portable"]
    library: Path
    server: list[str]
    converter: Path | None = None
    why: str = ""


def read_runtime() -> LlamaRuntime | None:
    """Return the llama.cpp of this installation; None if it has none.

    Raises:
        SettingsError: the record cannot be read, or names files that no longer exist.
    """
    path = Path(sys.prefix) / RECORD
    if not path.is_file():
        return _of_wheel()
    try:
        runtime = LlamaRuntime.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise SettingsError(f"{path} cannot be read ({error.error_count()} errors). Remove it and run `make setup`.") from error
    if not (runtime.library.exists() and Path(runtime.server[0]).exists()):
        raise SettingsError(f"{path} names {runtime.library} and {runtime.server[0]}, and one of them does not exist. Run `make setup`.")
    return runtime


def library_words() -> list[str]:
    """Return the arguments that make the probe test this installation's library; empty if the library is not known."""
    try:
        runtime = read_runtime()
    except SettingsError:
        return []
    return ["--library", str(runtime.library)] if runtime else []


def _of_wheel() -> LlamaRuntime | None:
    module = importlib.util.find_spec("xllamacpp")
    library = next(Path(module.origin).parent.glob("xllamacpp*.so"), None) if module and module.origin else None
    return LlamaRuntime(kind="prebuilt", library=library, server=[sys.executable, "-I", blocks.prebuilt_server.__file__]) if library else None


def llama_arguments() -> dict[str, Argument]:
    """Return this installation's llama.cpp and converter as arguments of a job script, which finds or downloads what is missing."""
    if (runtime := read_runtime()) is None:
        return {}
    converter = {"llama-cpp": str(runtime.converter)} if runtime.converter and runtime.converter.is_dir() else {}
    return {"library": str(runtime.library), **converter}

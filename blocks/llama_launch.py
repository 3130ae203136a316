"""The start of a llama-server: its program, its GGUF and its options."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from blocks.llama_runtime import read_runtime
from core.errors import SettingsError

PROGRAM_VARIABLE = "UNDERSTUDY_LLAMA_SERVER"


@dataclass(frozen=True)
class Launch:
    """The options of a llama-server.

    Args:
        model_path: path of the GGUF.
        context: tokens of one conversation, prompt and answers together.
        slots: concurrent conversations, each with the full context.
        gpu_layers: number of layers on the GPU; None lets the program decide.
        startup_seconds: maximum seconds for loading the model.
        page: settings of llama.cpp's web page as JSON; None serves no page.
    """

    model_path: Path
    context: int = 4096
    slots: int = 1
    threads: int = 2
    gpu_layers: int | None = None
    startup_seconds: int = 300
    page: str | None = None


def check_gguf(path: Path, provider: str = "") -> None:
    """Check that a file is a GGUF.

    Args:
        provider: provider whose model the file is, such as `llama-server`; empty for a path that a person typed.

    Raises:
        SettingsError: the file does not exist, or is not a GGUF.
    """
    if not path.is_file():
        raise SettingsError(f"{path} does not exist. Give the path of a GGUF file, as in {provider and f'{provider}/'}path/to/model.gguf.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise SettingsError(f"{path} is not a GGUF file. Convert the model first (`understudy export`).")


def find_program(program: str = "") -> list[str]:
    """Return the command that starts llama-server.

    Args:
        program: a path, or a name on the PATH. If empty, UNDERSTUDY_LLAMA_SERVER, then this installation, then the PATH is used.

    Raises:
        SettingsError: there is no such program.
    """
    chosen = program or os.environ.get(PROGRAM_VARIABLE, "")
    if not chosen and (runtime := read_runtime()):
        return runtime.server
    path = shutil.which(chosen or "llama-server")
    if path is None and chosen:
        raise SettingsError(
            f"The program {chosen!r} does not exist. Correct its path, or unset {PROGRAM_VARIABLE} to use the llama.cpp that `make setup` installs."
        )
    if path is None:
        raise SettingsError(f"llama.cpp is not installed, so no GGUF can be played. Run `make setup`, or set {PROGRAM_VARIABLE} to the path of a llama-server.")
    return [path]

"""What a llama-server is started with: the program, the GGUF, and how it is run."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from blocks.llama_runtime import read_runtime
from core.errors import SettingsError

PROGRAM_VARIABLE = "UNDERSTUDY_LLAMA_SERVER"


@dataclass(frozen=True)
class Launch:
    """How a llama-server is started.

    Args:
        context: tokens of one conversation; slots: conversations side by side, each with the whole context.
        gpu_layers: without a number the program decides.
        startup_seconds: that loading the model may take.
        page: settings of llama.cpp's web page as JSON, which is then served; none serves no page.
    """

    model_path: Path
    context: int = 4096
    slots: int = 1
    threads: int = 2
    gpu_layers: int | None = None
    startup_seconds: int = 300
    page: str | None = None


def check_gguf(path: Path, provider: str) -> None:
    """Check that a file is a GGUF.

    Raises:
        SettingsError: it is not, or there is none.
    """
    if not path.is_file():
        raise SettingsError(f"{path} does not exist. Give the path of a GGUF file, as in {provider}/path/to/model.gguf.")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise SettingsError(f"{path} is not a GGUF file. Convert the model first (`understudy export`).")


def find_program(given: str = "") -> list[str]:
    """Return the command of llama-server: a given program, else that of the variable, of this installation, or of the PATH.

    Args:
        given: a path or a name on the PATH.

    Raises:
        SettingsError: there is none.
    """
    wanted = given or os.environ.get(PROGRAM_VARIABLE, "")
    if not wanted and (runtime := read_runtime()):
        return runtime.server
    program = shutil.which(wanted or "llama-server")
    if program is None and wanted:
        raise SettingsError(
            f"The program {wanted!r} does not exist. Correct its path, or unset {PROGRAM_VARIABLE} to use the llama.cpp that `make setup` installs."
        )
    if program is None:
        raise SettingsError(f"llama.cpp is not installed, so no GGUF can be played. Run `make setup`, or set {PROGRAM_VARIABLE} to the path of a llama-server.")
    return [program]

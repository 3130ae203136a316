"""Decides which settings files may be read: those of the project, and those in folders that the user trusts as much as code.

Settings name addresses that receive keys, programs to start and images for jobs. A form in the UI accepts any path, so a path alone is no reason for trust.
"""

import os
import sys
from pathlib import Path

from core.errors import SettingsError
from core.paths import SHIPPED, TRUST_VARIABLE, find_project, project_folder, trusted_folders, user_path
from core.terminal import one_line, show, show_text

MAX_PATH = 4096
"""Maximum bytes of a path (PATH_MAX of Linux)."""

ENDINGS = (".yaml", ".yml")


def find_settings(path: str) -> Path:
    """Return the path of a settings file; a relative path is searched for in the working directory, then in the project folder.

    Raises:
        SettingsError: it is not in the working directory, and there is no project folder.
    """
    typed = user_path(path)
    return typed if os.path.exists(typed) else project_folder() / path  # noqa: PTH110  False for an impossible name


def is_trusted(path: Path, *places: Path) -> bool:
    """Return whether a file is, with all links followed, below the project, the shipped files, a trusted folder or one of the places."""
    project, real = find_project(), os.path.realpath(path)
    return any(Path(real).is_relative_to(os.path.realpath(place)) for place in (*([project] if project else []), SHIPPED, *trusted_folders(), *places))


def trusted(path: Path, *places: Path) -> Path:
    """Return the path of a settings file unchanged if the file may be read.

    Args:
        path: the file.
        places: further folders that are trusted like the project.

    Raises:
        SettingsError: it is outside the project and not trusted, or its name does not end in `.yaml` or `.yml`; the message reveals only its name.
    """
    if not _is_name(path) or not is_trusted(path, *places):
        raise SettingsError(
            f"{str(path)!r:.300} is outside the project, and a settings file is trusted like code (docs/security.md). Read it; then put it below "
            f"{project_folder()}, or its folder into {TRUST_VARIABLE}."
        )
    if path.suffix not in ENDINGS:
        raise SettingsError(f"{str(path)!r:.300} is not the name of a settings file. Allowed: demo, full, or a path that ends in {' or '.join(ENDINGS)}.")
    return path


def _is_name(path: Path) -> bool:
    """Return whether a path is possible: it has no NUL and no lone surrogate, and is not too long."""
    try:
        return b"\0" not in os.fsencode(path) and len(os.fsencode(path)) < MAX_PATH
    except UnicodeEncodeError:
        return False


def trust(folder: Path) -> None:
    """Allow this process, and those that it starts, to read the settings files of a folder."""
    os.environ[TRUST_VARIABLE] = os.pathsep.join(filter(None, (os.environ.get(TRUST_VARIABLE), str(folder))))


def ask_to_trust(settings: Path) -> None:
    """Ask the user at the terminal before a settings file from outside the project is used.

    Raises:
        SettingsError: the user declines, or there is no terminal.
    """
    if is_trusted(settings) or not (sys.stdin.isatty() and sys.stderr.isatty()):
        trusted(settings)
        return
    folder = settings.resolve().parent
    show(f"{settings} is outside the project. A settings file is trusted like code: it names addresses, programs and images.", error=True)
    show_text(one_line(f"Use it and the other files in {folder}? [y/N] "), error=True, end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise SettingsError(f"Nothing was done. Put the file below {project_folder()}, or its folder into {TRUST_VARIABLE}.")
    trust(folder)

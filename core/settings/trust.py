"""Which settings files are read: those of the project, and of the folders that the person who starts the process trusts as they trust code.

Settings name addresses that keys are sent to, programs that are started and images that jobs run in; a form in the UI takes any path.
"""

import os
from pathlib import Path

from core.errors import SettingsError
from core.paths import CHECKOUT

TRUST_VARIABLE = "UNDERSTUDY_TRUST_SETTINGS"
"""Folders outside the project whose settings files are read, separated as in PATH."""

LONGEST_PATH = 4096
"""Bytes of a path (PATH_MAX of Linux)."""

ENDINGS = (".yaml", ".yml")


def is_trusted(path: Path, *places: Path) -> bool:
    """Say whether a file is, with all links followed, below the project, a trusted folder or one of the places."""
    named = [Path(folder) for folder in os.environ.get(TRUST_VARIABLE, "").split(os.pathsep) if folder]
    real = os.path.realpath(path)
    return any(Path(real).is_relative_to(os.path.realpath(place.expanduser())) for place in (CHECKOUT, *named, *places))


def trusted(path: Path, *places: Path) -> Path:
    """Return the path of a settings file that may be read; of another one nothing is said but its name.

    Args:
        places: folders that count as the project, beside the checkout.

    Raises:
        SettingsError: it is outside the project and not trusted, or not named as YAML.
    """
    if not _is_name(path) or not is_trusted(path, *places):
        raise SettingsError(
            f"{str(path)!r:.300} is outside the project, and a settings file is trusted as code is (docs/security.md). Read it; then put it below "
            f"{CHECKOUT}, or its folder into {TRUST_VARIABLE}."
        )
    if path.suffix not in ENDINGS:
        raise SettingsError(f"{str(path)!r:.300} is not named as a settings file is. Allowed: a name that ends in {' or '.join(ENDINGS)}.")
    return path


def _is_name(path: Path) -> bool:
    """Say whether a file can have this name: no NUL, half a character or thousands of letters."""
    try:
        return b"\0" not in os.fsencode(path) and len(os.fsencode(path)) < LONGEST_PATH
    except UnicodeEncodeError:
        return False


def trust(folder: Path) -> None:
    """Have the settings files of a folder read by this process and those that it starts."""
    os.environ[TRUST_VARIABLE] = os.pathsep.join(filter(None, (os.environ.get(TRUST_VARIABLE), str(folder))))

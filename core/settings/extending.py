"""Settings files that extend one another, read as one."""

import os
from pathlib import Path
from typing import Any

from core.errors import SettingsError, nearest
from core.paths import find_data
from core.settings.trust import trusted
from core.yaml_files import read_yaml

MAX_CHAIN = 8
"""Maximum number of settings files that extend one another."""


def read_extended(path: Path, roots: list[Path], over: tuple[Path, ...] = ()) -> Any:
    """Return the contents of a settings file, over those of the file that it extends if it names one.

    Args:
        path: the file.
        roots: folders that are trusted like the project.
        over: the files that extend it, on the way to it.

    Raises:
        SettingsError: a file is missing, is outside the trusted folders, or extends itself, or too many extend one another.
    """
    data = read_yaml(trusted(path, *roots), SettingsError)
    if not isinstance(data, dict) or "extends" not in data:
        return data
    extends, above = data.pop("extends"), (*over, path.resolve())
    if not isinstance(extends, str) or not extends:
        raise SettingsError(f"{path}: `extends` is {extends!r:.80}. Allowed: the name of a settings file beside it or in config/.")
    base = trusted(_extended(path, extends), *roots)
    if base.resolve() in above:
        raise SettingsError(f"{path}: `extends` names {extends!r}, which is this file or extends it in turn. Name another file.")
    if len(above) > MAX_CHAIN:
        raise SettingsError(f"{path} is the end of a chain of more than {MAX_CHAIN} files that extend one another. Write what differs into one of them.")
    return _merged(read_extended(base, roots, above), data)


def _extended(path: Path, name: str) -> Path:
    """Return the file that another one extends: one in the same folder, else one in `config/`."""
    beside, own = path.parent / name, find_data(f"config/{name}")
    if Path(name).name != name or "\0" in name or os.path.exists(beside):  # noqa: PTH110  False for an impossible name
        return beside
    if own.is_file():
        return own
    files = sorted({file.name for folder in (path.parent, own.parent) for file in folder.glob("*.yaml")} - {path.name})
    raise SettingsError(f"{path}: `extends` names {name!r:.80}, which is neither beside it nor in config/.{nearest(name, files)} Allowed: {', '.join(files)}.")


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {name: _merged(base.get(name), value) for name, value in over.items()}

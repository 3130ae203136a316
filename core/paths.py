"""Locations of files: those shipped with the code, and the user's files in the project folder."""

import os
from pathlib import Path

from core.errors import SettingsError

CODE = Path(__file__).resolve().parents[1]
"""The folder of the packages flows, studio, tasks, blocks and core."""

SHIPPED = CODE / "core/shipped" if (CODE / "core/shipped").is_dir() else CODE
"""The folder of files shipped with the code: `config/`, `prompts/`, `deployments/` and the files of a new project. It is the checkout itself, or in a wheel
a folder that the build fills (pyproject.toml)."""

MARKS = ("prefect.yaml", "config")
"""Entries that make a folder a project folder."""

TRUST_VARIABLE = "UNDERSTUDY_TRUST_SETTINGS"
"""Environment variable with the folders outside the project whose settings files may be read, separated as in PATH."""


def project_folder() -> Path:
    """Return the project folder: the nearest folder from the working directory upwards that has all `MARKS`, else the checkout of this code.

    Raises:
        SettingsError: there is no project folder, or it belongs to another user.
    """
    if (project := find_project()) is None:
        raise SettingsError(f"{working_directory()} is not in a project folder. Make one with `understudy init FOLDER`, and run the command in it.")
    return project


def find_project() -> Path | None:
    """Return the project folder as `project_folder` does, or None if there is none.

    Raises:
        SettingsError: it belongs to another user, who could have put it there as a trap.
    """
    here = working_directory()
    for folder in (here, *here.parents):
        if all(os.path.exists(folder / mark) for mark in MARKS):  # noqa: PTH110  False for a folder that may not be read
            if folder != CODE:
                _refuse_foreign(folder)
            return folder
    return CODE if SHIPPED == CODE else None


def project_domains() -> list[str]:
    """Return the names of the project's own domain packs; an empty list if the project has only the shipped ones.

    Raises:
        SettingsError: as for `find_project`.
    """
    project = find_project()
    own = () if project in (None, SHIPPED) else (project / "config/domains").glob("[a-z]*")
    return sorted(entry.name for entry in own if entry.is_dir())


def find_data(name: str) -> Path:
    """Return the path of a file below `config/` or `prompts/`: the project's own if it exists, else the shipped one."""
    project = find_project()
    return project / name if project and os.path.exists(project / name) else SHIPPED / name  # noqa: PTH110


def user_path(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that a person names, relative to the working directory."""
    return working_directory() / os.path.expanduser(path)  # noqa: PTH111  Path.expanduser raises for an unknown user


def project_path(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that settings or the environment name, relative to the project folder."""
    expanded = Path(os.path.expanduser(path))  # noqa: PTH111
    return expanded if expanded.is_absolute() else project_folder() / expanded


def working_directory() -> Path:
    """Return the working directory.

    Raises:
        SettingsError: it no longer exists.
    """
    try:
        return Path.cwd()
    except OSError as gone:
        raise SettingsError(f"The working directory no longer exists ({gone.strerror}). Go to another folder.") from gone


def cache_folder() -> Path:
    """Return the folder of downloads and built wheels, the only place outside the project that is written to (see deployments/install.sh)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNDERSTUDY_CACHE") or Path(home) / "understudy")


def trusted_folders() -> list[Path]:
    """Return the folders of `TRUST_VARIABLE`, whose settings files the user trusts as much as code."""
    return [Path(os.path.realpath(os.path.expanduser(folder))) for folder in os.environ.get(TRUST_VARIABLE, "").split(os.pathsep) if folder]  # noqa: PTH111


def _refuse_foreign(folder: Path) -> None:
    if any(folder.is_relative_to(trusted) for trusted in trusted_folders()):
        return
    places = [folder, *(folder / mark for mark in MARKS)]
    # a symbolic link belongs to its creator, no matter who owns its target
    if owners := {look(place).st_uid for place in places for look in (os.stat, os.lstat)} - {0, os.geteuid()}:
        raise SettingsError(
            f"{folder} is a project folder of another user (number {min(owners)}), and its settings would be trusted like code. "
            f"Read them; then put the folder into {TRUST_VARIABLE}, or run the command elsewhere."
        )

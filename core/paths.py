"""Where files are: what is shipped with the code, and what is the user's, in the project folder."""

import os
from pathlib import Path

from core.errors import SettingsError

CODE = Path(__file__).resolve().parents[1]
"""The folder of the packages flows, studio, tasks, blocks and core."""

SHIPPED = CODE / "core/shipped" if (CODE / "core/shipped").is_dir() else CODE
"""What comes with the code: `config/`, `prompts/`, `deployments/` and what a new project is made of. In a checkout it is the checkout, in a wheel a folder
that the build fills (pyproject.toml)."""

MARKS = ("prefect.yaml", "config")
"""What makes a folder a project folder."""

TRUST_VARIABLE = "UNDERSTUDY_TRUST_SETTINGS"
"""Folders outside the project whose settings files are read, separated as in PATH."""


def project_folder() -> Path:
    """Return the project folder: the nearest from the working directory upwards that has the marks, else the checkout that this code is.

    Raises:
        SettingsError: there is none, or it is another user's.
    """
    if (found := find_project()) is None:
        raise SettingsError(f"{working_directory()} is not in a project folder. Make one with `understudy init FOLDER`, and run the command in it.")
    return found


def find_project() -> Path | None:
    """Return the project folder as `project_folder` does; none where there is none.

    Raises:
        SettingsError: it is another user's, who could have put it there for others to find.
    """
    here = working_directory()
    for folder in (here, *here.parents):
        if all(os.path.exists(folder / mark) for mark in MARKS):  # noqa: PTH110  False where it cannot be looked at
            if folder != CODE:
                _refuse_foreign(folder)
            return folder
    return CODE if SHIPPED == CODE else None


def project_domains() -> list[str]:
    """Return the names of the project's own domain packs; none where they are the shipped ones.

    Raises:
        SettingsError: as for `find_project`.
    """
    project = find_project()
    own = () if project in (None, SHIPPED) else (project / "config/domains").glob("[a-z]*")
    return sorted(entry.name for entry in own if entry.is_dir())


def find_data(name: str) -> Path:
    """Return the path of a file below `config/` or `prompts/`: the project's own where it has one, else the shipped one."""
    project = find_project()
    return project / name if project and os.path.exists(project / name) else SHIPPED / name  # noqa: PTH110


def user_path(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that a person names, relative to the working directory."""
    return working_directory() / os.path.expanduser(path)  # noqa: PTH111  Path's raises for a user who is unknown


def project_path(path: str | Path) -> Path:
    """Return the absolute path of a file or folder that settings or the environment name, relative to the project folder."""
    named = Path(os.path.expanduser(path))  # noqa: PTH111
    return named if named.is_absolute() else project_folder() / named


def working_directory() -> Path:
    """Return the working directory.

    Raises:
        SettingsError: it was removed.
    """
    try:
        return Path.cwd()
    except OSError as gone:
        raise SettingsError(f"The working directory no longer exists ({gone.strerror}). Go to another folder.") from gone


def cache_folder() -> Path:
    """Return the folder of downloads and built wheels, the one place outside the project that is written (see deployments/install.sh)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNDERSTUDY_CACHE") or Path(home) / "understudy")


def trusted_folders() -> list[Path]:
    """Return the folders that the person who starts the process trusts as they trust code."""
    return [Path(os.path.realpath(os.path.expanduser(folder))) for folder in os.environ.get(TRUST_VARIABLE, "").split(os.pathsep) if folder]  # noqa: PTH111


def _refuse_foreign(folder: Path) -> None:
    if any(folder.is_relative_to(trusted) for trusted in trusted_folders()):
        return
    places = [folder, *(folder / mark for mark in MARKS)]
    # a link is its maker's, no matter who owns its target
    if owners := {look(place).st_uid for place in places for look in (os.stat, os.lstat)} - {0, os.geteuid()}:
        raise SettingsError(
            f"{folder} is a project folder of another user (number {min(owners)}), and its settings would be trusted like code. "
            f"Read them; then put the folder into {TRUST_VARIABLE}, or run the command elsewhere."
        )

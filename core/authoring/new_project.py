"""A new project folder: copies of the shipped files that a person may change."""

import os
import shutil
import tempfile
from pathlib import Path

from core.errors import SettingsError
from core.packs.pack import DEFAULT_DOMAIN, load_pack
from core.packs.places import domains
from core.paths import MARKS, SHIPPED, user_path

OWN = Path(__file__).with_name("project")
"""Folder with the files that only a project has: a README and a .gitignore."""

COPIED = {
    "config/pipeline.yaml": "config/pipeline.yaml",
    "config/demo.yaml": "config/demo.yaml",
    "config/training": "config/training",
    "prefect.yaml": "prefect.yaml",
    "prefect.toml": "prefect.toml",
    ".env.example": ".env.example",
    "deployments/run_and_watch.sh": "deployments/run_and_watch.sh",
    "deployments/ci-example.yaml": ".github/workflows/try-the-prompts.yaml",
}
"""The place in a project of each shipped file or folder; the domain's pack is copied as well."""

OF_THE_CHECKOUT = "# Of the installation of a checkout"
"""The line of .env.example from which on the file is only for an installation from a checkout, and is left out of a project."""

NAMED = ("README.md", "prefect.yaml")
"""Files that name the domain."""

COMPILED = "__pycache__"
"""Folder of compiled files that an installer leaves among a pack's programs; it is not copied."""
MAX_SHOWN = 10
"""File names that an error message lists."""


def make_project(folder: str, domain: str = DEFAULT_DOMAIN) -> Path:
    """Write a project folder, completely or not at all, and return its path.

    Args:
        folder: a new or empty folder.
        domain: the pack that is copied into it.

    Raises:
        PackError: there is no such domain, or it cannot be loaded.
        SettingsError: the folder is not empty, or cannot be written.
    """
    pack = load_pack(domain).name
    try:
        target = Path(os.path.realpath(user_path(folder)))
        if exists := target.exists():
            _refuse_full(target)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".understudy-", dir=target if exists else target.parent) as temporary:
            project = Path(temporary) / "project"
            _write(project, pack)
            if exists:
                _move(project, target)
            else:
                project.rename(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = error.strerror if isinstance(error, OSError) else error
        raise SettingsError(f"The project cannot be written to {folder!r:.300}: {reason}. Give a new or empty folder that you can write to.") from error
    return target


def _refuse_full(target: Path) -> None:
    if not target.is_dir():
        raise SettingsError(f"{target} is a file. Give the name of a folder that is new or empty.")
    entries, ours = (
        sorted(entry.name for entry in target.iterdir()),
        {Path(place).parts[0] for place in (*COPIED.values(), "prompts", "README.md", ".gitignore")},
    )
    if entries:
        lost = [name for name in entries if name in ours]
        what = f"would be overwritten: {', '.join(lost[:MAX_SHOWN])}" if lost else f"it holds {', '.join(entries[:MAX_SHOWN])}"
        raise SettingsError(f"{target} is not empty; {what}. Give the name of a folder that is new or empty.")


def _write(project: Path, domain: str) -> None:
    root = domains()[domain]
    places = {SHIPPED / source: project / place for source, place in COPIED.items()}
    places |= {root / place: project / place for place in (f"config/domains/{domain}", f"prompts/{domain}")}
    places |= {OWN / "README.md": project / "README.md", OWN / "gitignore": project / ".gitignore"}
    for source, place in places.items():
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            if file.is_file() and COMPILED not in file.parts:
                copy = place / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)  # without the modes: an installed package may be read-only
    (project / "deployments/run_and_watch.sh").chmod(0o755)
    for name in NAMED:
        (project / name).write_text((project / name).read_text(encoding="utf-8").replace(DEFAULT_DOMAIN, domain), encoding="utf-8")
    variables = project / ".env.example"
    variables.write_text(variables.read_text(encoding="utf-8").partition(OF_THE_CHECKOUT)[0].rstrip() + "\n", encoding="utf-8")


def _move(project: Path, target: Path) -> None:
    """Move a project's files into an existing folder; those by which a folder is recognised as a project are moved last."""
    moved = []
    try:
        for entry in sorted(project.iterdir(), key=lambda entry: entry.name in MARKS):
            moved.append(target / entry.name)
            entry.rename(moved[-1])
    except BaseException:
        for place in moved:
            shutil.rmtree(place, ignore_errors=True) if place.is_dir() else place.unlink(missing_ok=True)
        raise

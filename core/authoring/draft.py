"""The draft of a pack: its files below the data root, written one by one, and their installation among the loaded packs."""

import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from core.authoring.design import check_brief, place_of
from core.authoring.pack_files import check_file
from core.errors import DesignError
from core.fingerprint import fingerprint
from core.packs.pack import load_pack
from core.packs.places import PACKS_VARIABLE, domains, roots
from core.paths import project_folder, project_path, user_path
from core.storage.store import Store
from core.text_files import read_text

MIN_BRIEF_WORDS = 20
"""Number of words from which a single line is taken for the brief itself and not for its path."""


@dataclass(frozen=True)
class Draft:
    """A pack that is being drafted.

    Args:
        folder: path below the data root; the same brief and domain have the same folder, so that a stopped draft resumes.
    """

    domain: str
    brief: str
    folder: str
    store: Store

    def read(self, file: str) -> str | None:
        """Return a file's text, or None if it does not exist; for the folder of the criteria, all of their texts together."""
        if file.endswith("/criteria"):
            names = self.store.names(f"{self.folder}/{file}", ".md")
            return "\n\n".join(self.store.read(name) for name in names) or None
        name = f"{self.folder}/{file}"
        return self.store.read(name) if self.store.exists(name) else None

    def save(self, file: str, text: str) -> None:
        """Write a file."""
        self.store.write(f"{self.folder}/{file}", text)

    @contextmanager
    def unpacked(self) -> Generator[Path]:
        """Write the pack's files below a temporary folder, and yield its path."""
        with tempfile.TemporaryDirectory() as folder:
            self.unpack(Path(folder))
            yield Path(folder)

    def check_changed(self, file: str, text: str) -> None:
        """Check that the pack loads if a file has this text.

        Raises:
            PackError: it does not load.
        """
        check_file(file, text)
        with self.unpacked() as root:
            (root / place_of(file, self.domain)).write_text(text, encoding="utf-8")
            load_pack(self.domain, root)

    def unpack(self, root: Path) -> None:
        """Write the pack's files below a folder."""
        for place in (f"config/domains/{self.domain}", f"prompts/{self.domain}", f"prompts/{self.domain}/criteria"):
            for name in self.store.names(f"{self.folder}/{place}"):
                if Path(name).suffix in (".md", ".yaml"):
                    target = root / place / Path(name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(self.store.read(name), encoding="utf-8")


def read_brief(store: Store, path: str, domain: str, overwrite: bool) -> Draft:
    """Read a brief, and return the draft of its pack.

    Args:
        path: path of a Markdown file, or the brief's text, which has several lines or at least `MIN_BRIEF_WORDS` words.
        overwrite: whether an existing domain may be replaced.

    Raises:
        DesignError: the file does not exist, the brief is too short, the domain's name is invalid, or the domain exists and must not be overwritten.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{2,40}", domain):
        raise DesignError(f"{domain!r:.80} is not a valid domain name. Allowed: lower-case letters, digits and dashes, as in coding-mentor.")
    if domain not in domains() and (taken := [str(path) for root in roots() for path in _folders(domain, root) if path.exists()]):
        raise DesignError(f"The domain {domain!r} cannot be created: {taken[0]} exists already and belongs to no pack. Choose another name.")
    if domain in domains() and not overwrite:
        raise DesignError(f"The domain {domain!r} exists already ({domains()[domain]}). Choose another name, or pass overwrite=true to replace it.")
    text = (
        path
        if "\n" in path.strip() or len(path.split()) >= MIN_BRIEF_WORDS
        else read_text(user_path(path), DesignError, "Give a Markdown file with the brief, or its text.")
    )
    brief = check_brief(text)
    return Draft(domain, brief, f"designs/{domain}-{fingerprint(brief)}", store)


def install_pack(draft: Draft) -> str:
    """Install the pack among the loaded packs, and return its folder; a pack that it replaces is kept in hidden folders next to it."""
    root = project_path(os.environ.get(PACKS_VARIABLE) or project_folder())
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".understudy-", dir=root) as temporary:
        draft.unpack(Path(temporary))  # all files are written before the existing pack is moved
        for source, place in zip(_folders(draft.domain, Path(temporary)), _folders(draft.domain, root), strict=True):
            if _files(source) == _files(place):  # a stopped run has installed this folder: what it replaced must stay the backup
                continue
            if place.exists():
                shutil.rmtree(place.with_name(f".{place.name}.before"), ignore_errors=True)
                place.rename(place.with_name(f".{place.name}.before"))
            place.parent.mkdir(parents=True, exist_ok=True)
            source.rename(place)
    return str(root / "config/domains" / draft.domain)


def _files(folder: Path) -> dict[Path, bytes]:
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _folders(domain: str, root: Path) -> tuple[Path, Path]:
    """Return the two folders of a pack below a root, which are all that an installation writes."""
    return root / "config/domains" / domain, root / "prompts" / domain

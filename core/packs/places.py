"""Folders of domain packs by name. No pack is read, so an unknown name is refused at once."""

import os
import re
from pathlib import Path

from core.errors import PackError, nearest
from core.paths import SHIPPED, find_project, project_path
from core.records import DOMAIN

PACKS_VARIABLE = "UNDERSTUDY_PACKS"


def roots() -> list[Path]:
    """Return the folders that contain `config/domains/` and `prompts/`: the included ones, the project, and `$UNDERSTUDY_PACKS`, shared by projects."""
    shared, project = os.environ.get(PACKS_VARIABLE), find_project()
    return list(dict.fromkeys([SHIPPED, *([project] if project else []), *([project_path(shared)] if shared else [])]))


def domains() -> dict[str, Path]:
    """Return the root folder of each pack by name; a later folder of `roots()` replaces a pack of the same name."""
    entries = [(entry, root) for root in roots() for entry in sorted((root / "config/domains").glob("*"))]
    return {entry.name: root for entry, root in entries if re.fullmatch(DOMAIN, entry.name) and entry.is_dir()}


def find_pack(name: str, root: Path | None = None) -> Path:
    """Return the root folder of a pack.

    Args:
        name: name of the pack's folders below `config/domains/` and `prompts/`.
        root: the only root folder to search; None searches `roots()`.

    Raises:
        PackError: the pack does not exist.
    """
    packs = domains() if root is None else {name: root}
    if name not in packs or not (packs[name] / "config/domains" / name).is_dir():
        places = " or ".join(str(folder / "config/domains") for folder in (roots() if root is None else [root]))
        raise PackError(
            f"Unknown domain {name!r:.80}.{nearest(name, packs)} Allowed: {', '.join(sorted(domains()))}. "
            f"A domain is a folder below {places} ({PACKS_VARIABLE} adds a place)."
        )
    return packs[name]

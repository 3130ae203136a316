"""Where domain packs are, by their names: found without reading any, so that an unknown name is refused at once."""

import os
import re
from pathlib import Path

from core.errors import PackError, nearest
from core.paths import SHIPPED, find_project, project_path
from core.records import DOMAIN

PACKS_VARIABLE = "UNDERSTUDY_PACKS"


def roots() -> list[Path]:
    """Return the folders that hold `config/domains/` and `prompts/`: what is shipped, the project, and `$UNDERSTUDY_PACKS` for packs of several projects."""
    own, project = os.environ.get(PACKS_VARIABLE), find_project()
    return list(dict.fromkeys([SHIPPED, *([project] if project else []), *([project_path(own)] if own else [])]))


def domains() -> dict[str, Path]:
    """Return the packs that there are, each with the folder it stands below; one's own come before those that are shipped."""
    entries = [(entry, root) for root in roots() for entry in sorted((root / "config/domains").glob("*"))]
    return {entry.name: root for entry, root in entries if re.fullmatch(DOMAIN, entry.name) and entry.is_dir()}


def find_pack(name: str, root: Path | None = None) -> Path:
    """Return the folder that a pack stands below.

    Args:
        name: the folder's name below `config/domains/` and `prompts/`.
        root: the only place to look in, where it is not one of `roots()`.

    Raises:
        PackError: there is no such pack.
    """
    known = domains() if root is None else {name: root}
    if name not in known or not (known[name] / "config/domains" / name).is_dir():
        places = " or ".join(str(folder / "config/domains") for folder in (roots() if root is None else [root]))
        raise PackError(
            f"Unknown domain {name!r:.80}.{nearest(name, known)} Allowed: {', '.join(sorted(domains()))}. "
            f"A domain is a folder below {places} ({PACKS_VARIABLE} adds a place)."
        )
    return known[name]

"""Folders of this installation."""

import os
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Return the folder of downloads and built wheels, the one place outside the checkout that is written (see deployments/install.sh)."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("UNDERSTUDY_CACHE") or Path(home) / "understudy")

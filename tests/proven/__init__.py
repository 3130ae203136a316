"""What was tried of everything outside this repository, as a page."""

import textwrap
import tomllib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from pydantic import Field, TypeAdapter

from core.errors import SettingsError
from core.yaml_files import Strict, read_yaml
from tests.conftest import CHECKOUT

PAGE = CHECKOUT / "docs/proven.md"
LIST = Path(__file__).with_name("proven.yaml")
INTRODUCTION = """# What was tried

Understudy depends on services, libraries and machines. This page says how each was tried, at which
version, and what was not tried. "At every test run" means that `make test` tries it; the files
stand below each table. Versions of packages are those of `uv.lock`. The page is generated from
`tests/proven/proven.yaml`.
"""


class Row(Strict):
    """One thing, how it was tried, and what of it was not."""

    thing: str
    how: str
    package: str = ""
    version: str = ""
    tests: list[str] = Field(default_factory=list)
    on: date | None = None
    without: str = ""


class Group(Strict):
    """Things of one kind."""

    about: str
    rows: list[Row]


def groups() -> list[Group]:
    """Return the list as it stands in the file."""
    return TypeAdapter(list[Group]).validate_python(read_yaml(LIST, SettingsError))


def proven_page(found: Sequence[Group] | None = None) -> str:
    """Return the page."""
    locked = {package["name"]: package["version"] for package in tomllib.loads((CHECKOUT / "uv.lock").read_text(encoding="utf-8"))["package"]}
    parts = [INTRODUCTION]
    for group in found or groups():
        parts.append(f"\n## {group.about}\n\n| what | version | how | when | not tried |\n|---|---|---|---|---|\n")
        for row in group.rows:
            version = f"{row.package} {locked[row.package]}" if row.package else row.version
            when = "at every test run" if row.tests else f"{row.on:%Y-%m-%d}" if row.on else ""
            parts.append(f"| {row.thing} | {version} | {row.how} | {when} | {row.without} |\n")
        tried = [f"- {row.thing}: {', '.join(f'`{name}`' for name in row.tests)}" for row in group.rows if row.tests]
        wrapped = [textwrap.fill(line, 100, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False) for line in tried]
        parts.append("\n".join(["", "Tests:", "", *wrapped, ""]) if tried else "")
    return "".join(parts)

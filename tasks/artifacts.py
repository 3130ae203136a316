"""Artifacts in the Prefect UI, which shows their descriptions, the texts of links and the cells of tables as Markdown: all of them are made here."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote
from uuid import UUID

from prefect.artifacts import (
    acreate_link_artifact,
    acreate_markdown_artifact,
    acreate_progress_artifact,
    acreate_table_artifact,
    aupdate_progress_artifact,
)

from core.escaping import Markdown, plain
from core.settings.addresses import studio_address


async def publish_report(text: Markdown, key: str, description: str) -> None:
    """Publish a report of ours, in which strangers' words are escaped."""
    await acreate_markdown_artifact(plain(text), key=key, description=plain(description))


async def publish_table(rows: Sequence[dict[str, Any]], key: str, description: str) -> None:
    """Publish a table; texts in it are shown as they are."""
    cells: list[dict[str, Any]] = [{plain(name): plain(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
    await acreate_table_artifact(cells, key=key, description=plain(description))


async def publish_link(url: str, key: str, text: str, description: str) -> None:
    """Publish a link to a web page; an address of another kind is published as text."""
    if url.startswith(("http://", "https://")):
        await acreate_link_artifact(quote(url, safe=":/?#&=%@+,;~"), key=key, link_text=plain(text), description=plain(description))
    else:
        await publish_report(plain(url), key, description)


async def publish_studio_link(path: str, key: str, text: str) -> None:
    """Publish a link to a page of the studio.

    Args:
        path: of the page; key: what kind of page it is, for the artifact's key.
    """
    await publish_link(studio_address(path), f"studio-{key}", text, "Opens in the studio, which `understudy studio` or `understudy ui` starts")


async def begin_progress(key: str, line: str, percent: float = 0.0) -> UUID:
    """Publish how far something is; return the artifact's id."""
    return await acreate_progress_artifact(percent, key=key, description=plain(line))


async def move_progress(artifact: UUID, percent: float, line: str) -> None:
    """Bring what `begin_progress` made up to date."""
    await aupdate_progress_artifact(artifact, percent, plain(line))

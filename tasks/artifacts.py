"""Artifacts in the Prefect UI. All are published here, because the UI renders descriptions, link texts and table cells as Markdown, so text must be escaped."""

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
    """Publish a report whose text is Markdown; quotations in it are escaped already."""
    await acreate_markdown_artifact(plain(text), key=key, description=plain(description))


async def publish_table(rows: Sequence[dict[str, Any]], key: str, description: str) -> None:
    """Publish a table; texts in it are escaped and shown literally."""
    cells: list[dict[str, Any]] = [{plain(name): plain(value) if isinstance(value, str) else value for name, value in row.items()} for row in rows]
    await acreate_table_artifact(cells, key=key, description=plain(description))


async def publish_link(url: str, key: str, text: str, description: str) -> None:
    """Publish a link to a web page; an address that is not http or https is published as text."""
    if url.startswith(("http://", "https://")):
        await acreate_link_artifact(quote(url, safe=":/?#&=%@+,;~"), key=key, link_text=plain(text), description=plain(description))
    else:
        await publish_report(plain(url), key, description)


async def publish_studio_link(path: str, key: str, text: str) -> None:
    """Publish a link to a page of the studio.

    Args:
        path: path of the page, from the studio's root.
        key: kind of page, for the artifact's key.
        text: text of the link.
    """
    await publish_link(studio_address(path), f"studio-{key}", text, "Opens in the studio, which `understudy studio` or `understudy ui` starts")


async def begin_progress(key: str, line: str, percent: float = 0.0) -> UUID:
    """Publish a progress artifact; return its id."""
    return await acreate_progress_artifact(percent, key=key, description=plain(line))


async def move_progress(artifact: UUID, percent: float, line: str) -> None:
    """Update a progress artifact of `begin_progress`."""
    await aupdate_progress_artifact(artifact, percent, plain(line))

"""Rendering of pages: the environment of the studio's templates, which escapes every value, and the filters that all pages share."""

import re
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from core.quantities import format_difference, format_interval, format_share
from core.storage.store import Store
from core.views.text import marked, rendered, visible

HERE = Path(__file__).parent
NAV = (("/", "Home"), ("/live", "Live"), ("/labels", "Labels"), ("/chat", "Chat"))
"""Address and name of each link in the navigation."""

_ALIGNED = re.compile(r'<(t[hd]) style="text-align:(left|right|center)">')


def store_of(request: Request) -> Store:
    """Return the data root that the studio shows."""
    return request.app.state.store


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: name of a file in `studio/templates/`, without `.html.j2`.
        status: HTTP status.
        values: the template's variables.
    """
    text = _environment().get_template(f"{template}.html.j2").render(request=request, path=request.url.path, nav=NAV, address=address, **values)
    return HTMLResponse(text, status)


def query_of(request: Request, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return the query of an address, for further links; empty filters of a form are left out."""
    return [(name, value) for name, value in request.query_params.multi_items() if name not in without and value]


def address(path: str, query: Sequence[tuple[str, str]] = (), **changes: Any) -> str:
    """Return an address with a query.

    Args:
        changes: parameters to set in the query; None or an empty text removes a parameter.
    """
    kept = [(name, value) for name, value in query if name not in changes]
    text = urlencode([*kept, *((name, str(value)) for name, value in changes.items() if value not in (None, ""))])
    return f"{quote(path)}{text and f'?{text}'}"


def number_of(request: Request, name: str, minimum: int, maximum: int, first: int = 1) -> int:
    """Return a number of an address's query, clipped to its bounds; `first` if it is missing or not a number."""
    text = request.query_params.get(name, "")
    return min(max(int(text), minimum), maximum) if text.isascii() and text.isdecimal() and len(text) < 10 else first


@cache
def _environment() -> Environment:
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    environment.finalize = _shown
    environment.filters |= {
        "part": part,
        "day": day,
        "since": since,
        "usd": usd,
        "words": words,
        "duration": duration,
        "signed": format_difference,
        "interval": format_interval,
        "share": format_share,
        "rendered": rendered,
        "marked": marked,
        "report_html": report_html,
    }
    return environment


def _shown(value: Any) -> Any:
    """Return a text with invisible control characters, such as those that change the direction of writing, made visible."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def part(text: str) -> str:
    """Return a text encoded as one segment of an address."""
    return quote(text, safe="")


def words(name: str) -> str:
    """Return a name with blanks instead of underscores."""
    return name.replace("_", " ")


def day(seconds: float | None) -> str:
    """Return a time in seconds since the epoch as date and time, in UTC."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def since(seconds: float) -> str:
    """Return roughly how long ago a time was, such as "3 h ago"."""
    elapsed = max(0.0, datetime.now(UTC).timestamp() - seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if elapsed >= size:
            return f"{elapsed / size:.0f} {unit} ago"
    return "now"


def duration(seconds: float) -> str:
    """Return a duration, rounded, such as "5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def usd(amount: float | None) -> str:
    """Return an amount in USD, with more decimals if it is small."""
    return "" if amount is None else f"{amount:,.2f} USD" if amount >= 0.1 or amount == 0 else f"{amount:.4f} USD"


def report_html(text: str) -> Markup:
    """Return the Markdown of a criterion or a report as HTML. HTML, images and links in it are shown as plain text."""
    html = MarkdownIt("js-default", {"linkify": False}).disable(["image", "link", "autolink"]).render(visible(text))
    return Markup(_ALIGNED.sub(r'<\1 class="\2">', html))  # the studio's policy forbids style attributes

"""How a page is made: the one environment of the studio's templates, which escapes every value, and what all pages have in common."""

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

from core.storage.store import Store
from core.views.text import marked, rendered, visible

HERE = Path(__file__).parent
NAV = (("/", "Home"), ("/live", "Live"), ("/labels", "Labels"), ("/chat", "Chat"))
"""Address and name of what every page leads to."""

_ALIGNED = re.compile(r'<(t[hd]) style="text-align:(left|right|center)">')


def store_of(request: Request) -> Store:
    """Return the data root that the studio shows."""
    return request.app.state.store


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: its file below `studio/templates/`, without `.html.j2`.
    """
    text = _environment().get_template(f"{template}.html.j2").render(request=request, path=request.url.path, nav=NAV, address=address, **values)
    return HTMLResponse(text, status)


def query_of(request: Request, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return what an address asks for, to be asked for again; empty filters of a form are left out."""
    return [(name, value) for name, value in request.query_params.multi_items() if name not in without and value]


def address(path: str, query: Sequence[tuple[str, str]] = (), **changes: Any) -> str:
    """Return an address with a query; what is changed to nothing is left out."""
    kept = [(name, value) for name, value in query if name not in changes]
    asked = urlencode([*kept, *((name, str(value)) for name, value in changes.items() if value not in (None, ""))])
    return f"{quote(path)}{asked and f'?{asked}'}"


def number_of(request: Request, name: str, least: int, most: int, first: int = 1) -> int:
    """Return a number of an address, within its bounds."""
    given = request.query_params.get(name, "")
    return min(max(int(given), least), most) if given.isascii() and given.isdecimal() and len(given) < 10 else first


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    made.finalize = _shown
    made.filters |= {
        "part": part,
        "day": day,
        "since": since,
        "usd": usd,
        "words": words,
        "duration": duration,
        "rendered": rendered,
        "marked": marked,
        "report_html": report_html,
    }
    return made


def _shown(value: Any) -> Any:
    """Return a text in which nothing is obeyed that turns the direction of writing, or the like."""
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def part(text: str) -> str:
    """Return a text as one part of an address."""
    return quote(text, safe="")


def words(name: str) -> str:
    """Return a name with underscores as people write it."""
    return name.replace("_", " ")


def day(seconds: float | None) -> str:
    """Return a time as people read it, in UTC."""
    return "" if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"


def since(seconds: float) -> str:
    """Return how long ago a time is, roughly."""
    gone = max(0.0, datetime.now(UTC).timestamp() - seconds)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if gone >= size:
            return f"{gone / size:.0f} {unit} ago"
    return "now"


def duration(seconds: float) -> str:
    """Return how long something takes, roughly."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def usd(amount: float | None) -> str:
    """Return money."""
    return "" if amount is None else f"{amount:,.2f} USD" if amount >= 0.1 or amount == 0 else f"{amount:.4f} USD"


def report_html(text: str) -> Markup:
    """Return our own Markdown, a criterion or a report, as HTML; HTML, images and links that stand in it are shown and not obeyed."""
    made = MarkdownIt("js-default", {"linkify": False}).disable(["image", "link", "autolink"]).render(visible(text))
    return Markup(_ALIGNED.sub(r'<\1 class="\2">', made))  # style attributes are not obeyed

"""How a page is made: the one environment of the studio's templates, which escapes every value, and what all pages have in common."""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from core.storage.store import Store
from core.terminal import CONTROLS

HERE = Path(__file__).parent
NAV = (("/", "Home"), ("/live", "Live"))
"""Address and name of what every page leads to."""


def store_of(request: Request) -> Store:
    """Return the data root that the studio shows."""
    return request.app.state.store


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """Return a page.

    Args:
        template: its file below `studio/templates/`, without `.html.j2`.
    """
    text = _environment().get_template(f"{template}.html.j2").render(request=request, path=request.url.path, nav=NAV, **values)
    return HTMLResponse(text, status)


@cache
def _environment() -> Environment:
    made = Environment(loader=FileSystemLoader(HERE / "templates"), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=True)
    made.finalize = _shown
    made.filters |= {"part": part, "day": day, "since": since, "usd": usd, "words": words}
    return made


def _shown(value: Any) -> Any:
    """Return a text without controls and without marks that turn the direction of writing."""
    return value if isinstance(value, Markup) or not isinstance(value, str) else CONTROLS.sub("", value)


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


def usd(amount: float | None) -> str:
    """Return money."""
    return "" if amount is None else f"{amount:,.2f} USD" if amount >= 0.1 or amount == 0 else f"{amount:.4f} USD"

"""Pages that compare two batches, and that show pass rates over time."""

from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.views.batches import open_batch
from core.views.comparing import compare, trend, trend_picture
from core.views.home import Entry, entries
from studio.pages import page, store_of

PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'"
"""Content-Security-Policy of the SVG picture: it may use its inline styles and nothing else."""


def show_compared(request: Request) -> Response:
    """Show two batches side by side, or the batches to choose from until two are chosen."""
    store = store_of(request)
    names = [request.query_params.get(part, "") for part in ("a", "b")]
    choices = [
        entry for entry in entries(store) if entry.kind == "batch" or (entry.kind == "night" and entry.address and entry.address.startswith("/batches/"))
    ]
    compared = compare(*(open_batch(store, name) for name in names)) if all(names) else None
    return page(request, "compare", choices=choices, names=names, it=compared)


def show_trend(request: Request) -> Response:
    """Show a domain's pass rate over time."""
    domain = request.path_params["domain"]
    points = trend(store_of(request), domain)
    if not points:
        raise HTTPException(404)
    return page(request, "trend", domain=domain, points=points, said=trend_words(points))


def trend_words(points: Sequence[Entry]) -> str:
    """Return the alternative text of the picture."""
    return f"Pass rates of {len(points)} nights and batches with their 95 % intervals, as in the table below."


def show_picture(request: Request) -> Response:
    """Return the picture of a domain's pass rate over time."""
    domain = request.path_params["domain"]
    svg, _ = trend_picture(domain, trend(store_of(request), domain))
    return Response(svg, media_type="image/svg+xml", headers={"content-security-policy": PICTURE_POLICY})


routes = [
    Route("/compare", show_compared),
    Route("/trend/{domain}", show_trend),
    Route("/trend/{domain}/picture.svg", show_picture),
]

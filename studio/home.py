"""The home page: results, running work, and tasks for a person."""

import time

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from core.views.home import KINDS, domains, entries, waiting
from core.views.live import running, speaking
from studio.pages import number_of, page, store_of

ENTRIES = 40
"""Number of entries on a page."""


def home(request: Request) -> Response:
    """Show all entries, the latest first."""
    store, now = store_of(request), time.time()
    everything = entries(store)
    kind, domain = request.query_params.get("kind", ""), request.query_params.get("domain", "")
    matches = [entry for entry in everything if kind in ("", entry.kind) and domain in ("", entry.domain)]
    pages = max(1, -(-len(matches) // ENTRIES))
    at = number_of(request, "page", 1, pages)
    return page(
        request,
        "home",
        root=store.root,
        waiting=[*request.app.state.waiting(), *waiting(store)],
        running=running(store, now),
        speaking=speaking(store, now),
        last={name: next((entry for entry in everything if entry.domain == name and entry.kind == "batch"), None) for name in domains(everything)},
        found=matches[(at - 1) * ENTRIES : at * ENTRIES],
        kinds=[name for name in KINDS if any(entry.kind == name for entry in everything)],
        kind=kind,
        domain=domain,
        at=at,
        pages=pages,
    )


routes = [Route("/", home)]

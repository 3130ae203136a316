"""The web application: the studio's pages for a data root, behind the guard of `studio/access.py`."""

from collections.abc import Callable

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from core.errors import DamagedError, StoreError, UnderstudyError
from core.paths import CODE
from core.storage.store import Store
from core.views.home import Waiting
from studio import batches, chat, comparing, conversations, evaluations, home, labelling, live
from studio.access import LOOPBACK, Access, Guard
from studio.chat_models import Company
from studio.pages import HERE, page

SHARED = {"tokens.css": CODE / "core/page_tokens.css"}
"""Style sheets that are shared with the static reports: name → file."""
PAGES = (home, live, batches, conversations, comparing, labelling, evaluations, chat)
"""Modules whose `routes` make up the application."""


def build_app(
    store: Store,
    token: str | None = None,
    hosts: tuple[str, ...] = LOOPBACK,
    addresses: bool = False,
    waiting: Callable[[], list[Waiting]] = list,
    settings: str = "config/pipeline.yaml",
) -> Starlette:
    """Return the studio's application for a data root.

    Args:
        token: the token that a browser must send once, as `?token=…`; None admits everybody who reaches the address.
        hosts, addresses: the names that it answers to; see `Access`.
        waiting: returns tasks for a person that are not recorded in the data root, such as a run that waits for input in the Prefect UI.
        settings: path of the settings file, whose models, judges and budget apply to chats.
    """
    app = Starlette(
        routes=[
            *(route for module in PAGES for route in module.routes),
            Route("/shared/{name}", _shared),
            Mount("/static", StaticFiles(directory=HERE / "static")),
        ],
        middleware=[Middleware(Guard, access=Access(token, hosts, addresses))],
        exception_handlers={HTTPException: _failed, UnderstudyError: _failed},
    )
    app.state.store, app.state.waiting, app.state.company = store, waiting, Company(store, settings)
    return app


def _shared(request: Request) -> Response:
    name = request.path_params["name"]
    if name not in SHARED:
        raise HTTPException(404)
    return FileResponse(SHARED[name])


def _failed(request: Request, error: Exception) -> Response:
    """Return an error page with one sentence; internals of the program are not shown."""
    if isinstance(error, HTTPException):
        sentence = "There is no such page, or what it showed was removed." if error.status_code == 404 else str(error.detail)
        return page(request, "failed", error.status_code, title="Not found" if error.status_code == 404 else "Not possible", said=sentence)
    gone = isinstance(error, StoreError) and not isinstance(error, DamagedError)
    return page(request, "failed", 404 if gone else 422, title="Not found" if gone else "Cannot be shown", said=str(error))

"""The application: one module per part of the Hub, each with its routes."""

import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tests.hub_stub import commits, control, jobs, lfs, refs, repos, resolve, tree, xet
from tests.hub_stub.gate import Gate
from tests.hub_stub.job_runs import Jobs
from tests.hub_stub.store import Store
from tests.hub_stub.wire import Refused, read_callers

PARTS = (control, jobs, repos, refs, commits, tree, lfs, xet, resolve)
"""In matching order; `resolve` is last, since its paths begin with an arbitrary name."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of the stub."""

    tokens: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {"hf_write": {"user": "me", "role": "write"}, "hf_read": {"user": "me", "role": "read"}},
    )
    page_size: int = 1000
    """Maximum number of items of a list in one answer."""
    cdn: bool = False
    """Redirect downloads of large files to another address, as the Hub does."""
    credit: bool = True
    """Whether jobs can be paid for."""
    scheduling_s: float = 0.1
    """Seconds that a job is queued."""
    grace_s: float = 5.0
    """Seconds between SIGTERM and SIGKILL for a job's processes."""
    python: str = sys.executable
    """The Python that runs scripts."""
    keep_alive_s: float = 30.0
    """Seconds of silence after which a log stream sends a keep-alive; a client that does not follow stops after 5 s of silence."""


def read_settings(values: Mapping[str, Any]) -> Settings:
    """Return settings by name; an unknown name is a ValueError."""
    known = {each.name for each in fields(Settings)}
    if unknown := sorted(values.keys() - known):
        raise ValueError(f"Unknown settings {', '.join(unknown)}. Known: {', '.join(sorted(known))}.")
    return Settings(**values)


def make_app(folder: Path, settings: Settings) -> Gate:
    """Return the application on a folder."""
    app = Starlette(
        routes=[route for part in PARTS for route in part.ROUTES],
        lifespan=_with_jobs,
        exception_handlers={Refused: _refused, HTTPException: _no_such_path},  # ty: ignore[invalid-argument-type]  each gets its own kind
    )
    app.router.redirect_slashes = False
    app.state.store, app.state.control = Store(folder), control.Control()
    app.state.page_size, app.state.cdn, app.state.credit, app.state.keep_alive_s = settings.page_size, settings.cdn, settings.credit, settings.keep_alive_s
    app.state.jobs = Jobs(app.state.store, settings.scheduling_s, settings.grace_s, settings.python)
    return Gate(app, app.state.control, read_callers(settings.tokens))


@asynccontextmanager
async def _with_jobs(app: Starlette) -> AsyncGenerator[None]:
    """End all jobs with the server."""
    yield
    await app.state.jobs.clear()


async def _refused(_: Request, refused: Refused) -> Response:
    return refused.answer()


async def _no_such_path(request: Request, problem: HTTPException) -> Response:
    return Refused(problem.status_code, f"The stub has no {request.method} {request.url.path}").answer()

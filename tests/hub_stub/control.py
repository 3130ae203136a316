"""The stub's own paths: faults, the log, and the reset."""

import re
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.wire import Json, Refused, store_of

FIELDS = frozenset({"method", "pattern", "times", "status", "headers", "body", "delay", "after", "drop", "cut"})


@dataclass(slots=True)
class Fault:
    """A fault for calls with a matching method and path; it occurs `times` times."""

    pattern: re.Pattern[str]
    method: str | None = None
    times: float = float("inf")
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    delay: float = 0.0
    """Seconds of delay before the call is processed; alone, it only delays the answer."""
    after: bool = False
    """Process the call, then lose the answer."""
    drop: bool = False
    """Close the connection, which is also the default."""
    cut: int | None = None
    """Send this many bytes of the body, then close the connection."""

    @property
    def loses(self) -> bool:
        """Return whether the connection is closed without an answer."""
        return self.status is None and self.cut is None and (self.drop or self.after or not self.delay)

    def answer(self) -> Response:
        """Return the answer that replaces the true one."""
        body = {"error": f"A fault asked for status {self.status}."} if self.body is None else self.body
        made = Response(body, self.status or 500) if isinstance(body, str) else JSONResponse(body, self.status or 500)
        made.headers.update(self.headers)
        return made


def read_fault(given: Json) -> Fault:
    """Return a fault from its JSON."""
    if unknown := sorted(given.keys() - FIELDS):
        raise Refused(400, f"Unknown fields {unknown} in the fault {given!r}. Known: {sorted(FIELDS)}.")
    rest: Json = given | {"pattern": re.compile(given.get("pattern", "")), "times": float("inf") if given.get("times") is None else given["times"]}
    return Fault(**rest)


@dataclass(slots=True)
class Control:
    """Pending faults, and the requests so far."""

    faults: list[Fault] = field(default_factory=list)
    log: list[Json] = field(default_factory=list)

    def pick(self, method: str, path: str) -> Fault | None:
        """Return the first fault that matches a call, and count it."""
        for fault in self.faults:
            if fault.times > 0 and fault.method in (None, method) and fault.pattern.search(path):
                fault.times -= 1
                return fault
        return None


def control_of(request: Request) -> Control:
    """Return faults and log."""
    return request.app.state.control


async def set_faults(request: Request) -> Response:
    """POST /_stub/faults: replace all faults."""
    control_of(request).faults = [read_fault(given) for given in await request.json()]
    return JSONResponse({"set": len(control_of(request).faults)})


async def get_log(request: Request) -> Response:
    """GET /_stub/log, in order of arrival."""
    return JSONResponse(control_of(request).log)


async def clear_log(request: Request) -> Response:
    """DELETE /_stub/log."""
    control_of(request).log.clear()
    return JSONResponse({"cleared": True})


async def reset(request: Request) -> Response:
    """POST /_stub/reset: remove all repositories, jobs, faults and the log."""
    await request.app.state.jobs.clear()
    control_of(request).faults.clear()
    control_of(request).log.clear()
    store_of(request).clear()
    return JSONResponse({"reset": True})


ROUTES = [
    Route("/_stub/faults", set_faults, methods=["POST"]),
    Route("/_stub/log", get_log, methods=["GET"]),
    Route("/_stub/log", clear_log, methods=["DELETE"]),
    Route("/_stub/reset", reset, methods=["POST"]),
]

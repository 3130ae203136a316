"""`understudy studio`: serves the pages of the studio until it is stopped."""

import asyncio
import logging
import os
import secrets
import socket
import sys
import threading
import time
import webbrowser
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from core.errors import ServerError, SettingsError
from core.machine.stopping import run_stoppable
from core.quantities import Port
from core.settings.addresses import studio_address
from core.storage.store import open_store
from core.terminal import show
from core.views.home import Waiting
from flows.terminal.server_access import ask, use_kept_password
from studio.access import LOOPBACK, is_address

if TYPE_CHECKING:
    from uvicorn import Server

STOP_SECONDS = 2
"""How long answers in progress may still take when the studio is stopped."""
TOKEN_VARIABLE = "UNDERSTUDY_STUDIO_TOKEN"
MIN_TOKEN = 16
"""Minimum length in characters of a token that a person sets; a shorter one could be guessed."""
EVERYWHERE = ("0.0.0.0", "::")
"""Addresses that listen on all interfaces."""
ASK_SECONDS = 10.0
"""Minimum time between two requests to the Prefect server."""
_ASKED: tuple[float, list[Waiting]] = (-ASK_SECONDS, [])
"""Time of the latest request, and its result."""


def studio(port: Port = 4210, host: str = "127.0.0.1", no_open: bool = False, settings: str = "config/pipeline.yaml") -> int:
    """Show conversations, verdicts and results in the browser, also while a run makes them; runs until Ctrl-C.

    Args:
        port: port of the studio; 0 takes a free one.
        host: address to listen on; if other machines can reach it, the studio asks for the token in the link that it prints.
        no_open: do not open a browser.
        settings: path of the settings file; its models, judges and budget apply to chats.
    """
    import uvicorn

    from studio.app import build_app

    store, public_host = open_store(), (urlsplit(studio_address()).hostname or host).lower()
    local = host in LOOPBACK and public_host in LOOPBACK
    token = None if local else _token()
    hosts = [
        *LOOPBACK,
        *([] if is_address(public_host) else [public_host]),
        *([] if is_address(host) else [host.lower()]),
        *([] if local else [socket.gethostname().lower()]),
    ]
    app = build_app(store, token, tuple(dict.fromkeys(hosts)), addresses=not local, waiting=_waiting, settings=settings)
    listening = _listen(host, port)
    config = uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=STOP_SECONDS)
    reached = "127.0.0.1" if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    link = f"http://{reached}:{listening.getsockname()[1]}/{f'?token={token}' if token else ''}"
    show(f"The studio is at {link}", f"It shows {store.root}. Ctrl-C stops it.")
    if not no_open and _has_browser():
        threading.Thread(target=webbrowser.open, args=(link,), daemon=True).start()
    try:
        run_stoppable(_serve(uvicorn.Server(config), listening))
    finally:
        app.state.company.stop()
    return 0


async def _serve(server: "Server", listening: socket.socket) -> None:
    """Serve until the task is cancelled; answers in progress end first."""
    work = asyncio.create_task(server.serve([listening]))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # it prints a traceback for each answer that does not end in time
        server.should_exit = True
        await work
        raise


def _waiting() -> list[Waiting]:
    """Return the runs that wait for a person in the Prefect UI; an empty list if PREFECT_API_URL is not set or the server does not answer."""
    if not (api := os.environ.get("PREFECT_API_URL")):
        return []
    global _ASKED  # noqa: PLW0603
    if time.monotonic() - _ASKED[0] > ASK_SECONDS:
        use_kept_password()
        try:
            paused = ask("flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}, "limit": 20}, seconds=1)
        except (OSError, ValueError):
            paused = []
        pages = (os.environ.get("PREFECT_UI_API_URL") or api).removesuffix("/").removesuffix("/api")
        _ASKED = (
            time.monotonic(),
            [Waiting(f"The run {run['name']} waits for an approval in the Prefect UI", f"{pages}/runs/flow-run/{run['id']}") for run in paused],
        )
    return _ASKED[1]


def _token() -> str:
    """Return the token of the environment, or a new one.

    Raises:
        SettingsError: the token of the environment is too short.
    """
    token = os.environ.get(TOKEN_VARIABLE, "")
    if token and len(token) < MIN_TOKEN:
        raise SettingsError(f"{TOKEN_VARIABLE} has {len(token)} characters; at least {MIN_TOKEN} are needed. Make one: openssl rand -hex 24")
    return token or secrets.token_urlsafe(24)


def _listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address.

    Raises:
        ServerError: the address does not exist or is in use.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except (OSError, OverflowError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServerError(f"The studio cannot listen on {host} port {port}: {why}. Choose another port: understudy studio --port 4310") from error


def _has_browser() -> bool:
    """Return whether a browser with a window can be opened. Without one, a text browser could open and take over the terminal."""
    return sys.stdout.isatty() and (sys.platform in ("darwin", "win32") or any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")))

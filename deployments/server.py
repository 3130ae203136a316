"""Prefect's server, for this machine's own pages and clients.   PREFECT_SERVER_API_AUTH_STRING=user:password python deployments/server.py

Prefect checks the password. What it does not have is added here: it answers under the names of its own addresses only, which a page that has its own name
point to this machine (DNS rebinding) does not use, and its pages load and ask nothing elsewhere, no telemetry either.
"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.redaction import guard_output
from core.terminal import show_error

ADDRESSES = ("PREFECT_API_URL", "PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL")
"""Where clients and pages find the server; their hosts are its names."""


def names() -> list[str]:
    """Return the hosts under which the server answers."""
    return sorted({"127.0.0.1", "localhost", *(urlsplit(os.environ.get(name, "")).hostname or "localhost" for name in ADDRESSES)})


def policy(port: int) -> str:
    """Return the Content-Security-Policy of the pages."""
    # the UI asks its API under one name and may be opened under another
    own = " ".join(f"{scheme}://{name}:{port}" for name in names() for scheme in ("http", "ws"))
    others = " ".join(sorted({f"{scheme}://{urlsplit(url).netloc}" for name in ADDRESSES if (url := os.environ.get(name)) for scheme in _schemes(url)}))
    return (
        "default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; "
        f"connect-src 'self' {own} {others}; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; object-src 'none'"
    )


def _schemes(url: str) -> tuple[str, str]:
    return ("https", "wss") if url.startswith("https:") else ("http", "ws")


def main() -> int:
    """Serve until a signal comes; return the exit code."""
    if not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        show_error("no password. Set PREFECT_SERVER_API_AUTH_STRING to user:password, and PREFECT_API_AUTH_STRING to the same for clients.")
        return 2
    guard_output()
    os.environ.setdefault("PREFECT_SERVER_CSRF_PROTECTION_ENABLED", "true")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("PREFECT_SERVER_CORS_ALLOWED_ORIGINS", "http://localhost")

    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings
    from starlette.datastructures import MutableHeaders
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    settings = get_current_settings().server
    csp = policy(settings.api.port)

    class OwnPages:
        """Sends the policy with each page."""

        def __init__(self, app: ASGIApp) -> None:
            self.app = app

        async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
            async def with_policy(message: Message) -> None:
                if message["type"] == "http.response.start":
                    MutableHeaders(scope=message).update(
                        {"content-security-policy": csp, "x-content-type-options": "nosniff", "referrer-policy": "no-referrer"}
                    )
                await send(message)

            await self.app(scope, receive, with_policy)

    app = create_app(final=True)
    app.add_middleware(OwnPages)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names(), www_redirect=False)
    api = settings.api
    uvicorn.run(
        app,
        host=api.host,
        port=api.port,
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Runs Prefect's server with stricter access rules.   PREFECT_SERVER_API_AUTH_STRING=user:password python deployments/server.py

Prefect checks the password. This script adds two rules that Prefect lacks. The server answers only requests for the host names of its own addresses, which
stops DNS rebinding: a foreign page whose name resolves to this machine. And its pages may not contact any other host, not even for telemetry.
"""

import os
import sys
from pathlib import Path
from urllib.parse import urlsplit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from core.redaction import guard_output
from core.terminal import show_error

ADDRESSES = ("PREFECT_API_URL", "PREFECT_UI_API_URL", "PREFECT_SERVER_UI_API_URL")
"""Environment variables with the addresses at which clients and pages reach the server. Requests for their hosts are answered."""


def names() -> list[str]:
    """Return the host names that the server answers."""
    return sorted({"127.0.0.1", "localhost", *(urlsplit(os.environ.get(name, "")).hostname or "localhost" for name in ADDRESSES)})


def policy(port: int) -> str:
    """Return the Content-Security-Policy of the pages."""
    # the UI may call its API under another name than the one it was opened under
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
        """Middleware that adds the security headers to each response."""

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

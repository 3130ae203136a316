"""Access control of the studio: the host names that it answers to, the token, and the security headers of its pages.

A foreign page must neither read the studio through a host name that resolves to this machine (DNS rebinding), nor post to it (CSRF). In both cases the
browser sends the foreign host or origin, and both are checked.
"""

import hashlib
import hmac
import ipaddress
from dataclasses import dataclass
from urllib.parse import urlencode, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("127.0.0.1", "localhost", "::1")
SAFE = ("GET", "HEAD", "OPTIONS")
TOKEN = "token"
COOKIE_SECONDS = 30 * 24 * 3600
"""Seconds for which a browser stays admitted."""

CACHEABLE = ("/static/", "/shared/")
"""Paths that a browser may cache if it revalidates them: they contain no user data."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, the studio's own forms would send no origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """The rules by which requests are admitted.

    Args:
        token: the token that a browser must have sent once. None admits everybody who reaches the address; the studio then listens on this machine only.
        hosts: host names that the studio answers to, without ports.
        addresses: whether it also answers to any numeric address. DNS rebinding cannot use these, because it needs a name.
    """

    token: str | None = None
    hosts: tuple[str, ...] = LOOPBACK
    addresses: bool = False

    @property
    def cookie(self) -> str:
        """Name of the cookie. It depends on the token, because all ports of a host share their cookies."""
        return f"understudy_studio_{self._digest('name')[:8]}"

    def proof(self) -> str:
        """Return the cookie's value, from which the token cannot be derived."""
        return self._digest("cookie")

    def _digest(self, purpose: str) -> str:
        return hmac.new((self.token or "").encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def answers_to(self, host: str | None) -> bool:
        """Return whether the studio answers to a host name."""
        if host is None:
            return False
        return host in self.hosts or (self.addresses and is_address(host))

    def accepts(self, token: str) -> bool:
        """Return whether a token is correct. The comparison takes the same time for every wrong token."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def admits(self, request: Request) -> bool:
        """Return whether a request comes from a browser that has sent the token before."""
        return self.token is None or hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self.proof().encode())


def is_address(host: str) -> bool:
    """Return whether a host is a numeric address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_of(netloc: str) -> str | None:
    """Return the host of `host:port` in lower case; None if it is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == netloc and "@" not in netloc else None


class Guard:
    """Middleware that refuses requests which are not admitted, and adds the security headers to every response."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Wrap an application."""
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})  # refused: the studio uses none
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(CACHEABLE):
                    headers["cache-control"] = "no-cache"
            await send(message)

        await (self._refusal(Request(scope)) or self.app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self.access.answers_to(host_of(host)):
            return _sentence(421, f"The studio does not answer to the name {host[:80]!r}. Open it at the address that it printed, or set UNDERSTUDY_STUDIO.")
        if request.method not in SAFE and not _is_own(request, host):
            return _sentence(403, "This request comes from a page that is not the studio's. Open the studio and do it there.")
        token = request.query_params.get(TOKEN)
        if token is not None and self.access.accepts(token):
            return self._admitted(request)
        if not self.access.admits(request):
            return _sentence(401, "The studio asks for its token. Open the link that `understudy studio` printed when it started.")
        return None

    def _admitted(self, request: Request) -> Response:
        """Set the browser's cookie, and redirect to the address without the token, where others could read it."""
        query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != TOKEN])
        answer = RedirectResponse(f"/{request.url.path.lstrip('/')}{query and f'?{query}'}", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(self.access.cookie, self.access.proof(), max_age=COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure)
        return answer


def _is_own(request: Request, host: str) -> bool:
    """Return whether a page of the studio sent a request. Browsers send the origin with every request that can change something."""
    origin = request.headers.get("origin", "")
    try:
        named = urlsplit(origin)
    except ValueError:
        return False
    return named.scheme in ("http", "https") and named.netloc == host


def _sentence(code: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", code)

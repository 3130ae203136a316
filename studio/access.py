"""Who may use the studio: names it answers to, the token, and what its pages may load.

A page from elsewhere must neither read it, under a name of its own that points to this machine (DNS rebinding), nor post to it (CSRF). A browser that
comes from elsewhere names its own host or origin, and both are checked.
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
"""That a browser stays admitted."""

KEPT = ("/static/", "/shared/")
"""What a browser may keep, and asks about before it uses it again: it holds nothing of anybody's."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # with no-referrer, a form of our own would name no origin
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


@dataclass(frozen=True)
class Access:
    """Who is let in.

    Args:
        token: that a browser must have been shown once; none lets in everybody who reaches the address, which is this machine alone then.
        hosts: names that the studio answers to, without ports.
        addresses: whether it answers to any numeric address too, which no name server can give away.
    """

    token: str | None = None
    hosts: tuple[str, ...] = LOOPBACK
    addresses: bool = False

    @property
    def cookie(self) -> str:
        """Name of the cookie; the cookies of a host are shared by all its ports."""
        return f"understudy_studio_{self._digest('name')[:8]}"

    def proof(self) -> str:
        """Return the cookie's value, from which the token cannot be found."""
        return self._digest("cookie")

    def _digest(self, purpose: str) -> str:
        return hmac.new((self.token or "").encode(), purpose.encode(), hashlib.sha256).hexdigest()

    def answers_to(self, host: str | None) -> bool:
        """Say whether the studio has a name."""
        if host is None:
            return False
        return host in self.hosts or (self.addresses and is_address(host))

    def shown(self, token: str) -> bool:
        """Say whether a token is the right one, in the same time for each wrong one."""
        return self.token is not None and hmac.compare_digest(token.encode(), self.token.encode())

    def admits(self, request: Request) -> bool:
        """Say whether a request comes from a browser that has shown the token."""
        return self.token is None or hmac.compare_digest(request.cookies.get(self.cookie, "").encode(), self.proof().encode())


def is_address(host: str) -> bool:
    """Say whether a host is a numeric address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def host_of(netloc: str) -> str | None:
    """Return the host of `host:port`, in lower case; none where that is malformed."""
    try:
        parts = urlsplit(f"//{netloc}")
        _ = parts.port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == netloc and "@" not in netloc else None


class Guard:
    """Answers in place of the application where a request is not let in, and sends the headers that keep pages apart."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        """Stand before an application."""
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            return  # there are no web sockets

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith(KEPT):
                    headers["cache-control"] = "no-cache"
            await send(message)

        await (self._refusal(Request(scope)) or self.app)(scope, receive, guarded)

    def _refusal(self, request: Request) -> Response | None:
        host = request.headers.get("host", "")
        if not self.access.answers_to(host_of(host)):
            return _said(421, f"The studio does not answer to the name {host[:80]!r}. Open it at the address that it printed, or set UNDERSTUDY_STUDIO.")
        if request.method not in SAFE and not _is_own(request, host):
            return _said(403, "This request comes from a page that is not the studio's. Open the studio and do it there.")
        given = request.query_params.get(TOKEN)
        if given is not None and self.access.shown(given):
            return self._admitted(request)
        if not self.access.admits(request):
            return _said(401, "The studio asks for its token. Open the link that `understudy studio` printed when it started.")
        return None

    def _admitted(self, request: Request) -> Response:
        """Give the browser its cookie, and take the token out of the address, where others could read it."""
        query = urlencode([(name, value) for name, value in request.query_params.multi_items() if name != TOKEN])
        answer = RedirectResponse(f"/{request.url.path.lstrip('/')}{query and f'?{query}'}", 303)
        secure = request.url.scheme == "https"
        answer.set_cookie(self.access.cookie, self.access.proof(), max_age=COOKIE_SECONDS, httponly=True, samesite="lax", secure=secure)
        return answer


def _is_own(request: Request, host: str) -> bool:
    """Say whether a page of the studio sends a request; every browser names the origin of one that changes something."""
    origin = request.headers.get("origin", "")
    try:
        named = urlsplit(origin)
    except ValueError:
        return False
    return named.scheme in ("http", "https") and named.netloc == host


def _said(code: int, sentence: str) -> Response:
    return PlainTextResponse(f"{sentence}\n", code)

"""The certificate authorities that this process trusts. They are read once: each client that reads them for itself takes 20 to 50 ms of processor time."""

from functools import cache
from ssl import SSLContext

import httpx2


@cache
def tls_context() -> SSLContext:
    """Return the TLS context that all clients share."""
    return httpx2.create_ssl_context()

"""`python -m tests.hub_stub FOLDER`: print the port as one line of JSON, then serve until stopped."""

import argparse
import asyncio
import json
import socket
import sys
from pathlib import Path


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.hub_stub", description='A stub of the Hugging Face Hub on 127.0.0.1; prints {"port": N} when it listens.'
    )
    parser.add_argument("folder", type=Path, help="where repositories are kept; the content of an earlier run is kept")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--settings", default="{}", help="JSON; see tests/hub_stub/app.py")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this one ends (Linux)")
    options = parser.parse_args()
    if options.die_with_parent:
        from core.processes import die_with_parent

        ask = die_with_parent()
        if ask:
            ask()
    serve(options.folder, options.port, json.loads(options.settings))


def serve(folder: Path, port: int, values: dict[str, object]) -> None:
    """Serve on the loopback interface until a signal arrives.

    Args:
        folder: where repositories are kept.
        port: 0 takes a free one.
        values: settings by name.
    """
    from uvicorn.config import Config
    from uvicorn.protocols.http.h11_impl import H11Protocol
    from uvicorn.server import Server

    from tests.hub_stub.app import make_app, read_settings
    from tests.hub_stub.gate import with_transport

    class Protocol(H11Protocol):
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.app = with_transport(self.app, transport)

    app = make_app(folder, read_settings(values))
    # The protocol is given, so that asyncio sends small answers at once (TCP_NODELAY).
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(1024)
    sys.stdout.write(json.dumps({"port": listener.getsockname()[1]}) + "\n")
    sys.stdout.flush()
    config = Config(
        app,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,  # uvicorn's is up to a second old, and the Hub's client compares it with times in logs
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=1,
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

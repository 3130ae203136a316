"""`python -m tests.stub`: print the port as one line of JSON, then serve until stopped."""

import argparse
import json
import socket
import sys


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.stub", description='A stub of LLM providers on 127.0.0.1; prints {"port": N} when it listens.')
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--settings", default="{}", help="JSON; see tests/stub/settings.py")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this one is gone (Linux)")
    options = parser.parse_args()
    if options.die_with_parent:
        from core.processes import die_with_parent

        ask = die_with_parent()
        if ask:
            ask()
    serve(options.port, json.loads(options.settings))


def serve(port: int, values: dict[str, object]) -> None:
    """Serve on the loopback interface until a signal arrives.

    Args:
        port: 0 takes a free one.
        values: settings by name.
    """
    from uvicorn.config import Config
    from uvicorn.server import Server

    from tests.stub.app import make_app
    from tests.stub.http1 import Protocol
    from tests.stub.settings import Settings

    app = make_app(Settings().changed(values))
    listener = socket.socket()
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
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        backlog=1024,
    )
    Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()

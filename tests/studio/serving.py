"""Serves a studio on a local port for a browser."""

import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn

from core.storage.store import Store
from studio.app import build_app


@contextmanager
def served(store: Store) -> Generator[str]:
    """Serve a data root in a thread; yield the address."""
    config = uvicorn.Config(build_app(store), port=0, lifespan="off", log_level="error", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(10)

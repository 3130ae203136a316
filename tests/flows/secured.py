"""The server and the worker as `make ui` starts them, for tests of what they refuse, and databases for servers of tests."""

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from flows.terminal.server_access import new_password, server_environment
from tests.conftest import CHECKOUT, SHARED

QUICK = {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_WORKER_HEARTBEAT_SECONDS": "2", "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false"}
"""Settings that save time: a worker polls every second or two instead of ten and thirty, and the server starts without Prefect's own block types."""


@dataclass
class Secured:
    """A running server; `env` is the environment of its clients."""

    url: str
    env: dict[str, str]
    root: Path
    password: str
    _started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def auth(self) -> tuple[str, str]:
        """User and password."""
        user, _, password = self.password.partition(":")
        return user, password

    def start(self, name: str, *words: str) -> subprocess.Popen[bytes]:
        """Start a program of deployments/ with its output in `name`.log."""
        with (self.root / f"{name}.log").open("ab") as log:
            words = (sys.executable, *words)
            process = subprocess.Popen(words, cwd=CHECKOUT, env=self.env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        self._started.append(process)
        return process

    @contextmanager
    def client(self) -> Generator[httpx.Client]:
        """Open a client that has the password."""
        with httpx.Client(base_url=f"{self.url}/api", auth=self.auth, timeout=120, verify=False) as client:
            token = client.get("/csrf-token", params={"client": "tests"}).json()["token"]
            client.headers.update({"Prefect-Csrf-Client": "tests", "Prefect-Csrf-Token": token})
            yield client

    def stop(self) -> None:
        """End all programs."""
        for process in reversed(self._started):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def until(found: Callable[[], Any], seconds: float = 180) -> Any:
    """Call a function until it returns something true, and return that."""
    end = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < end, f"nothing after {seconds} seconds"
        time.sleep(0.3)
    return value


def answers(api: str) -> bool:
    """Return whether a server answers. Certificates are not verified: reading the list of authorities takes longer than the request."""
    try:
        return httpx.get(f"{api}/health", timeout=2, verify=False).status_code == 200
    except httpx.HTTPError:
        return False


def new_home(home: Path) -> Path:
    """Create a Prefect home with a database that has its tables."""
    home.mkdir(parents=True, exist_ok=True)
    shutil.copy(new_database(), home / "prefect.db")
    return home


def new_database() -> Path:
    """Return a database with its tables. It is created once in a test run, because that takes ten seconds."""
    made = SHARED / "new.db"
    with (SHARED / "new.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            with tempfile.TemporaryDirectory(dir=SHARED) as folder:
                words = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
                environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
                subprocess.run(words, env={**environment, "PREFECT_HOME": folder, "PREFECT_LOGGING_LEVEL": "INFO"}, check=True, capture_output=True)
                shutil.move(Path(folder) / "prefect.db", made)
    return made


@contextmanager
def secured_server(root: Path, **environment: str) -> Generator[Secured]:
    """Start such a server with a database of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url, password = f"http://127.0.0.1:{port}", new_password()
    env = {**os.environ, **server_environment(password, port), "PREFECT_LOGGING_LEVEL": "INFO"}
    env |= {"PREFECT_HOME": str(new_home(root / "prefect")), "PREFECT_API_URL": f"{url}/api", "UNDERSTUDY_DATA": str(root / "data")}
    env |= {**QUICK, **environment}
    server = Secured(url, env, root, password)

    try:
        server.start("server", "deployments/server.py")
        until(lambda: answers(env["PREFECT_API_URL"]))
        yield server
    finally:
        server.stop()

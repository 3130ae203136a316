"""A server of the tests that runs in a process of its own and is talked to in JSON."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

CHECKOUT = Path(__file__).resolve().parents[1]


class Server:
    """A server that runs; as a context manager it ends with the block."""

    def __init__(self, module: str, *words: str) -> None:
        """Start it; it ends with this process, or rather with the thread that called this.

        Args:
            module: that is run, and prints its port as JSON.
            words: for its command line.
        """
        command = [sys.executable, "-m", module, *words, "--die-with-parent"]
        self.process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.process.wait()
            raise RuntimeError(f"{module} did not start with {words!r}; its message is above.")
        self.port = json.loads(line)["port"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask one of the server's own paths; what it refuses is a ValueError."""
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with self.open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                said = json.load(refused)["error"]
            raise ValueError(said["message"] if isinstance(said, dict) else said) from None

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

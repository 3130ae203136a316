"""Starting the stub in a process of its own, and talking to it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


class Stub:
    """A stub that runs; as a context manager it ends with the block."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def set(self, **settings: Any) -> None:
        """Change settings.

        Args:
            settings: by name, see tests/stub/settings.py.
        """
        self._ask("POST", "/stub/settings", settings)

    def reset(self) -> None:
        """Forget counters, log, cache and the state of the limits; the settings stay."""
        self._ask("POST", "/stub/reset", {})

    def stats(self) -> dict[str, Any]:
        """Return the counts by protocol: `anthropic`, `responses`, `chat`, `google`; one that was not called is missing."""
        return self._ask("GET", "/stub/stats")

    def log(self) -> list[dict[str, Any]]:
        """Return what was asked, in order of arrival."""
        return self._ask("GET", "/stub/log")

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> "Stub":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self.url + path, None if body is None else json.dumps(body).encode(), {"content-type": "application/json"}, method=method
        )
        try:
            with self._open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                raise ValueError(json.load(refused)["error"]["message"]) from None


def start_stub(**settings: Any) -> Stub:
    """Start a stub that ends with this process, or rather with the thread that called this.

    Args:
        settings: by name, see tests/stub/settings.py.
    """
    command = [sys.executable, "-m", "tests.stub", "--die-with-parent", "--settings", json.dumps(settings)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        process.wait()
        raise RuntimeError(f"The stub did not start with the settings {settings!r}; its message is above.")
    return Stub(process, json.loads(line)["port"])

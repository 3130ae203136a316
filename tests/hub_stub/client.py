"""Starting the stub in a process of its own, and talking to it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


class Hub:
    """A stub of the Hub that runs; as a context manager it ends with the block."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self.process, self.port = process, port
        self.url = f"http://127.0.0.1:{port}"
        self._open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open

    def environment(self, home: Path, token: str | None = "hf_write", xet: bool = False) -> dict[str, str]:
        """Return what the environment of a client's process needs, beside what is there already.

        Args:
            home: where the client keeps its downloads; another for each folder of a Hub.
            token: whom the client calls as.
            xet: send large files as the clients do by default, not the classic way.
        """
        return {
            **{"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "0" if xet else "1"},
            **{"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"},
            **({"HF_TOKEN": token} if token else {}),
        }

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Set the faults that calls meet from now on, in place of those before.

        Args:
            faults: see `Fault` in tests/hub_stub/control.py.
        """
        self._ask("POST", "/_stub/faults", faults)

    def log(self) -> list[dict[str, Any]]:
        """Return what was asked, in order of arrival; an answer that was lost has no status."""
        return self._ask("GET", "/_stub/log")

    def clear_log(self) -> None:
        """Forget what was asked."""
        self._ask("DELETE", "/_stub/log")

    def reset(self) -> None:
        """Forget everything, also all repositories; the settings stay."""
        self._ask("POST", "/_stub/reset")

    def get(self, path: str, token: str | None = "hf_write") -> bytes:
        """Return what the Hub answers to a GET, without any client; an error is urllib's HTTPError."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with self._open(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
            return answer.read()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout:
            self.process.stdout.close()

    def __enter__(self) -> "Hub":
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json"}, method=method)
        try:
            with self._open(request, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refused:
            with refused:
                raise ValueError(json.load(refused)["error"]) from None


def rate_limit(seconds: int) -> dict[str, Any]:
    """Return what the Hub answers when a rate limit is used up, as part of a fault."""
    headers = {"Retry-After": str(seconds), "RateLimit": f'"api";r=0;t={seconds}', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
    return {"status": 429, "headers": headers, "body": {"error": "We had to rate limit you."}}


def start_hub(folder: Path, port: int = 0, **settings: Any) -> Hub:
    """Start a stub of the Hub that ends with this process, or rather with the thread that called this.

    Args:
        folder: where repositories are kept; one that was used before is gone on with.
        port: 0 takes a free one.
        settings: by name, see `Settings` in tests/hub_stub/app.py.
    """
    command = [sys.executable, "-m", "tests.hub_stub", str(folder), "--port", str(port), "--die-with-parent", "--settings", json.dumps(settings)]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        process.wait()
        raise RuntimeError(f"The stub of the Hub did not start with the settings {settings!r}; its message is above.")
    return Hub(process, json.loads(line)["port"])

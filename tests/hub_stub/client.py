"""Starts the stub in a separate process, and talks to it."""

import contextlib
import json
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from tests.loopback import Server


class Hub(Server):
    """A stub of the Hub that runs; as a context manager it ends with the block."""

    def environment(self, home: Path, token: str | None = "hf_write", xet: bool = False) -> dict[str, str]:
        """Return the variables that a client's process needs in addition to its environment.

        Args:
            home: where the client keeps its downloads; another for each folder of a Hub.
            token: the client's token; none calls anonymously.
            xet: send large files by Xet, the clients' default, instead of LFS.
        """
        return {
            **{"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "0" if xet else "1"},
            **{"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"},
            **({"HF_TOKEN": token} if token else {}),
        }

    def faults(self, *faults: Mapping[str, Any]) -> None:
        """Replace the faults that calls meet from now on.

        Args:
            faults: see `Fault` in tests/hub_stub/control.py.
        """
        self.ask("POST", "/_stub/faults", faults)

    def log(self) -> list[dict[str, Any]]:
        """Return the requests in order of arrival; a lost answer has no status."""
        return self.ask("GET", "/_stub/log")

    def clear_log(self) -> None:
        """Clear the log of requests."""
        self.ask("DELETE", "/_stub/log")

    def reset(self) -> None:
        """Remove all repositories, faults and logs, and all jobs with their processes; keep the settings."""
        self.ask("POST", "/_stub/reset")

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs of all namespaces as the Hub shows them, newest first."""
        return self.ask("GET", "/_stub/jobs")

    def next_job(self, fault: Literal["lies", "vanishes", "stuck"]) -> None:
        """Set the fault of the next submitted job; a further call sets that of the job after it.

        Args:
            fault: it reports success without being run; it is unknown once it has started; it stays queued until it is cancelled.
        """
        self.ask("POST", "/_stub/jobs", {"next": fault})

    def close(self) -> None:
        """End the jobs with all their processes, and the server."""
        with contextlib.suppress(OSError):
            self.ask("DELETE", "/_stub/jobs")
        super().close()

    def get(self, path: str, token: str | None = "hf_write") -> bytes:
        """Return the answer to a GET without the Hub's client; an error raises urllib's HTTPError."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with self.open(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
            return answer.read()


def rate_limit(seconds: int) -> dict[str, Any]:
    """Return the Hub's answer at an exhausted rate limit, as part of a fault."""
    headers = {"Retry-After": str(seconds), "RateLimit": f'"api";r=0;t={seconds}', "RateLimit-Policy": '"fixed window";"api";q=1000;w=300'}
    return {"status": 429, "headers": headers, "body": {"error": "We had to rate limit you."}}


def start_hub(folder: Path, port: int = 0, **settings: Any) -> Hub:
    """Start a stub of the Hub; it ends with the thread that called this.

    Args:
        folder: where repositories are kept; the content of an earlier run is kept.
        port: 0 takes a free one.
        settings: by name, see `Settings` in tests/hub_stub/app.py.
    """
    return Hub("tests.hub_stub", str(folder), "--port", str(port), "--settings", json.dumps(settings))

"""Starting the stub in a process of its own, and talking to it."""

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
        self.ask("POST", "/_stub/faults", faults)

    def log(self) -> list[dict[str, Any]]:
        """Return what was asked, in order of arrival; an answer that was lost has no status."""
        return self.ask("GET", "/_stub/log")

    def clear_log(self) -> None:
        """Forget what was asked."""
        self.ask("DELETE", "/_stub/log")

    def reset(self) -> None:
        """Forget everything, also all repositories and jobs, whose processes are killed; the settings stay."""
        self.ask("POST", "/_stub/reset")

    def jobs(self) -> list[dict[str, Any]]:
        """Return the jobs of all namespaces as the Hub shows them, the newest first."""
        return self.ask("GET", "/_stub/jobs")

    def next_job(self, fault: Literal["lies", "vanishes", "stuck"]) -> None:
        """Say what becomes of the next job that is submitted, or of the one after those for which this was said.

        Args:
            fault: it says that it completed and is never run; it is unknown once it has started; it waits for its machine until it is cancelled.
        """
        self.ask("POST", "/_stub/jobs", {"next": fault})

    def close(self) -> None:
        """End the jobs with all that they started, and the process."""
        with contextlib.suppress(OSError):
            self.ask("DELETE", "/_stub/jobs")
        super().close()

    def get(self, path: str, token: str | None = "hf_write") -> bytes:
        """Return what the Hub answers to a GET, without any client; an error is urllib's HTTPError."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        with self.open(urllib.request.Request(self.url + path, headers=headers), timeout=10) as answer:
            return answer.read()


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
    return Hub("tests.hub_stub", str(folder), "--port", str(port), "--settings", json.dumps(settings))

"""Starts the stub in a separate process, and talks to it."""

import json
from typing import Any

from tests.loopback import Server


class Stub(Server):
    """A stub that runs; as a context manager it ends with the block."""

    def set(self, **settings: Any) -> None:
        """Change settings.

        Args:
            settings: by name, see tests/stub/settings.py.
        """
        self.ask("POST", "/stub/settings", settings)

    def reset(self) -> None:
        """Clear counters, log, cache and the state of the limits; keep the settings."""
        self.ask("POST", "/stub/reset", {})

    def stats(self) -> dict[str, Any]:
        """Return the counts by protocol: `anthropic`, `responses`, `chat`, `google`, and with `.batch` behind the name what batches asked; one that was not
        called is missing."""
        return self.ask("GET", "/stub/stats")

    def log(self) -> list[dict[str, Any]]:
        """Return the requests in order of arrival."""
        return self.ask("GET", "/stub/log")

    def batches(self) -> list[dict[str, Any]]:
        """Return the outcome of each batch and of its requests, in order of creation."""
        return self.ask("GET", "/stub/batches")

    def served_twice(self) -> list[list[dict[str, Any]]]:
        """Return the log's entries of each question that was answered more than once, live or in batches."""
        answered: dict[Any, list[dict[str, Any]]] = {}
        for entry in self.log():
            if entry["status"] == 200 and "asks" in entry:
                answered.setdefault(entry["asks"], []).append(entry)
        return [entries for entries in answered.values() if len(entries) > 1]


def start_stub(**settings: Any) -> Stub:
    """Start a stub; it ends with the thread that called this.

    Args:
        settings: by name, see tests/stub/settings.py.
    """
    return Stub("tests.stub", "--settings", json.dumps(settings))

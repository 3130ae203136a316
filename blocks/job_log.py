"""The log of a job elsewhere: followed while it runs, and read once more in the end, because a stream that broke off may lack its last lines."""

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from core.deaths import step
from core.leftovers import unfinished
from core.redaction import redact

PAUSE = 2.0
"""Seconds after a stream that broke off."""


class JobLog:
    """Lines of a log, as a file and as events.

    Args:
        path: the file; it grows while the job runs, and is written anew, whole, in the end.
        stream: returns all lines from the first, and waits for more until the job has ended.
    """

    def __init__(self, path: Path, stream: Callable[[], Iterable[str]]) -> None:
        self.path = path
        self._stream = stream
        self._events: deque[dict[str, Any]] = deque()
        self._seen, self._heard = 0, time.monotonic()
        self._last: deque[str] = deque(maxlen=30)
        self.doing = "at its start"
        self._over = threading.Event()

    def follow(self) -> None:
        """Begin to read in the background."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # a daemon, since a read may hang for minutes after all else has ended
        threading.Thread(target=self._read_on, name=f"log {self.path.name}", daemon=True).start()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield what came since the last time: the script's JSON lines, and events `line` for all others."""
        while self._events:
            yield self._events.popleft()

    def silent(self) -> float:
        """Return the seconds since the last line."""
        return time.monotonic() - self._heard

    def heard(self) -> None:
        """Count the silence from here."""
        self._heard = time.monotonic()

    def reason(self) -> str:
        """Return the last line that is no event, if there is one: what a script says when it gives up."""
        said = [line for line in self._last if line and not line.startswith("{")]
        return said[-1] if said else ""

    def end(self, ended: bool) -> None:
        """Stop reading.

        Args:
            ended: the job has, so that its whole log can be read.
        """
        self._over.set()
        if ended:
            with contextlib.suppress(Exception):  # what was followed is in the file
                lines = [_line(text) for text in self._stream()]
                if len(lines) >= self._seen:
                    part = unfinished(self.path)
                    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                    part.replace(self.path)
                    for line in lines[self._seen :]:
                        self._take(line)

    def _read_on(self) -> None:
        with self.path.open("w", encoding="utf-8") as file:
            while not self._over.is_set():
                with contextlib.suppress(Exception):  # of any kind, by the network or the service: the stream is asked for again
                    for number, text in enumerate(self._stream()):
                        if self._over.is_set():
                            return
                        if number >= self._seen:
                            line = _line(text)
                            file.write(f"{line}\n")
                            file.flush()
                            self._take(line)
                self._over.wait(PAUSE)

    def _take(self, line: str) -> None:
        self._seen += 1
        self._heard = time.monotonic()
        self._last.append(line)
        with contextlib.suppress(json.JSONDecodeError):
            if line.startswith("{"):
                event = json.loads(line)
                self._events.append(event)
                self.doing = (step(event) if event.get("event") == "progress" else "") or self.doing
                return
        if line.strip():
            self._events.append({"event": "line", "text": line})


def _line(text: str) -> str:
    return redact(text.rstrip("\n"))

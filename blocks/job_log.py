"""The log of a job elsewhere: followed while it runs, and read once more in the end, because a stream that broke off may lack its last lines."""

import contextlib
import json
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from core.machine.deaths import step
from core.redaction import redact
from core.storage.leftovers import unfinished

PAUSE = 2.0
"""Seconds after a stream that broke off."""

KEPT, MESSAGE, REASON = 200, 12, 400
"""Lines among which the reason of a failure is looked for, as many as a long traceback has; lines that an exception's message may have, and characters of
the reason that are said."""

TRAILER = re.compile(
    r"\s|(for more |see |please |(please )?make sure|if you |if the |visit |learn more|more info|run .* for more|try |hint\b|help\b|note\b|info\b"
    r"|debug\b|warning\b|during handling|the above exception|\[notice\]|https?://|\^|[-=*#~]+$|\(request id|exit(ed)? (code|status)|job (failed|ended)"
    r"|nothing was|cleaning up|shutting down)",
    re.IGNORECASE,
)
"""How lines begin that follow an error and do not say what it was."""


class JobLog:
    """Lines of a log, as a file and as events.

    Args:
        path: the file; it grows while the job runs, and is written again, whole, in the end.
        stream: returns all lines from the first, and waits for more until the job has ended.
    """

    def __init__(self, path: Path, stream: Callable[[], Iterable[str]]) -> None:
        self.path = path
        self._stream = stream
        self._events: deque[dict[str, Any]] = deque()
        self._seen, self._heard = 0, time.monotonic()
        self._last: deque[str] = deque(maxlen=KEPT)
        self.doing = "at its start"
        self.trouble = ""
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
        """Return why a script gave up, as far as its last lines say it: its error, or the last line that is more than an advice after one."""
        return reason([line for line in self._last if line.strip() and not line.startswith("{")])

    def end(self, ended: bool) -> None:
        """Stop reading.

        Args:
            ended: the job has, so that its whole log can be read.
        """
        self._over.set()
        if ended:
            try:
                lines = [_line(text) for text in self._stream()]
                if len(lines) >= self._seen:
                    part = unfinished(self.path)
                    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
                    part.replace(self.path)
                    for line in lines[self._seen :]:
                        self._take(line)
                self.trouble = ""
            except Exception as error:  # of any kind; what was followed is in the file
                self.trouble = self._said(error)

    def _read_on(self) -> None:
        with self.path.open("w", encoding="utf-8") as file:
            while not self._over.is_set():
                try:
                    for number, text in enumerate(self._stream()):
                        if self._over.is_set():
                            return
                        if number >= self._seen:
                            line = _line(text)
                            file.write(f"{line}\n")
                            file.flush()
                            self._take(line)
                except Exception as error:  # of any kind, by the network or the service: the stream is asked for again
                    self.trouble = self._said(error)
                self._over.wait(PAUSE)

    def _said(self, error: Exception) -> str:
        return redact(" ".join(f"{type(error).__name__}: {error}".split())[:200]).rstrip(".: ")

    def _take(self, line: str) -> None:
        self._seen += 1
        self._heard = time.monotonic()
        self._last.append(line)
        with contextlib.suppress(ValueError, RecursionError):  # what only begins like an event
            if line.startswith("{"):
                event = json.loads(line)
                self._events.append(event)
                self.doing = (step(event) if event.get("event") == "progress" else "") or self.doing
                return
        if line.strip():
            self._events.append({"event": "line", "text": line})


def reason(lines: list[str]) -> str:
    """Return the line of a log that says why its program failed; nothing of an empty log.

    Args:
        lines: the last ones that say something.
    """
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[tracebacks[-1] + 1 :] if tracebacks else []
    raised = next((number for number, line in enumerate(after) if not line[0].isspace()), None)
    if raised is not None and len(after) - raised <= MESSAGE:
        return " ".join(line.strip() for line in after[raised:] if not TRAILER.match(line))[:REASON]
    return next((line.strip()[:REASON] for line in reversed(lines) if not TRAILER.match(line)), lines[-1].strip()[:REASON] if lines else "")


def _line(text: str) -> str:
    # half a character of UTF-16, which JSON can hold, cannot be encoded
    return redact(text.rstrip("\n")).encode(errors="replace").decode()

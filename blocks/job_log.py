"""The log of a remote job. It is followed while the job runs and read again at the end, because an interrupted stream may lack the last lines."""

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
"""Seconds between the end of a stream and the next attempt."""

LAST_LINES = 200
"""Lines that are searched for the reason of a failure; as many as a long traceback has."""
MESSAGE_LINES = 12
"""Maximum lines of an exception's message."""
REASON_CHARACTERS = 400
"""Maximum characters of the reason."""

TRAILER = re.compile(
    r"\s|(for more |see |please |(please )?make sure|if you |if the |visit |learn more|more info|run .* for more|try |hint\b|help\b|note\b|info\b"
    r"|debug\b|warning\b|during handling|the above exception|\[notice\]|https?://|\^|[-=*#~]+$|\(request id|exit(ed)? (code|status)|job (failed|ended)"
    r"|nothing was|cleaning up|shutting down)",
    re.IGNORECASE,
)
"""Matches the beginning of lines that follow an error and do not state it, such as advice."""


class JobLog:
    """Copies a remote log to a file, and provides its lines as events.

    Args:
        path: the file; it grows while the job runs, and is replaced by the complete log at the end.
        stream: yields all lines from the first, and waits for more until the job has ended.
    """

    def __init__(self, path: Path, stream: Callable[[], Iterable[str]]) -> None:
        self.path = path
        self._stream = stream
        self._events: deque[dict[str, Any]] = deque()
        self._seen, self._heard = 0, time.monotonic()
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self.doing = "at its start"
        self.trouble = ""
        self._over = threading.Event()

    def follow(self) -> None:
        """Start to read the log in the background."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # a daemon, because a read may hang for minutes when everything else has ended
        threading.Thread(target=self._read_on, name=f"log {self.path.name}", daemon=True).start()

    def events(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last call: the script's JSON lines, and an event `line` for each other line."""
        while self._events:
            yield self._events.popleft()

    def silent(self) -> float:
        """Return the seconds since the last line."""
        return time.monotonic() - self._heard

    def heard(self) -> None:
        """Restart the count of silent seconds."""
        self._heard = time.monotonic()

    def reason(self) -> str:
        """Return why the script failed, according to its last lines (see `reason`); empty if it printed none."""
        return reason([line for line in self._last if line.strip() and not line.startswith("{")])

    def end(self, ended: bool) -> None:
        """Stop reading.

        Args:
            ended: whether the job has ended, so that its complete log can be read.
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
            except Exception as error:  # of any kind; the file has the lines read so far
                self.trouble = self._summary(error)

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
                except Exception as error:  # of any kind, from the network or the service: the stream is requested again
                    self.trouble = self._summary(error)
                self._over.wait(PAUSE)

    def _summary(self, error: Exception) -> str:
        return redact(" ".join(f"{type(error).__name__}: {error}".split())[:200]).rstrip(".: ")

    def _take(self, line: str) -> None:
        self._seen += 1
        self._heard = time.monotonic()
        self._last.append(line)
        with contextlib.suppress(ValueError, RecursionError):  # the line only begins like an event
            if line.startswith("{"):
                event = json.loads(line)
                self._events.append(event)
                self.doing = (step(event) if event.get("event") == "progress" else "") or self.doing
                return
        if line.strip():
            self._events.append({"event": "line", "text": line})


def reason(lines: list[str]) -> str:
    """Return the message of a log that says why its program failed; empty for an empty log.

    It is the message of the last traceback, or else the last line that is not mere advice.

    Args:
        lines: the last lines of the log that are neither empty nor events.
    """
    tracebacks = [number for number, line in enumerate(lines) if line.startswith("Traceback (most recent call last)")]
    after = lines[tracebacks[-1] + 1 :] if tracebacks else []
    raised = next((number for number, line in enumerate(after) if not line[0].isspace()), None)
    if raised is not None and len(after) - raised <= MESSAGE_LINES:
        return " ".join(line.strip() for line in after[raised:] if not TRAILER.match(line))[:REASON_CHARACTERS]
    return next(
        (line.strip()[:REASON_CHARACTERS] for line in reversed(lines) if not TRAILER.match(line)), lines[-1].strip()[:REASON_CHARACTERS] if lines else ""
    )


def _line(text: str) -> str:
    # half of a UTF-16 surrogate pair, which JSON can contain, cannot be encoded
    return redact(text.rstrip("\n")).encode(errors="replace").decode()

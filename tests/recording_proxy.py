"""A proxy on loopback in front of a server of Chat Completions: writes down what each answer is said to have used, apart from the product's own ledger."""

import http.client
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

PASSED_ON = ("authorization", "content-type", "accept")


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that was killed and takes no answer."""


class RecordingProxy:
    """A proxy that runs in threads of this process.

    Args:
        upstream: address that requests are passed on to, path included.
        log: file to which each answer's line is appended.
        stage: what is under way, for the lines.
        names: of models by which others are asked for, so that one model can sit on a panel twice.
    """

    def __init__(self, upstream: str, log: Path, names: dict[str, str] | None = None) -> None:
        """Start it."""
        self.log, self.stage = log, ""
        proxy, other = self, names or {}
        target, lock = urlsplit(upstream), threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                asked = json.loads(self.rfile.read(int(self.headers.get("content-length", 0))))
                body = json.dumps(asked | {"model": other.get(asked["model"], asked["model"])}).encode()
                started = time.time()
                kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
                onward = kind(target.hostname or "", target.port, timeout=900)
                onward.request("POST", target.path.rstrip("/") + self.path, body, {name: self.headers[name] for name in PASSED_ON if name in self.headers})
                answer = onward.getresponse()
                said = answer.read()
                with lock, log.open("a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"stage": proxy.stage} | _line(asked, answer.status, said, time.time() - started)) + "\n")
                self.send_response(answer.status)
                self.send_header("content-type", answer.headers.get("content-type", "application/json"))
                self.send_header("content-length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, format: str, *args: Any) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def lines(self) -> list[dict[str, Any]]:
        """Return what was recorded so far."""
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()] if self.log.exists() else []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()


def _line(asked: dict[str, Any], status: int, said: bytes, seconds: float) -> dict[str, Any]:
    """Return what is recorded of an answer."""
    try:
        answer = json.loads(said)
    except ValueError:
        answer = {}
    usage = answer.get("usage") or {}
    choice = (answer.get("choices") or [{}])[0]
    return {
        "model": asked.get("model"),
        "role": ((asked.get("response_format") or {}).get("json_schema") or {}).get("name"),
        "status": status,
        "id": answer.get("id"),
        "input": usage.get("prompt_tokens"),
        "output": usage.get("completion_tokens"),
        "cached": (usage.get("prompt_tokens_details") or {}).get("cached_tokens"),
        "seconds": round(seconds, 3),
        "finish": choice.get("finish_reason"),
        "text": (choice.get("message") or {}).get("content"),
        "error": (answer.get("error") or {}).get("message") if status != http.client.OK else None,
    }

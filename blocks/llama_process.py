"""The process of a llama-server for one GGUF: started, watched, and stopped with its parent. The module does not need Prefect, so a chat starts quickly."""

import asyncio
import atexit
import contextlib
import logging
import os
import secrets
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

import core.machine.tethered
from blocks.llama_launch import Launch
from blocks.llama_runtime import library_words
from core.errors import ConnectError, ModelError, ProviderError, SettingsError, UnavailableError
from core.machine.deaths import CRASHES, LLAMA_PROBE, ended, explain, peak_of, probe, signal_name
from core.machine.memory import Memory, read_memory

KEY_VARIABLE = "LLAMA_API_KEY"
SPINNING = {"GOMP_SPINCOUNT": "10000"}
"""Environment that makes waiting threads spin for a moment and then sleep. With endless spinning, two threads on busy cores wrote 1 token a second instead of
50. Without spinning, threads on idle cores wrote half as many tokens."""
TRIES = 3
"""Ports that are tried: another program may take a port between its choice and the server's start."""
SETTLE_SECONDS = 5
"""Wait for a server's end after its connection broke. The system frees the memory of a killed server before it reports the end."""
LAST_LINES, LAST_CHARACTERS = 6, 500
"""Maximum lines and characters of the server's log in an error about its crash."""
BETWEEN = "between two requests"
AGAIN = "The next request starts it again."
COMPLAINTS = 15
"""Maximum lines of the server's log in an error about its start."""


@dataclass
class Server:
    """A started server.

    Args:
        process: the process that holds the server.
        log: path of its log.
        before: memory before the start.
        address: base address, without a trailing slash.
        key: API key that requests need; empty if the web page is served, because then the address is the secret.
        requests: number of unfinished requests.
        stopped: whether this process stopped it.
        death: description of its crash; empty until the crash was examined.
        repeated: whether the server before it died of the same cause, without an answer in between.
    """

    process: subprocess.Popen[bytes]
    log: Path
    before: Memory
    address: str
    key: str
    requests: int = 0
    stopped: bool = False
    death: str = ""
    repeated: bool = False


class LlamaProcess:
    """Starts, watches and stops the server of a model."""

    def __init__(self, launch: Launch, command: list[str]) -> None:
        """Keep the options without starting the server.

        Args:
            launch: options of the server.
            command: command that starts llama-server.
        """
        self.reference = f"llama-server/{launch.model_path.name}"
        self._launch, self._command, self._starting = launch, command, asyncio.Lock()
        self._server: Server | None = None
        self._verdict: str | None = None
        self._last_cause = ""
        atexit.register(self.stop)

    async def start(self) -> Server:
        """Return the running server. If there is none, or it has died, start one and wait until it answers.

        Raises:
            SettingsError: the server does not start.
        """
        async with self._starting:
            server = self._server
            if server is None or server.process.poll() is not None:
                if server:
                    await self._examine(server)
                server = await self._start()
            return server

    @asynccontextmanager
    async def request(self) -> AsyncGenerator[Server]:
        """Provide the server for one request; it is started if necessary.

        Raises:
            ProviderError: the server died; the next request starts it again.
            UnavailableError: it died twice of the same cause, without an answer in between.
            SettingsError: it does not start.
        """
        server = await self.start()
        server.requests += 1
        try:
            yield server
        except ModelError as error:
            if await _has_died(server, error):
                async with self._starting:
                    await self._examine(server)
                raise _as_error(server) from error
            raise
        finally:
            server.requests -= 1
        self._last_cause = ""

    async def aclose(self) -> None:
        """Stop the server, and wait until it has ended."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Stop the server if there is one, and delete its log."""
        server, self._server = self._server, None
        if server is None:
            return
        if server.process.poll() is not None and not server.death and not server.requests:
            server.death = self._crash_report(server, BETWEEN)
            logging.getLogger(__name__).warning("%s", server.death)
        server.stopped = True
        if server.process.stdin:
            with contextlib.suppress(OSError):
                server.process.stdin.close()
        try:
            server.process.wait(core.machine.tethered.PATIENCE + 2)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        server.log.unlink(missing_ok=True)

    async def _examine(self, server: Server) -> None:
        """Record why a server died, once for all its unfinished requests."""
        if server.death or server.stopped:
            return
        code = server.process.poll() or 0
        verdict = await self._ask_probe(code)
        if not server.requests:
            server.death = self._crash_report(server, BETWEEN, verdict)
            logging.getLogger(__name__).warning("%s It is started again.", server.death)
            return
        kind = signal_name(code) or f"exit code {code}"
        server.repeated, self._last_cause = kind == self._last_cause, kind
        server.death = self._crash_report(server, "in a request", verdict)

    async def _ask_probe(self, code: int) -> str:
        """Return the result of testing the installed llama.cpp after a crash; empty after another end. The test is run once at most."""
        if signal_name(code) not in CRASHES:
            return ""
        if self._verdict is None:
            self._verdict = await asyncio.to_thread(probe, [*LLAMA_PROBE, *library_words()])
        return self._verdict

    def _crash_report(self, server: Server, doing: str, verdict: str = "") -> str:
        """Return a description of a server's end: how it ended, the likely cause, and its last lines."""
        code, lines = server.process.poll() or 0, _lines(server.log)
        who = f"{self.reference} ({self._command[-1]})"
        peak = next((size for line in reversed(lines) if (size := peak_of(line)) is not None), None)
        words = explain(who, code, doing, peak, server.before, verdict) if signal_name(code) else f"{who} {ended(code)} {doing}."
        last = " | ".join(" ".join(line.split()) for line in lines[-LAST_LINES:] if peak_of(line) is None)[-LAST_CHARACTERS:]
        return f"{words} {f'Its last lines were: {last}' if last else 'It printed nothing'}."

    async def _start(self) -> Server:
        await self.aclose()
        for _ in range(TRIES):
            self._server = server = self._run()
            if await self._is_ready(server):
                return server
            code, complaint = server.process.poll(), _complaint(server.log)
            if taken := code is not None and ("bind" in complaint or "address" in complaint.lower()):
                server.death = complaint
            else:
                server.death = await self._why_not(server, code, complaint)
            self.stop()
            if not taken:
                raise SettingsError(server.death)
        raise SettingsError("llama-server found no free port on 127.0.0.1 in three tries. Run the same command again.")

    async def _why_not(self, server: Server, code: int | None, complaint: str) -> str:
        """Return why a server did not start."""
        path = self._launch.model_path
        if code is None:
            late = f"llama-server did not load {path} within {self._launch.startup_seconds} s: {complaint or 'it printed nothing.'}"
            return f"{late} Raise models.llama-server.options.startup_seconds, or use a smaller model."
        if signal_name(code):
            return self._crash_report(server, f"while it loaded {path}", await self._ask_probe(code))
        return f"llama-server cannot load {path}: {complaint or f'it {ended(code)} and printed nothing.'} Convert it again, or check that it fits into memory."

    def _run(self) -> Server:
        launch, port, secret = self._launch, _free_port(), secrets.token_urlsafe(24)
        words = [*self._command, "--model", str(launch.model_path), "--host", "127.0.0.1", "--port", str(port), "--jinja"]
        words += ["--ctx-size", str(launch.context * launch.slots), "--parallel", str(launch.slots), "--threads", str(launch.threads)]
        words += ["--gpu-layers", str(launch.gpu_layers)] if launch.gpu_layers is not None else []
        environment = {**SPINNING, **{name: value for name, value in os.environ.items() if name != KEY_VARIABLE}}
        if launch.page is None:
            words, prefix, key = [*words, "--no-webui"], "", secret
            environment[KEY_VARIABLE] = key  # not in the command line, which all users of a machine can read
        else:
            # with a key, the page would ask the user for it; instead, a secret path keeps other pages in the browser out
            prefix, key = f"/{secret}", ""
            words += ["--api-prefix", prefix, "--webui-config", launch.page]
        handle, name = tempfile.mkstemp(prefix="llama-server-", suffix=".log")
        before = read_memory()
        with os.fdopen(handle, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", core.machine.tethered.__file__, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        return Server(process, Path(name), before, f"http://127.0.0.1:{port}{prefix}", key)

    async def _is_ready(self, server: Server) -> bool:
        """Wait until the server answers; return False once it has ended or the time is up."""
        until = asyncio.get_running_loop().time() + self._launch.startup_seconds
        async with local_client(seconds=5) as client:
            while server.process.poll() is None and asyncio.get_running_loop().time() < until:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"{server.address}/health")).status_code == httpx2.codes.OK:
                        return True
                await asyncio.sleep(0.1)
        return False


def local_client(seconds: float | None) -> httpx2.AsyncClient:
    """Return a client for a server of this machine: without a proxy, and without TLS, whose certificate authorities take 20 ms and more to read.

    Args:
        seconds: timeout of an answer; None if there is none.
    """
    return httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(seconds, connect=10), verify=False)


async def _has_died(server: Server, error: ModelError) -> bool:
    """Return whether a server died without being stopped. A broken connection is often the first sign."""
    if isinstance(error, ConnectError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(server.process.wait, SETTLE_SECONDS)
    return server.process.poll() is not None and not server.stopped


def _as_error(server: Server) -> ModelError | UnavailableError:
    if server.repeated:
        return UnavailableError(f"{server.death} It died this way twice in a row and is not restarted. Everything made so far is kept.")
    return ProviderError(f"{server.death} {AGAIN}")


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line for line in text.splitlines() if line.strip()]


def _complaint(log: Path) -> str:
    """Return the lines of a log that report an error, or else its last lines."""
    lines = [line for line in _lines(log) if peak_of(line) is None]
    complaints = [line for line in lines if "error" in line.lower() or "fail" in line.lower() or "bind" in line] or lines
    reason = sorted(complaints[-COMPLAINTS:], key=lambda line: "error loading" not in line)  # the cause comes before its consequences
    return " | ".join(dict.fromkeys(" ".join(line.split()) for line in reason))[:600]


def _free_port() -> int:
    with socket.socket() as probed:
        probed.bind(("127.0.0.1", 0))
        return probed.getsockname()[1]

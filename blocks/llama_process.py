"""A llama-server that is started for one GGUF, watched, and ended with the process that started it. It needs no Prefect, so a chat starts quickly."""

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
PATIENT = {"GOMP_SPINCOUNT": "10000"}
"""Threads that wait for one another spin for a moment and then sleep. Without an end to the spinning, two threads on busy cores wrote 1 token a second in place
of 50; without any of it, half as many tokens on idle cores."""
TRIES = 3
"""Ports that are tried; between its choice and the server's start another program may take one."""
SETTLE_SECONDS = 5
"""After a connection that broke, in which the death of a server is waited for; the system frees its memory first."""
LAST_LINES = 6
"""Of the server's log, in an error about its death."""
LAST_CHARACTERS = 500
BETWEEN = "between two requests"
AGAIN = "The next request starts it again."
LINES = 15
"""Of the server's log, in an error."""


@dataclass
class Server:
    """A server that was started.

    Args:
        before: memory when it was started.
        address: without a slash at its end.
        key: without which it answers nothing; empty for a page, whose address is the secret.
        under_way: requests.
        stopped: whether it was stopped from here.
        death: what is known of its death, once somebody has looked.
        again: whether the one before it died of the same, without an answer in between.
    """

    process: subprocess.Popen[bytes]
    log: Path
    before: Memory
    address: str
    key: str
    under_way: int = 0
    stopped: bool = False
    death: str = ""
    again: bool = False


class LlamaProcess:
    """The life of a model's server."""

    def __init__(self, launch: Launch, command: list[str]) -> None:
        """Take what it is to be; nothing is started yet."""
        self.reference = f"llama-server/{launch.model_path.name}"
        self._launch, self._command, self._starting = launch, command, asyncio.Lock()
        self._server: Server | None = None
        self._verdict: str | None = None
        self._died = ""
        atexit.register(self.stop)

    async def start(self) -> Server:
        """Return the server that runs; the first one, or one in place of one that died, is started and waited for.

        Raises:
            SettingsError: it does not start.
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
        """Lend the server for a request; it is started if there is none.

        Raises:
            ProviderError: the server died; the next request starts it again.
            UnavailableError: it died of the same twice, without an answer in between.
            SettingsError: it does not start.
        """
        server = await self.start()
        server.under_way += 1
        try:
            yield server
        except ModelError as error:
            if await _has_died(server, error):
                async with self._starting:
                    await self._examine(server)
                raise _as_error(server) from error
            raise
        finally:
            server.under_way -= 1
        self._died = ""

    async def aclose(self) -> None:
        """Stop the server and wait for its end."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Stop the server, if there is one, and remove its log."""
        server, self._server = self._server, None
        if server is None:
            return
        if server.process.poll() is not None and not server.death and not server.under_way:
            server.death = self._obituary(server, BETWEEN)
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
        """See what a server died of, once for all requests that were under way."""
        if server.death or server.stopped:
            return
        code = server.process.poll() or 0
        verdict = await self._ask_probe(code)
        if not server.under_way:
            server.death = self._obituary(server, BETWEEN, verdict)
            logging.getLogger(__name__).warning("%s It is started again.", server.death)
            return
        kind = signal_name(code) or f"exit code {code}"
        server.again, self._died = kind == self._died, kind
        server.death = self._obituary(server, "in a request", verdict)

    async def _ask_probe(self, code: int) -> str:
        """Return what the test of the installed llama.cpp says, which is run at most once."""
        if signal_name(code) not in CRASHES:
            return ""
        if self._verdict is None:
            self._verdict = await asyncio.to_thread(probe, [*LLAMA_PROBE, *library_words()])
        return self._verdict

    def _obituary(self, server: Server, doing: str, verdict: str = "") -> str:
        """Return what is known of the end of a server: how, the likely cause, its last lines."""
        code, lines = server.process.poll() or 0, _lines(server.log)
        who = f"{self.reference} ({self._command[-1]})"
        peak = next((found for line in reversed(lines) if (found := peak_of(line)) is not None), None)
        words = explain(who, code, doing, peak, server.before, verdict) if signal_name(code) else f"{who} {ended(code)} {doing}."
        last = " | ".join(" ".join(line.split()) for line in lines[-LAST_LINES:] if peak_of(line) is None)[-LAST_CHARACTERS:]
        return f"{words} {f'Its last lines were: {last}' if last else 'It printed nothing'}."

    async def _start(self) -> Server:
        await self.aclose()
        for _ in range(TRIES):
            self._server = server = self._run()
            if await self._is_ready(server):
                return server
            code, said = server.process.poll(), _complaint(server.log)
            if taken := code is not None and ("bind" in said or "address" in said.lower()):
                server.death = said
            else:
                server.death = await self._why_not(server, code, said)
            self.stop()
            if not taken:
                raise SettingsError(server.death)
        raise SettingsError("llama-server found no free port on 127.0.0.1 in three tries. Run the same command again.")

    async def _why_not(self, server: Server, code: int | None, said: str) -> str:
        """Return why a server did not start."""
        path = self._launch.model_path
        if code is None:
            late = f"llama-server did not load {path} within {self._launch.startup_seconds} s: {said or 'it said nothing.'}"
            return f"{late} Raise models.llama-server.options.startup_seconds, or use a smaller model."
        if signal_name(code):
            return self._obituary(server, f"while it loaded {path}", await self._ask_probe(code))
        return f"llama-server cannot load {path}: {said or f'it {ended(code)} and said nothing.'} Convert it again, or check that it fits into memory."

    def _run(self) -> Server:
        launch, port, secret = self._launch, _free_port(), secrets.token_urlsafe(24)
        words = [*self._command, "--model", str(launch.model_path), "--host", "127.0.0.1", "--port", str(port), "--jinja"]
        words += ["--ctx-size", str(launch.context * launch.slots), "--parallel", str(launch.slots), "--threads", str(launch.threads)]
        words += ["--gpu-layers", str(launch.gpu_layers)] if launch.gpu_layers is not None else []
        given = {**PATIENT, **{name: value for name, value in os.environ.items() if name != KEY_VARIABLE}}
        if launch.page is None:
            words, prefix, key = [*words, "--no-webui"], "", secret
            given[KEY_VARIABLE] = key  # a command line can be read by all users of a machine
        else:
            # the page would ask a person for a key; a path that no other page in the browser can know keeps those out
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
                env=given,
                start_new_session=True,
            )
        return Server(process, Path(name), before, f"http://127.0.0.1:{port}{prefix}", key)

    async def _is_ready(self, server: Server) -> bool:
        """Wait until the server answers; say no as soon as it is gone."""
        until = asyncio.get_running_loop().time() + self._launch.startup_seconds
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while server.process.poll() is None and asyncio.get_running_loop().time() < until:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"{server.address}/health")).status_code == httpx2.codes.OK:
                        return True
                await asyncio.sleep(0.1)
        return False


async def _has_died(server: Server, error: ModelError) -> bool:
    """Say whether a server died by itself; a connection that broke is often the first sign of it."""
    if isinstance(error, ConnectError):
        with contextlib.suppress(subprocess.TimeoutExpired):
            await asyncio.to_thread(server.process.wait, SETTLE_SECONDS)
    return server.process.poll() is not None and not server.stopped


def _as_error(server: Server) -> ModelError | UnavailableError:
    if server.again:
        return UnavailableError(f"{server.death} It died this way twice in a row and is not restarted. What was made is kept.")
    return ProviderError(f"{server.death} {AGAIN}")


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line for line in text.splitlines() if line.strip()]


def _complaint(log: Path) -> str:
    """Return the lines of a log that say what is wrong, or its last ones."""
    lines = [line for line in _lines(log) if peak_of(line) is None]
    complaints = [line for line in lines if "error" in line.lower() or "fail" in line.lower() or "bind" in line] or lines
    reason = sorted(complaints[-LINES:], key=lambda line: "error loading" not in line)  # why, before what became of it
    return " | ".join(dict.fromkeys(" ".join(line.split()) for line in reason))[:600]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

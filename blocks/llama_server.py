"""llama.cpp's own server, started for a GGUF: plays several conversations side by side."""

import asyncio
import atexit
import contextlib
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import httpx2
from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

import core.tethered
from blocks.llama_cpp import check_gguf
from blocks.openai_compatible import OpenAICompatible, OpenAICompatibleChat
from core.chat import ChatRequest, Reply
from core.deaths import CRASHES, LLAMA_PROBE, ended, explain, peak_of, probe, signal_name
from core.errors import BadRequestError, ConnectError, ContextError, ModelError, ProviderError, SettingsError, TruncatedError, UnavailableError
from core.memory import Memory, read_memory

PROGRAM_VARIABLE = "UNDERSTUDY_LLAMA_SERVER"
TRIES = 3
"""Ports that are tried; between its choice and the server's start another program may take one."""
SETTLE_SECONDS = 5
"""After a connection that broke, in which the death of a server is waited for; the system frees its memory first."""
LAST_LINES = 6
"""Of the server's log, in an error about its death."""
LAST_CHARACTERS = 500
BETWEEN = "between two requests"
UNPARSED = "does not match the expected"
"""Of the server's 500 for an answer that was cut off before its form was complete."""
LINES = 15
"""Of the server's log, in an error."""


class LlamaServer(CredentialsBlock):
    """A quantised model (GGUF) that a llama-server plays, which is started for it and ends with it.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.llama_server import LlamaServer

        block = LlamaServer.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy llama-server Model"
    _block_type_slug = "understudy-llama-server"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_path: Path = Field(title="GGUF file", description="Path of the model's GGUF file.")
    context: int = Field(default=4096, title="Context", description="Tokens that one conversation may take, prompt and answer together.", ge=64)
    slots: int = Field(default=4, title="Slots", description="Conversations side by side; each has the whole context.", ge=1)
    temperature: float = Field(default=0.7, title="Temperature", description="0 always takes the likeliest token.", ge=0)
    threads: int = Field(default=2, title="Threads", description="Threads of the server.", ge=1)
    gpu_layers: int | None = Field(default=None, title="GPU layers", description="Layers on the GPU; without a number the program decides.", ge=0)
    program: str = Field(default="", title="Program", description=f"Path of llama-server; without one, {PROGRAM_VARIABLE} or the PATH says.")
    startup_seconds: int = Field(default=300, title="Start", description="Seconds that loading the model may take.", ge=1)

    def get_client(self) -> "LlamaServerChat":
        """Return the model; its server is started at the first request.

        Raises:
            SettingsError: no such file, not a GGUF, or no such program.
        """
        check_gguf(self.model_path, "llama-server")
        given = self.program or os.environ.get(PROGRAM_VARIABLE) or "llama-server"
        program = shutil.which(given)
        if program is None:
            raise SettingsError(
                f"The program {given!r} is not there. Build it (deployments/llama_server.sh prints its path), or install llama.cpp (Homebrew, winget, "
                f"a release), and set {PROGRAM_VARIABLE} to its path; or set evaluation.serve to llama-cpp."
            )
        return LlamaServerChat(self, program)


@dataclass
class Server:
    """A server that was started."""

    process: subprocess.Popen[bytes]
    log: Path
    before: Memory
    """When it was started."""
    chat: OpenAICompatibleChat
    under_way: int = 0
    """Requests."""
    stopped: bool = False
    """Whether it was stopped from here."""
    death: str = ""
    """What is known of its death, once somebody has looked."""
    again: bool = False
    """Whether the one before it died of the same, without an answer in between."""


class LlamaServerChat:
    """A model behind a server of its own; requests go side by side."""

    caveat = None

    def __init__(self, block: LlamaServer, program: str) -> None:
        """Take the block's values; nothing is started yet."""
        self.reference = f"llama-server/{block.model_path.name}"
        self._block, self._program, self._starting = block, program, asyncio.Lock()
        self._server: Server | None = None
        self._verdict: str | None = None
        self._died = ""
        atexit.register(self.stop)

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer with the model's own chat template; a grammar holds a structured answer to its form.

        Raises:
            ContextError: the conversation does not fit the context.
            TruncatedError: a structured answer did not come to its end.
            ProviderError: the server died; the next request starts it again.
            UnavailableError: it died of the same twice, without an answer in between.
            SettingsError: it does not start.
        """
        async with self._starting:
            server = self._server
            if server is None or server.process.poll() is not None:
                if server:
                    await self._examine(server)
                server = await self._start()
            server.under_way += 1
        try:
            reply = await server.chat.complete(request)
        except ModelError as error:
            if await _has_died(server, error):
                async with self._starting:
                    await self._examine(server)
                raise _as_error(server) from error
            if (explained := self._explained(error, request)) is not error:
                raise explained from error
            raise
        finally:
            server.under_way -= 1
        self._died = ""
        return reply

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
            server.process.wait(core.tethered.PATIENCE + 2)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
        server.log.unlink(missing_ok=True)

    def _explained(self, error: ModelError, request: ChatRequest) -> ModelError:
        if isinstance(error, ProviderError) and UNPARSED in str(error):
            return TruncatedError(f"{self.reference} did not come to the end of a structured answer within {request.max_tokens} tokens.")
        if isinstance(error, BadRequestError) and "context" in str(error) and ("exceed" in str(error) or "larger" in str(error)):
            return ContextError(
                f"The conversation takes more tokens than {self.reference} holds ({self._block.context}). Raise models.llama-server.options.context or "
                "shorten it."
            )
        return error

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
            self._verdict = await asyncio.to_thread(probe, LLAMA_PROBE)
        return self._verdict

    def _obituary(self, server: Server, doing: str, verdict: str = "") -> str:
        """Return what is known of the end of a server: how, the likely cause, its last lines."""
        code, lines = server.process.poll() or 0, _lines(server.log)
        who = f"{self.reference} ({self._program})"
        peak = next((found for line in reversed(lines) if (found := peak_of(line)) is not None), None)
        words = explain(who, code, doing, peak, server.before, verdict) if signal_name(code) else f"{who} {ended(code)} {doing}."
        last = " | ".join(" ".join(line.split()) for line in lines[-LAST_LINES:] if peak_of(line) is None)[-LAST_CHARACTERS:]
        return f"{words} {f'Its last lines were: {last}' if last else 'It printed nothing'}."

    async def _start(self) -> Server:
        await self.aclose()
        for _ in range(TRIES):
            port, key = _free_port(), secrets.token_urlsafe(24)
            options = {"model": self._block.model_path.name, "base_url": f"http://127.0.0.1:{port}/v1", "temperature": self._block.temperature}
            chat = OpenAICompatible(api_key=SecretStr(key), **options).get_client()
            chat.reference = self.reference
            self._server = server = self._launch(port, key, chat)
            if await self._is_ready(server.process, port):
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
        path = self._block.model_path
        if code is None:
            late = f"llama-server did not load {path} within {self._block.startup_seconds} s: {said or 'it said nothing.'}"
            return f"{late} Raise models.llama-server.options.startup_seconds, or use a smaller model."
        if signal_name(code):
            return self._obituary(server, f"while it loaded {path}", await self._ask_probe(code))
        return f"llama-server cannot load {path}: {said or f'it {ended(code)} and said nothing.'} Convert it again, or see that it fits the memory."

    def _launch(self, port: int, key: str, chat: OpenAICompatibleChat) -> Server:
        block = self._block
        words = [self._program, "--model", str(block.model_path), "--host", "127.0.0.1", "--port", str(port), "--jinja", "--no-webui"]
        words += ["--ctx-size", str(block.context * block.slots), "--parallel", str(block.slots), "--threads", str(block.threads)]
        words += ["--gpu-layers", str(block.gpu_layers)] if block.gpu_layers is not None else []
        handle, name = tempfile.mkstemp(prefix="llama-server-", suffix=".log")
        before = read_memory()
        with os.fdopen(handle, "wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-I", core.tethered.__file__, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LLAMA_API_KEY": key},  # a command line can be read by all users of a machine
                start_new_session=True,
            )
        return Server(process, Path(name), before, chat)

    async def _is_ready(self, process: subprocess.Popen[bytes], port: int) -> bool:
        """Wait until the server answers; say no as soon as it is gone."""
        until = asyncio.get_running_loop().time() + self._block.startup_seconds
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while process.poll() is None and asyncio.get_running_loop().time() < until:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}/health")).status_code == httpx2.codes.OK:
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
        return UnavailableError(f"{server.death} It died so twice in a row and is not started again. What was made is kept.")
    return ProviderError(f"{server.death} The next request starts it again.")


def _lines(log: Path) -> list[str]:
    text = log.read_text(encoding="utf-8", errors="replace") if log.is_file() else ""
    return [line for line in text.splitlines() if line.strip()]


def _complaint(log: Path) -> str:
    """Return the lines of a log that say what is wrong, or its last ones."""
    lines = [line for line in _lines(log) if peak_of(line) is None]
    told = [line for line in lines if "error" in line.lower() or "fail" in line.lower() or "bind" in line] or lines
    reason = sorted(told[-LINES:], key=lambda line: "error loading" not in line)  # why, before what became of it
    return " | ".join(dict.fromkeys(" ".join(line.split()) for line in reason))[:600]


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

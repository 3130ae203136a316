"""llama.cpp's own server, started for a GGUF: plays several conversations side by side."""

import asyncio
import atexit
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import httpx2
from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

import core.tethered
from blocks.llama_cpp import check_gguf
from blocks.openai_compatible import OpenAICompatible, OpenAICompatibleChat
from core.chat import ChatRequest, Reply
from core.errors import BadRequestError, ConnectError, ContextError, ProviderError, SettingsError, TruncatedError

PROGRAM_VARIABLE = "UNDERSTUDY_LLAMA_SERVER"
TRIES = 3
"""Ports that are tried; between its choice and the server's start another program may take one."""
SETTLE_SECONDS = 1
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


class LlamaServerChat:
    """A model behind a server of its own; requests go side by side."""

    caveat = None

    def __init__(self, block: LlamaServer, program: str) -> None:
        """Take the block's values; nothing is started yet."""
        self.reference = f"llama-server/{block.model_path.name}"
        self._block, self._program, self._starting = block, program, asyncio.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._chat: OpenAICompatibleChat | None = None
        self._log = Path()
        atexit.register(self.stop)

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer with the model's own chat template; a grammar holds a structured answer to its form.

        Raises:
            ContextError: the conversation does not fit the context.
            TruncatedError: a structured answer did not come to its end.
            ConnectError: the server died; the next request starts it anew.
            SettingsError: it does not start.
        """
        async with self._starting:
            if self._process is None or self._process.poll() is not None or self._chat is None:
                self._chat = await self._start()
        process, chat = self._process, self._chat
        try:
            return await chat.complete(request)
        except ConnectError:
            # a server that died is known as dead before the next request comes
            if process:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    await asyncio.to_thread(process.wait, SETTLE_SECONDS)
            raise
        except ProviderError as error:
            if UNPARSED in str(error):
                raise TruncatedError(f"{self.reference} did not come to the end of a structured answer within {request.max_tokens} tokens.") from error
            raise
        except BadRequestError as error:
            if "context" in str(error) and ("exceed" in str(error) or "larger" in str(error)):
                raise ContextError(
                    f"The conversation takes more tokens than {self.reference} holds ({self._block.context}). Raise models.llama-server.options.context or "
                    "shorten it."
                ) from error
            raise

    async def aclose(self) -> None:
        """Stop the server and wait for its end."""
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """Stop the server, if there is one, and remove its log."""
        process, self._process, self._chat = self._process, None, None
        if process is None:
            return
        if process.stdin:
            with contextlib.suppress(OSError):
                process.stdin.close()
        try:
            process.wait(core.tethered.PATIENCE + 2)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._log.unlink(missing_ok=True)

    async def _start(self) -> OpenAICompatibleChat:
        await self.aclose()
        for _ in range(TRIES):
            port, key = _free_port(), secrets.token_urlsafe(24)
            self._launch(port, key)
            if await self._is_ready(port):
                options = {"model": self._block.model_path.name, "base_url": f"http://127.0.0.1:{port}/v1", "temperature": self._block.temperature}
                chat = OpenAICompatible(api_key=SecretStr(key), **options).get_client()
                chat.reference = self.reference
                return chat
            said = self._last_lines()
            self.stop()
            if "bind" not in said and "address" not in said.lower():
                raise SettingsError(f"llama-server cannot load {self._block.model_path}: {said} Convert it again, or see that it fits the memory.")
        raise SettingsError("llama-server found no free port on 127.0.0.1 in three tries. Run the same command again.")

    def _launch(self, port: int, key: str) -> None:
        block = self._block
        words = [self._program, "--model", str(block.model_path), "--host", "127.0.0.1", "--port", str(port), "--jinja", "--no-webui"]
        words += ["--ctx-size", str(block.context * block.slots), "--parallel", str(block.slots), "--threads", str(block.threads)]
        words += ["--gpu-layers", str(block.gpu_layers)] if block.gpu_layers is not None else []
        handle, name = tempfile.mkstemp(prefix="llama-server-", suffix=".log")
        self._log = Path(name)
        with os.fdopen(handle, "wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-I", core.tethered.__file__, *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "LLAMA_API_KEY": key},  # a command line can be read by all users of a machine
                start_new_session=True,
            )

    async def _is_ready(self, port: int) -> bool:
        """Wait until the server answers; say no as soon as it is gone."""
        until = asyncio.get_running_loop().time() + self._block.startup_seconds
        async with httpx2.AsyncClient(trust_env=False, timeout=5) as client:
            while self._process and self._process.poll() is None and asyncio.get_running_loop().time() < until:
                with contextlib.suppress(httpx2.HTTPError):
                    if (await client.get(f"http://127.0.0.1:{port}/health")).status_code == httpx2.codes.OK:
                        return True
                await asyncio.sleep(0.1)
        return False

    def _last_lines(self) -> str:
        text = self._log.read_text(encoding="utf-8", errors="replace") if self._log.is_file() else ""
        told = [line for line in text.splitlines() if "error" in line.lower() or "fail" in line.lower() or "bind" in line] or text.splitlines()
        reason = sorted(told[-LINES:], key=lambda line: "error loading" not in line)  # why, before what became of it
        return " | ".join(dict.fromkeys(" ".join(line.split()) for line in reason))[:600] or f"it said nothing in {self._block.startup_seconds} seconds."


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]

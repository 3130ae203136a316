"""Claude models through the `claude` program, which may be signed in with a subscription instead of an API key."""

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
from typing import Any, Literal

from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, Field, HttpUrl, SecretStr, ValidationError

from blocks.http import BASE_BYTES, BYTES_PER_TOKEN, OVERLONG, bare_json, clean_key, quoted, status_error
from core.errors import AuthError, ConnectError, ContextError, InvalidOutputError, MalformedError, ProviderError, QuotaError, SettingsError, UnderstudyError
from core.llm.chat import ChatRequest, Reply, Usage
from core.llm.json_answers import JsonAnswer, Repair
from core.llm.usage_bounds import ROUNDS, read_usage, total
from core.machine.deaths import explain, signal_name
from core.machine.memory import read_memory
from core.packs.prompts import load_shared
from core.processes import die_with_parent
from core.redaction import redact
from core.settings.addresses import Address, given_address

ENVIRONMENT = {
    "CLAUDE_CODE_MAX_RETRIES": "0",  # core/llm/calls.py retries
    "CLAUDE_CODE_DISABLE_REFUSAL_RETRY": "1",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_TELEMETRY": "1",
}


class _Result(BaseModel):
    """The fields of the program's output that are used."""

    is_error: bool
    result: str | None = None
    errors: list[Any] = []
    structured_output: Any = None
    stop_reason: Any = None
    terminal_reason: Any = None
    api_error_status: Any = None
    session_id: Any = None
    usage: Any = None
    total_cost_usd: Any = None


class ClaudeCli(CredentialsBlock):
    """A model that the `claude` program calls.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.claude_cli import ClaudeCli

        block = ClaudeCli.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy Claude CLI Model"
    _block_type_slug = "understudy-claude-cli"
    _documentation_url = HttpUrl("https://docs.claude.com/en/docs/claude-code/cli-reference")

    model: str = Field(title="Model", description="Name of the model, such as claude-sonnet-5-5.")
    program: str = Field(default="claude", title="Program", description="Name or path of the claude program.")
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="With a key, the program's own sign-in and settings are ignored.")
    base_url: Address = Field(default="", title="Base URL", description="Another address of the API.")
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = Field(default=None, title="Effort", description="How much the model thinks.")

    def get_client(self) -> "ClaudeCliChat":
        """Return the model.

        Raises:
            SettingsError: the program is not on the PATH, or the key is malformed.
        """
        path = shutil.which(self.program)
        if path is None:
            raise SettingsError(f"claude-cli/{self.model} needs the program {self.program!r}, which is not on the PATH. Install Claude Code, or set program.")
        return ClaudeCliChat(self, path)


class ClaudeCliChat:
    """A model behind the `claude` program. It starts one process per request and retries nothing."""

    caveat = None

    def __init__(self, block: ClaudeCli, program: str) -> None:
        """Prepare the command without starting it."""
        self.reference = f"claude-cli/{block.model}"
        # no tools, and no memory of projects on this machine: the model sees only the request
        self._command = [program, "-p", "--output-format", "json", "--tools", "", "--no-session-persistence", "--strict-mcp-config", "--setting-sources", ""]
        self._command += ["--model", block.model] + (["--effort", block.effort] if block.effort else [])
        self._environment = {**os.environ, **ENVIRONMENT}
        if block.api_key:
            self._command.append("--bare")
            self._environment["ANTHROPIC_API_KEY"] = clean_key(block.api_key.get_secret_value(), self.reference)
        if address := given_address(block.base_url, "ANTHROPIC_BASE_URL"):
            self._environment["ANTHROPIC_BASE_URL"] = address

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request. The program takes no history, so the prompt contains the earlier messages.

        Raises:
            ModelError, RunStoppedError: the program or the API gave no usable answer.
        """
        command = [*self._command, "--system-prompt", request.system or load_shared("no_system").render()]
        command += ["--json-schema", json.dumps(request.schema)] if request.schema else []
        room = {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(request.max_tokens)}
        before = read_memory()
        code, out, errors = await self._run(command, _prompt(request), room, BASE_BYTES + ROUNDS["claude-cli"] * BYTES_PER_TOKEN * request.max_tokens)
        try:
            result = _Result.model_validate_json(out)
        except ValidationError:
            last = redact((errors or out).strip())[-300:]
            if signal_name(code):
                words = explain(f"The program of {self.reference}", code, before=before)
                raise ProviderError(f"{words}{f' Its last output: {last}' if last else ''}") from None
            end = f": {last}" if last else ", and printed nothing."
            raise ProviderError(f"{self.reference}: the program ended with exit code {code} and no result{end}") from None
        finish: Literal["stop", "length", "refusal"] = "stop"
        repaired: tuple[Repair, ...] = ()
        text = result.result or "; ".join(map(quoted, map(str, result.errors)))
        if result.is_error:
            if "output token maximum" in text:
                finish, text = "length", ""  # the text is the program's message, not the model's answer
            elif result.stop_reason == "refusal" and not result.api_error_status:
                finish = "refusal"
            else:
                error, usage = self._explained(result, text), _usage(result)
                error.unbilled = error.unbilled and not usage.estimated and usage.output_tokens == 0  # an earlier round may have been answered
                raise error
        elif request.schema:
            structured = result.structured_output
            answer = JsonAnswer(json.dumps(structured, ensure_ascii=False)) if structured is not None else bare_json(text, request)
            text, repaired = answer.text, answer.repairs
        return Reply(text, finish, _usage(result), request_id=result.session_id, repaired=repaired)

    async def _run(self, command: list[str], prompt: str, room: dict[str, str], limit: int) -> tuple[int, str, str]:
        with tempfile.TemporaryDirectory(prefix="understudy-claude-") as folder:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                cwd=folder,
                env=self._environment | room,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
            try:
                _, out, errors = await asyncio.gather(_feed(process.stdin, prompt), self._printed(process.stdout, limit), self._printed(process.stderr, limit))
                await process.wait()
            except BaseException:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
                raise
        return process.returncode or 0, out.decode(errors="replace"), errors.decode(errors="replace")

    async def _printed(self, stream: asyncio.StreamReader | None, limit: int) -> bytes:
        output = bytearray()
        while stream and (piece := await stream.read(65536)):
            output += piece
            if len(output) > limit:
                raise MalformedError(f"{self.reference}: the program printed more than {limit:,} bytes, the most that this request allows.")
        return bytes(output)

    def _explained(self, result: _Result, text: str) -> UnderstudyError:
        message = quoted(text)
        if result.terminal_reason == "structured_output_retry_exhausted":
            return InvalidOutputError(f"{self.reference}: {message}.")
        if result.terminal_reason == "prompt_too_long" or OVERLONG.search(message):
            return ContextError(f"{self.reference}: {message}. The conversation is longer than the model can read: choose one with a larger context.")
        if re.search(r"hit your .*limit|usage limit|credit balance", message, re.IGNORECASE):
            return QuotaError(f"{self.reference}: {message}. Run the same command again when the limit is reset.")
        status = result.api_error_status
        if isinstance(status, int) and 400 <= status < 600:
            return status_error(self.reference, status, message)
        if re.search(r"invalid api key|/login|not logged in|oauth", message, re.IGNORECASE):
            return AuthError(f"{self.reference}: {message}. Sign in with the claude program, or give a key.")
        if re.search(r"connect|network|fetch failed|ECONN", message, re.IGNORECASE):
            return ConnectError(f"{self.reference}: {message}. Check the network and the base URL.")
        return ProviderError(f"{self.reference}: {message or 'the program gave no reason'}.")


def _prompt(request: ChatRequest) -> str:
    if len(request.messages) == 1:
        return request.messages[0].content
    return load_shared("conversation").render(messages=request.messages)


async def _feed(stream: asyncio.StreamWriter | None, prompt: str) -> None:
    if stream:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the program ended without reading its input; its output says why
            stream.write(prompt.encode(errors="replace"))
            await stream.drain()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            stream.close()
            await stream.wait_closed()


def _usage(result: _Result) -> Usage:
    used = result.usage if isinstance(result.usage, dict) else {}
    read, written = used.get("cache_read_input_tokens"), used.get("cache_creation_input_tokens")
    raw = {**used, "total_cost_usd": result.total_cost_usd}
    return read_usage(total(used.get("input_tokens"), read, written), used.get("output_tokens"), read, written, raw)

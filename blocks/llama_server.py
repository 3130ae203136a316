"""GGUF models behind a llama-server, which answers several conversations concurrently."""

import re
from pathlib import Path

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

from blocks.http import bare_json
from blocks.llama_launch import PROGRAM_VARIABLE, Launch, check_gguf, find_program
from blocks.llama_process import LlamaProcess, Server
from blocks.llama_quoted import complete_quoted
from blocks.llama_quoting import control_tokens, mark
from blocks.openai_compatible import OpenAICompatible, OpenAICompatibleChat, plain_messages
from core.errors import BadRequestError, ContextError, ModelError, ProviderError, TruncatedError
from core.llm.chat import ChatRequest, Reply

UNPARSED = "does not match the expected"
"""Part of the server's message, with status 500, for a structured answer that was cut off."""


class LlamaServer(CredentialsBlock):
    """A quantised model (GGUF) in a llama-server, which is started for the model and stopped with it.

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
    program: str = Field(
        default="", title="Program", description=f"Path of llama-server; without one, {PROGRAM_VARIABLE} says, else the installed one is used."
    )
    startup_seconds: int = Field(default=300, title="Start", description="Seconds that loading the model may take.", ge=1)

    def get_client(self) -> "LlamaServerChat":
        """Return the model. Its server is started at the first request.

        Raises:
            SettingsError: the file does not exist or is not a GGUF, or the program does not exist.
        """
        check_gguf(self.model_path, "llama-server")
        launch = Launch(self.model_path, self.context, self.slots, self.threads, self.gpu_layers, self.startup_seconds)
        return LlamaServerChat(launch, find_program(self.program), self.temperature)


class LlamaServerChat:
    """A model in a separate server; requests run concurrently."""

    caveat = None

    def __init__(self, launch: Launch, command: list[str], temperature: float) -> None:
        """Keep the values without starting the server.

        Args:
            launch: options of the server.
            command: command that starts llama-server.
        """
        self._process = LlamaProcess(launch, command)
        self.reference = self._process.reference
        self._launch, self._temperature = launch, temperature
        self._chat: tuple[Server, OpenAICompatibleChat] | None = None

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request with the model's chat template. A grammar enforces the form of a structured answer.

        Raises:
            ContextError: the conversation does not fit the context.
            TruncatedError: a structured answer was cut off.
            ProviderError: the server died; the next request starts it again.
            UnavailableError: it died twice of the same cause, without an answer in between.
            SettingsError: it does not start.
        """
        try:
            async with self._process.request() as server:
                if controls := self._quoted(request):
                    return await self._complete_quoted(server, request, controls)
                return await self._client(server).complete(request)
        except ModelError as error:
            if (explained := self._explained(error, request)) is not error:
                raise explained from error
            raise

    async def aclose(self) -> None:
        """Stop the server, and wait until it has ended."""
        await self._process.aclose()

    def _quoted(self, request: ChatRequest) -> re.Pattern[str] | None:
        """Return the pattern of the model's control tokens if a message quotes one, otherwise None."""
        controls = control_tokens(self._launch.model_path)
        return controls if mark(plain_messages(request), controls)[1] else None

    async def _complete_quoted(self, server: Server, request: ChatRequest, controls: re.Pattern[str]) -> Reply:
        options = {"temperature": self._temperature, "seed": request.seed % 2**31} | ({"json_schema": dict(request.schema)} if request.schema else {})
        text, finish, usage = await complete_quoted(server, plain_messages(request), controls, request.max_tokens, options)
        if request.schema and finish == "stop":
            answer = bare_json(text, request)
            return Reply(answer.text, finish, usage, repaired=answer.repairs)
        return Reply(text, finish, usage)

    def _client(self, server: Server) -> OpenAICompatibleChat:
        if self._chat is None or self._chat[0] is not server:
            options = {"model": self._launch.model_path.name, "base_url": f"{server.address}/v1", "temperature": self._temperature}
            client = OpenAICompatible(api_key=SecretStr(server.key), **options).get_client()
            client.reference = self.reference
            self._chat = server, client
        return self._chat[1]

    def _explained(self, error: ModelError, request: ChatRequest) -> ModelError:
        if isinstance(error, ProviderError) and UNPARSED in str(error):
            return TruncatedError(f"{self.reference} did not finish a structured answer within {request.max_tokens} tokens.")
        if isinstance(error, BadRequestError) and "context" in str(error) and ("exceed" in str(error) or "larger" in str(error)):
            return ContextError(
                f"The conversation takes more tokens than {self.reference} holds ({self._launch.context}). Raise models.llama-server.options.context or "
                "shorten it."
            )
        return error

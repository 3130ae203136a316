"""GGUF models that llama.cpp runs in this process."""

import asyncio
import atexit
import importlib.util
import json
import threading
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl

from blocks.llama_launch import check_gguf
from blocks.llama_quoting import control_tokens, mark, pieces
from blocks.openai_compatible import plain_messages
from core.errors import ContextError, SettingsError
from core.llm.chat import ChatRequest, Reply, Usage

if TYPE_CHECKING:
    from llama_cpp import Llama

_TURN = threading.Lock()
"""Held during a request, because llama.cpp answers one at a time."""


class LlamaCpp(CredentialsBlock):
    """A quantised model (GGUF) that llama.cpp runs in this process.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.llama_cpp import LlamaCpp

        block = LlamaCpp.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy llama.cpp Model"
    _block_type_slug = "understudy-llama-cpp"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    model_path: Path = Field(title="GGUF file", description="Path of the model's GGUF file.")
    context: int = Field(default=4096, title="Context", description="Tokens that a conversation may take, prompt and answer together.", ge=64)
    temperature: float = Field(default=0.7, title="Temperature", description="0 always takes the likeliest token.", ge=0)
    threads: int = Field(default=1, title="Threads", description="Threads of one generation.", ge=1)

    def get_client(self) -> "LlamaCppChat":
        """Return the model. Its file is loaded at the first request, and stays loaded until another model is.

        Raises:
            SettingsError: the file does not exist or is not a GGUF, or llama-cpp-python is not installed.
        """
        if importlib.util.find_spec("llama_cpp") is None:
            raise SettingsError(
                "llama-cpp-python is not installed, so no GGUF can be played in this process. Run `deployments/install.sh llama-cpp`, which needs a C++ "
                "compiler, or play the file with llama-server (evaluation.serve: llama-server, or the model as llama-server/…)."
            )
        check_gguf(self.model_path, "llama-cpp")
        return LlamaCppChat(self.model_path, self.context, self.temperature, self.threads)


class LlamaCppChat:
    """A model in this process; it answers one request after another."""

    caveat = None

    def __init__(self, path: Path, context: int, temperature: float, threads: int) -> None:
        """Keep the block's values without loading the model.

        Args:
            path: path of the GGUF.
            context: tokens of prompt and answer together.
        """
        self.reference = f"llama-cpp/{path.name}"
        self._path, self._context, self._temperature, self._threads = path, context, temperature, threads

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request with the model's chat template. A grammar enforces the form of a structured answer.

        Raises:
            ContextError: the conversation does not fit the context.
            SettingsError: the file cannot be loaded, or has no chat template.
        """
        return await asyncio.to_thread(self._complete, request)

    async def aclose(self) -> None:
        """Unload the model, if it is the loaded one."""
        await asyncio.to_thread(_forget, str(self._path))

    def _complete(self, request: ChatRequest) -> Reply:
        with _TURN:
            return self._generate(request)

    def _generate(self, request: ChatRequest) -> Reply:
        llama, render = _load(str(self._path), self._context, self._threads)
        tokens = self._prompt(llama, render, plain_messages(request))
        room = min(request.max_tokens, self._context - len(tokens))
        if room < 1:
            raise ContextError(
                f"The conversation takes {len(tokens)} tokens and {self.reference} holds {self._context}. Raise models.llama-cpp.options.context or shorten it."
            )
        llama.set_seed(request.seed % 2**31)
        generated: list[int] = []
        finish: Literal["stop", "length"] = "stop"
        # not the high-level call: it counts no tokens while a character is incomplete, so a weak model that emits stray bytes would
        # run to the end of the context
        for token in llama.generate(tokens, temp=self._temperature, grammar=_grammar(request)):
            if llama_is_end(llama, token):
                break
            generated.append(token)
            if len(generated) >= room:
                finish = "length"
                break
        text = llama.detokenize(generated).decode("utf-8", errors="ignore")
        return Reply(text=text, finish=finish, usage=Usage(len(tokens), len(generated)))

    def _prompt(self, llama: "Llama", render: Callable[[list[dict[str, str]]], str], messages: list[dict[str, str]]) -> list[int]:
        """Return the tokens of a rendered conversation. A control token that a message quotes is tokenized as text."""
        controls = control_tokens(self._path)
        marked, marker = mark(messages, controls)
        prompt = render(marked)
        parts = pieces(prompt, marker, controls) if marker else [(prompt, True)]
        return [token for text, special in parts for token in llama.tokenize(text.encode(), add_bos=False, special=special)]


def _grammar(request: ChatRequest) -> Any:
    if not request.schema:
        return None
    from llama_cpp import LlamaGrammar

    try:
        return LlamaGrammar.from_json_schema(json.dumps(request.schema), verbose=False)
    except Exception as error:  # the converter raises arbitrary exceptions
        raise SettingsError(f"llama.cpp cannot make a grammar from the schema for {request.role}: {error}.") from error


def llama_is_end(llama: "Llama", token: int) -> bool:
    """Return whether a token ends a generation (end of text or end of turn)."""
    import llama_cpp

    return bool(llama_cpp.llama_vocab_is_eog(llama_cpp.llama_model_get_vocab(llama.model), token))


def _forget(path: str) -> None:
    with _TURN:
        if {path} == _LOADED:
            _load.cache_clear()
            _LOADED.clear()


_LOADED: set[str] = set()
"""The path of the loaded model; empty if none is loaded."""


@lru_cache(maxsize=1)  # one model in memory at a time
def _load(path: str, context: int, threads: int) -> tuple["Llama", Callable[[list[dict[str, str]]], str]]:
    from llama_cpp import Llama
    from llama_cpp.llama_chat_format import Jinja2ChatFormatter

    try:
        llama = Llama(path, n_ctx=context, n_threads=threads, n_threads_batch=threads, verbose=False)
    except (ValueError, OSError) as error:
        raise SettingsError(f"llama.cpp cannot load {path}: {error}. Convert the model again.") from error
    _LOADED.clear()
    _LOADED.add(path)
    template = llama.metadata.get("tokenizer.chat_template")
    if not template:
        raise SettingsError(f"{path} has no chat template. Convert it from a model folder that has one.")

    def piece(token: int) -> str:
        return llama.detokenize([token], special=True).decode(errors="ignore") if token >= 0 else ""

    formatter: Any = Jinja2ChatFormatter(template=template, eos_token=piece(llama.token_eos()), bos_token=piece(llama.token_bos()))
    return llama, lambda messages: formatter(messages=messages).prompt


atexit.register(_load.cache_clear)  # llama.cpp's clean-up fails if it runs late in the interpreter's shutdown

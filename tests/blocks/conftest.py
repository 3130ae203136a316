"""One stub of the providers for each module, and one way to reach it through each provider's block."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from prefect.blocks.abstract import CredentialsBlock

from blocks.anthropic import Anthropic
from blocks.google import Google
from blocks.openai import OpenAI
from blocks.openai_compatible import OpenAICompatible
from core.llm.chat import ChatModel, ChatRequest, Message
from tests.stub.client import Stub, start_stub
from tests.stub.settings import Settings

KEY = "sk-test-0123456789"
SETTINGS = ("ANTHROPIC_", "CLAUDE_", "CLAUDECODE", "OPENAI_", "GEMINI_", "GOOGLE_")
PROXIES = ("http_proxy", "https_proxy", "all_proxy")


@dataclass(frozen=True)
class Provider:
    """How to reach a provider.

    Args:
        protocol: the stub's name for what it speaks.
        path: of its API below the stub's address.
    """

    block: type[CredentialsBlock]
    protocol: str
    model: str
    path: str


PROVIDERS = {
    "anthropic": Provider(Anthropic, "anthropic", "claude-haiku-5-5", ""),
    "openai": Provider(OpenAI, "responses", "gpt-6-luna", "/v1"),
    "openai-compatible": Provider(OpenAICompatible, "chat", "gemma", "/v1"),
    "google": Provider(Google, "google", "gemini-3.8-flash", "/g"),
}


def make_block(provider: str, address: str, **values: Any) -> Any:
    """Return a provider's block for the stub at an address; values replace its own."""
    about = PROVIDERS[provider]
    return about.block(**{"model": about.model, "api_key": KEY, "base_url": address + about.path, **values})


def ask(*texts: str, **changes: Any) -> ChatRequest:
    """Return a request with these messages, the user's first, then in turn."""
    sides: tuple[Any, Any] = ("user", "assistant")
    messages = tuple(Message(sides[index % 2], text) for index, text in enumerate(texts or ("Hello.",)))
    values: dict[str, Any] = {"role": "assistant", "system": "Be kind.", "messages": messages, "max_tokens": 2000, "seed": 7}
    return ChatRequest(**values | changes)


def only(**fault: Any) -> dict[str, Any]:
    """Return the stub's setting under which every call meets this fault (tests/stub/faults.py)."""
    return {"faults": [{"fault": fault}]}


async def failure(model: ChatModel, request: ChatRequest | None = None) -> Any:
    """Return the error that a request ends with."""
    try:
        reply = await model.complete(request or ask())
    except Exception as error:
        return error
    raise AssertionError(f"No error, but {reply!r}.")


@pytest.fixture(autouse=True)
def _nobodys_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide keys, addresses and proxies of the person who runs the tests."""
    for name in list(os.environ):
        if name.startswith(SETTINGS) or name.lower() in PROXIES:
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with start_stub() as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Stub:
    """The module's stub, as new."""
    running.set(**asdict(Settings()))
    running.reset()
    return running


@pytest.fixture(params=PROVIDERS)
def provider(request: pytest.FixtureRequest) -> str:
    """Each provider in turn, unless the test names its own."""
    return request.param


@pytest.fixture
def model(provider: str, stub: Stub) -> Any:
    """The provider's model."""
    return make_block(provider, stub.url).get_client()

"""Options of each provider's models in the settings, with types and bounds, so that even the options of unused providers are checked.

The blocks (blocks/) have the same fields, for the forms of saved blocks, but importing one takes seconds. A test checks that the two agree.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from core.quantities import Count, Part, Ratio, Whole
from core.settings.addresses import Address
from core.yaml_files import Strict

Context = Annotated[Count, Field(ge=64)]
Temperature = Annotated[Ratio, Field(le=2)]
Program = Annotated[str, Field(min_length=1, max_length=1000)]


class Scripted(Strict):
    """The scripted provider, which has no options."""


class LlamaCpp(Strict):
    """A GGUF file in this process."""

    context: Context | None = None
    temperature: Temperature | None = None
    threads: Annotated[Count, Field(le=1024)] | None = None


class LlamaServer(LlamaCpp):
    """A GGUF file in a separate process."""

    slots: Annotated[Count, Field(le=1024)] | None = None
    gpu_layers: Whole | None = None
    program: Program | None = None
    startup_seconds: Count | None = None


class Anthropic(Strict):
    """Anthropic's API."""

    base_url: Address | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None
    thinking: Literal["adaptive", "disabled"] | None = None


class OpenAI(Strict):
    """OpenAI's API."""

    base_url: Address | None = None
    effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    temperature: Temperature | None = None


class OpenAICompatible(Strict):
    """A server that implements OpenAI's Chat Completions."""

    base_url: Address | None = None
    temperature: Temperature | None = None
    top_p: Part | None = None


class Google(Strict):
    """The Gemini API."""

    base_url: Address | None = None
    thinking: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"] | None = None
    temperature: Temperature | None = None


class ClaudeCli(Strict):
    """The program `claude`."""

    base_url: Address | None = None
    program: Program | None = None
    effort: Literal["low", "medium", "high", "xhigh", "max"] | None = None


OPTIONS: Mapping[str, type[Strict]] = {
    "scripted": Scripted,
    "llama-cpp": LlamaCpp,
    "llama-server": LlamaServer,
    "anthropic": Anthropic,
    "openai": OpenAI,
    "openai-compatible": OpenAICompatible,
    "google": Google,
    "claude-cli": ClaudeCli,
}
"""The options by provider."""

SCRIPTED = "scripted/"
"""Prefix of the references of scripted models, which use fixed phrases."""
LOCAL = ("scripted", "llama-cpp", "llama-server")
"""Providers whose calls cost nothing."""

FILES = ("llama-cpp", "llama-server")
"""Providers whose models are local GGUF files."""

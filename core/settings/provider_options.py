"""The options that settings may give a provider's models, with their types and bounds, so that those of a provider that no role uses are checked, too.

The blocks (blocks/) have the same fields for the form of a saved block; to import one takes seconds. A test holds the two together.
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
    """The scripted provider takes none."""


class LlamaCpp(Strict):
    """A GGUF file in this process."""

    context: Context | None = None
    temperature: Temperature | None = None
    threads: Annotated[Count, Field(le=1024)] | None = None


class LlamaServer(LlamaCpp):
    """A GGUF file in a process of its own."""

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
    """A server that speaks OpenAI's Chat Completions."""

    base_url: Address | None = None
    temperature: Temperature | None = None
    top_p: Part | None = None


class Google(Strict):
    """The Gemini API."""

    base_url: Address | None = None
    thinking: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"] | None = None
    temperature: Temperature | None = None


class ClaudeCli(Strict):
    """The program claude."""

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
"""By provider."""

SCRIPTED = "scripted/"
"""With which the references of the models begin that play from fixed phrases."""
LOCAL = ("scripted", "llama-cpp", "llama-server")
"""Providers whose calls cost nothing."""

FILES = ("llama-cpp", "llama-server")
"""Providers whose models are GGUF files of this machine."""

"""The assistant's greeting before the user's first message: context for a reader of the conversation, never a training target.

Many chat templates reject an assistant's turn before the user's, and every turn of the assistant is a training target. So in a training example the
greeting is part of the system prompt. A judge or another model reads it before the first message.
"""

from typing import Any

from core.packs.prompts import load_shared
from core.records import Transcript


def system_with(system: str, opening: str | None) -> str:
    """Return a system prompt with the greeting added, for an example that begins with the first exchange; unchanged if there is no greeting."""
    return load_shared("opening_said").render(system=system, opening=opening) if opening else system


def exchanges_with_greeting(transcript: Transcript) -> list[dict[str, Any]]:
    """Return the exchanges as plain data for a prompt, with the greeting before the first message."""
    exchanges = [exchange.model_dump() for exchange in transcript.exchanges]
    if transcript.opening:
        exchanges[0]["user"] = load_shared("opening_read").render(opening=transcript.opening, user=exchanges[0]["user"])
    return exchanges

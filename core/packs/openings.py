"""A greeting by the assistant before the user's first message: context for a reader of the conversation, and never learnt.

Many chat templates refuse an assistant's turn before the user's, and training learns every turn of the assistant's. So the greeting goes into the system
prompt of an example, and before the first message where a judge or another model reads the conversation.
"""

from typing import Any

from core.packs.prompts import load_shared
from core.records import Transcript


def system_with(system: str, opening: str | None) -> str:
    """Return the system prompt of an example that begins with the first exchange."""
    return load_shared("opening_said").render(system=system, opening=opening) if opening else system


def heard(transcript: Transcript) -> list[dict[str, Any]]:
    """Return the exchanges as plain data for a prompt, the greeting before the first message."""
    exchanges = [exchange.model_dump() for exchange in transcript.exchanges]
    if transcript.opening:
        exchanges[0]["user"] = load_shared("opening_read").render(opening=transcript.opening, user=exchanges[0]["user"])
    return exchanges

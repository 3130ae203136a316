"""Reads a message in the forms that programs write, and turns messages in any order into exchanges."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.errors import TranscriptError

ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "ai": "assistant", "bot": "assistant", "chatgpt": "assistant",
    "tool": "tool", "function": "tool", "observation": "tool", "function_call": "tool", "ipython": "tool",
}  # fmt: skip
"""By the role's name in a file, one of our four roles."""

TOOLS = "tool calls and results left out"
THOUGHTS = "thoughts left out"
PICTURES = "images and attachments left out"
HIDDEN = "hidden messages of the program left out"
KEPT_SYSTEM = "system prompts at the start set aside, not trained on"
LATER_SYSTEM = "system messages in the middle left out"
JOINED = "messages joined with the one before, of the same side"
GREETING = "greetings of the assistant kept as context, not learnt"
UNANSWERED = "last messages without an answer dropped"
WEIGHTLESS = "answers of weight 0, which are learnt like the others"
"""`TOOLS` to `WEIGHTLESS` are notes on what an import left out or changed. A transcript stores them with their numbers."""

PLACEHOLDER = "[image or attachment]"
"""Text of a user's message that contains only images or attachments."""

_THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "thoughts", "reasoning_recap")
_CALLS = ("call", "result", "output", "tool", "function", "execution", "tether", "code")
_TEXTS = ("text", "input_text", "output_text", "refusal", "audio_transcription", "multimodal_text", None)


@dataclass
class Message:
    """A message of one side.

    Args:
        role: one of the values of `ROLES`.
        notes: by kind, the number of parts that were left out.
    """

    role: str
    text: str
    notes: Counter[str] = field(default_factory=Counter)


@dataclass
class Talk:
    """A conversation as it is stored.

    Args:
        pairs: the exchanges, each as the user's message and the assistant's.
        opening: the assistant's greeting before the first user message; None if there was none.
        system: the system prompt of the conversation; None if there was none.
        notes: by kind, how often something was joined, dropped or left out.
    """

    pairs: list[tuple[str, str]]
    opening: str | None = None
    system: str | None = None
    notes: Counter[str] = field(default_factory=Counter)


def read_message(item: Any, number: int) -> Message:
    """Read a message: its role is in `role`, `from`, `sender` or `author`, its text or parts in `content`, `value`, `text` or `parts`.

    Args:
        number: number of the message in the conversation, for errors.

    Raises:
        TranscriptError: the message has no known role, or a value that is not text.
    """
    if not isinstance(item, Mapping):
        raise TranscriptError(f"message {number} is {_kind(item)}; an object with a role is allowed.")
    role, notes = _role(item, number), Counter[str]()
    content = next((item[key] for key in ("content", "value", "parts", "text") if item.get(key) not in (None, [], "")), None)
    text = _text(content, number, notes)
    if not text and isinstance(item.get("text"), str):
        text = item["text"]
    notes[TOOLS] += bool(item.get("tool_calls") or item.get("function_call"))
    notes[PICTURES] += sum(len(item[key]) for key in ("attachments", "files") if isinstance(item.get(key), list))
    notes[WEIGHTLESS] += role == "assistant" and item.get("weight") == 0 and "weight" in item
    if role == "user" and not text.strip():
        if notes[PICTURES]:
            text = PLACEHOLDER
        elif notes[TOOLS]:
            role = "tool"  # in Anthropic's format, a tool's result is a message of the user
    return Message(role, text, +notes)


def from_messages(messages: Iterable[Message]) -> Talk:
    """Turn messages into exchanges. Consecutive messages of one side are joined, and messages of neither side are left out; the notes count both.

    Raises:
        TranscriptError: a message has no text, or there is no exchange.
    """
    talk, runs = Talk([]), list[tuple[str, list[str]]]()
    systems = list[str]()
    for message in messages:
        talk.notes += message.notes
        if message.role == "tool":
            talk.notes[TOOLS] += not message.notes[TOOLS]
        elif message.role == "system" and runs:
            talk.notes[LATER_SYSTEM] += 1
        elif message.role == "system":
            systems += [message.text] if message.text.strip() else []
        elif runs and runs[-1][0] == message.role:
            runs[-1][1].append(message.text)
        else:
            runs.append((message.role, [message.text]))
    if systems:
        talk.system = "\n\n".join(systems)
        talk.notes[KEPT_SYSTEM] += 1
    sides = [(role, _joined(texts, talk.notes)) for role, texts in runs]
    if sides and sides[0][0] == "assistant":
        talk.opening = sides.pop(0)[1] or None
        talk.notes[GREETING] += talk.opening is not None
    if len(sides) % 2 or (sides and not sides[-1][1]):
        del sides[len(sides) - (2 - len(sides) % 2) :]
        talk.notes[UNANSWERED] += 1
    for number, (role, text) in enumerate(sides):
        if not text:
            raise TranscriptError(f"exchange {number // 2 + 1} has no {role} message in words. Complete or remove the exchange.")
    if not sides:
        raise TranscriptError("no user message has an answer. Remove it.")
    talk.pairs = [(sides[place][1], sides[place + 1][1]) for place in range(0, len(sides), 2)]
    talk.notes = +talk.notes
    return talk


def from_pairs(pairs: Sequence[tuple[Any, Any]]) -> Talk:
    """Turn pairs of texts into exchanges.

    Raises:
        TranscriptError: a side is missing or is not text. Only the last answer may be missing.
    """
    talk = Talk([])
    for number, pair in enumerate(pairs, 1):
        if number == len(pairs) > 1 and pair[1] in (None, "") and isinstance(pair[0], str):
            talk.notes[UNANSWERED] += 1
            break
        for side, text in zip(("user", "assistant"), pair, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise TranscriptError(f"exchange {number} has no {side} message (found {_kind(text)}). Complete or remove the exchange.")
        talk.pairs.append(pair)
    return talk


def _joined(texts: Sequence[str], notes: Counter[str]) -> str:
    parts = [text for text in texts if text.strip()]
    notes[JOINED] += max(0, len(parts) - 1)
    return "\n\n".join(parts)


def _role(item: Mapping[str, Any], number: int) -> str:
    author = item.get("author")
    value = next((item[key] for key in ("role", "from", "sender", "speaker") if item.get(key)), author.get("role") if isinstance(author, Mapping) else author)
    if value is None and isinstance(item.get("type"), str) and any(word in item["type"] for word in (*_CALLS, *_THOUGHTS)):
        return "tool"
    role = ROLES.get(value.strip().lower()) if isinstance(value, str) else None
    if role is None:
        raise TranscriptError(f"message {number} has no known role (found {value!r:.40}). Allowed: {', '.join(ROLES)}.")
    return role


def _text(content: Any, number: int, notes: Counter[str]) -> str:
    """Return the text of a content, which is a text, a part or a list of parts; parts without text are counted in the notes."""
    if content is None or isinstance(content, str):
        return content or ""
    if isinstance(content, list):
        return "\n\n".join(filter(str.strip, (_text(part, number, notes) for part in content)))
    if not isinstance(content, Mapping):
        raise TranscriptError(f"message {number} is {_kind(content)} where a text is expected. Correct it.")
    kind = content.get("type", content.get("content_type"))
    if content.get("thought") or kind in _THOUGHTS:
        notes[THOUGHTS] += 1
    elif kind in _TEXTS and (inner := next((content[key] for key in ("text", "refusal", "value", "parts") if content.get(key)), None)) is not None:
        return _text(inner, number, notes)
    elif kind in _TEXTS and set(content) <= {"type", "content_type", "text", "parts", "refusal", "annotations", "language"}:
        pass
    elif any(word in str(name).lower() for name in (kind, *(content if kind is None else ())) for word in _CALLS):
        notes[TOOLS] += 1
    else:
        notes[PICTURES] += 1
    return ""


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "an empty text", bool: "true or false", int: "a number", float: "a number", type(None): "nothing"}
    return kinds.get(type(value), type(value).__name__)

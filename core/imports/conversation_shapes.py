"""Finds and reads the conversations in a parsed file, line or row, which may have any of several shapes."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import TranscriptError
from core.imports.chat_exports import chatgpt, claude, gemini
from core.imports.message_shapes import KEPT_SYSTEM, Talk, from_messages, from_pairs, read_message

BODIES = ("exchanges", "conversations", "conversation", "turns", "messages", "dialog", "dialogue", "chat", "input")
_SIDES = ("role", "from", "sender", "speaker", "author", "user", "assistant")


def conversations_in(data: Any) -> Iterator[tuple[int | None, Any]]:
    """Yield the conversations of a value, numbered from 1 if the value is a list of conversations; another value is yielded as it is, without a number."""
    listed = data.get("conversations") if isinstance(data, Mapping) and not _is_export(data) else data
    if isinstance(listed, list) and any(map(is_conversation, listed)):
        yield from enumerate(listed, 1)
    else:
        yield None, data


def is_conversation(item: Any) -> bool:
    """Return whether a value looks like a conversation rather than a message."""
    if isinstance(item, list):
        return any(isinstance(part, Mapping) and any(side in part for side in _SIDES) for part in item)
    return isinstance(item, Mapping) and (
        _is_export(item) or any(isinstance(item.get(key), list) for key in BODIES) or isinstance(item.get("conversation"), Mapping)
    )


def read_talk(data: Any) -> Talk:
    """Read one conversation.

    Raises:
        TranscriptError: the value has no known shape, no exchange, a message without a known role, or a message without text.
    """
    if isinstance(data, Mapping) and isinstance(data.get("mapping"), Mapping):
        messages, notes = chatgpt(data)
    elif isinstance(data, Mapping) and isinstance(data.get("chat_messages"), list):
        messages, notes = claude(data)
    elif isinstance(data, Mapping) and isinstance(data.get("contents"), list):
        messages, notes = gemini(data)
    else:
        return _listed(data)
    talk = from_messages(messages)
    talk.notes = talk.notes + notes  # the sum drops counts of 0
    return talk


def _listed(data: Any) -> Talk:
    head: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    body = _body(data)
    if not body:
        raise TranscriptError("the conversation is empty. Remove it.")
    if all(isinstance(item, Mapping) and ("user" in item or "assistant" in item) and "role" not in item for item in body):
        talk = from_pairs([(item.get("user"), item.get("assistant")) for item in body])
    elif all(isinstance(item, list | tuple) and len(item) == 2 for item in body):
        talk = from_pairs([(item[0], item[1]) for item in body])
    else:
        talk = from_messages(read_message(item, number) for number, item in enumerate(body, 1))
    system, opening = head.get("system") or head.get("instructions"), head.get("opening")
    if isinstance(system, str) and system.strip() and not talk.system:
        talk.system = system
        talk.notes[KEPT_SYSTEM] += 1
    if isinstance(opening, str) and opening.strip() and not talk.opening:
        talk.opening = opening
    return talk


def _body(data: Any) -> list[Any]:
    if isinstance(data, list):
        return data
    if not isinstance(data, Mapping):
        raise TranscriptError(f"found {type(data).__name__}; a transcript is a JSON object or list.")
    for key in BODIES:
        if isinstance(data.get(key), list):
            output = data.get("output")
            return data[key] + (output if key == "input" and isinstance(output, list) else [])
    prompt, completion = data.get("prompt"), data.get("completion")
    if isinstance(prompt, list) and isinstance(completion, list):
        return prompt + completion
    if isinstance(prompt, str) and isinstance(completion, str):
        return [[prompt, completion]]
    if "user" in data and "assistant" in data:
        return [data]
    if any(side in data for side in ("role", "from", "sender")):
        raise TranscriptError("a single message. Put the messages of a conversation into one list.")
    if isinstance(data.get("conversation"), Mapping):
        return _body(data["conversation"])
    keys = ", ".join(f"{key!r:.40}" for key in sorted(map(str, data))[:8])
    raise TranscriptError(
        f"no conversation found among the keys {keys or '(none)'}. Allowed: a list under one of {', '.join(BODIES[:5])}; docs/imports.md has all shapes."
    )


def _is_export(data: Mapping[str, Any]) -> bool:
    return isinstance(data.get("mapping"), Mapping) or isinstance(data.get("chat_messages"), list) or isinstance(data.get("contents"), list)

"""Reading transcripts that others made, in the shapes that they come in. The files themselves are left as they are."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core.errors import TranscriptError
from core.records import Exchange, Transcript

BODIES = ("exchanges", "conversations", "conversation", "turns", "messages")
ROLES = {"system": "system", "user": "user", "human": "user", "assistant": "assistant", "gpt": "assistant", "model": "assistant", "bot": "assistant"}


@dataclass
class Found:
    """What a folder holds: transcripts by file, and for each file that is no transcript the reason."""

    transcripts: dict[Path, Transcript] = field(default_factory=dict)
    left_out: dict[Path, str] = field(default_factory=dict)


def find_transcripts(folder: Path) -> Found:
    """Read every `*.json` below a folder, in the order of their paths.

    A file that cannot be read, or whose id an earlier file has, is left out with the reason; it does not stop the others.

    Raises:
        TranscriptError: there is no such folder, or it holds no readable transcript.
    """
    if not folder.is_dir():
        raise TranscriptError(f"{folder} is not a folder. Give the folder that holds the transcripts (*.json).")
    found = Found()
    first: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.json")):
        try:
            transcript = read_transcript(path)
            if transcript.id in first:
                raise TranscriptError(f"{path}: the id {transcript.id!r} is that of {first[transcript.id]} as well. Give one of them another id.")
        except TranscriptError as error:
            found.left_out[path] = str(error)
            continue
        first[transcript.id] = path
        found.transcripts[path] = transcript
    if not found.transcripts:
        reason = f" The first: {next(iter(found.left_out.values()))}" if found.left_out else ""
        raise TranscriptError(f"{folder} holds no readable transcript: {len(found.left_out)} of {len(found.left_out)} *.json files were left out.{reason}")
    return found


def read_transcript(path: Path) -> Transcript:
    """Read one transcript.

    Shapes: an object with `exchanges`, `conversations`, `turns` or `messages`, or a bare list; inside it exchanges (`user`,
    `assistant`), messages (`role`, `content`), ShareGPT messages (`from`, `value`) or pairs of texts.

    Raises:
        TranscriptError: not JSON, empty, no known shape, a missing side or roles out of turn.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as broken:
        raise TranscriptError(f"{path}: not a JSON file ({broken}). Mend or remove it.") from broken
    body, head = _body(path, data)
    pairs = _pairs(path, body)
    persona = head.get("persona")
    return Transcript(
        id=str(head.get("id") or head.get("conversation_id") or path.stem),
        persona=persona if isinstance(persona, dict) else None,
        exchanges=[Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(pairs, 1)],
        provenance=_provenance(path, head),
    )


def _provenance(path: Path, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a file, and apart from it, under `claimed`, what the file says of how it was made."""
    persona, own = head.get("persona"), head.get("provenance")
    claimed = {name: head[name] for name in ("end_reason", "target_exchanges", "created_at") if head.get(name) is not None}
    claimed |= own if isinstance(own, dict) else {}
    known = {"source": path.name, "seed": _seed(persona.get("seed")) if isinstance(persona, dict) else None}
    return known | ({"claimed": claimed} if claimed else {})


def _seed(value: Any) -> int | None:
    """Return a seed as the number that it means, however it is written: one that is kept for the evaluation must be known."""
    try:
        return int(value) if isinstance(value, str | int | float) and not isinstance(value, bool) and float(value) == int(value) else None
    except (ValueError, OverflowError):
        return None


def _body(path: Path, data: Any) -> tuple[Sequence[Any], Mapping[str, Any]]:
    if isinstance(data, list):
        return data, {}
    if not isinstance(data, dict):
        raise TranscriptError(f"{path}: found {type(data).__name__}; a transcript is a JSON object or list.")
    for key in BODIES:
        if isinstance(data.get(key), list):
            return data[key], data
    raise TranscriptError(f"{path}: no conversation found among the keys {sorted(data)[:8]}. Allowed: a list under one of {', '.join(BODIES)}.")


def _pairs(path: Path, body: Sequence[Any]) -> list[tuple[str, str]]:
    if not body:
        raise TranscriptError(f"{path}: the conversation is empty. Remove the file.")
    if all(isinstance(item, dict) and ("user" in item or "assistant" in item) for item in body):
        pairs = [(item.get("user"), item.get("assistant")) for item in body]
    elif all(isinstance(item, list) and len(item) == 2 for item in body):
        pairs = [(item[0], item[1]) for item in body]
    else:
        pairs = _paired_messages(path, body)
    for number, pair in enumerate(pairs, 1):
        for side, text in zip(("user", "assistant"), pair, strict=True):
            if not isinstance(text, str) or not text.strip():
                raise TranscriptError(f"{path}: exchange {number} has no {side} message (found {text!r:.40}). Complete or remove the exchange.")
    return pairs


def _paired_messages(path: Path, body: Sequence[Any]) -> list[tuple[Any, Any]]:
    sides: list[tuple[str, Any]] = []
    for number, item in enumerate(body, 1):
        role = ROLES.get(str(item.get("role", item.get("from"))).lower()) if isinstance(item, dict) else None
        if role is None:
            raise TranscriptError(f"{path}: message {number} has no known role (found {item!r:.80}). Allowed: {', '.join(ROLES)}.")
        if role != "system":
            sides.append((role, item.get("content", item.get("value"))))
    for number, (role, _) in enumerate(sides):
        expected = ("user", "assistant")[number % 2]
        if role != expected:
            raise TranscriptError(f"{path}: message {number + 1} is the {role}'s where the {expected}'s is due. The two take turns, and the user begins.")
    if len(sides) % 2:
        raise TranscriptError(f"{path}: the last user message has no answer. Complete or remove it.")
    return [(sides[number][1], sides[number + 1][1]) for number in range(0, len(sides), 2)]

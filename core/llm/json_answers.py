"""The JSON of an answer in which other things stand too: thoughts, a fence, prose, and what it quotes of the text that it is about."""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

THOUGHT = "</think>"
AMBIGUOUS = "Several answers that differ."
"""Stands in place of an answer that is not to be guessed; it is no JSON, so that the model is asked again."""

Repair = Literal[
    "thoughts", "prose", "code fence", "trailing comma", "single quotes", "half a character", "extra keys", "form of the answer", "form of the citations"
]
"""What was looked past in a reply in order to read it."""

SINGLE_QUOTED = 20
"""Places of a reply at which an object in single quotes is looked for: each is read to its end."""
TWICE = "(twice)"
"""Key that marks an object in which a key is there twice, so that it says two things."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, such as an emoji whose escape was cut: it can neither be kept nor sent on."""
_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
# a string that is not closed is taken to the end of the text: tried again from each of its quotes, it would take hours
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z))|,(?=\s*[}\]])')
_STRING = re.compile(r"""("(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z))|'((?:[^'\\\n]|\\[^\n])*+)'""")
_SINGLE_QUOTED_KEY = re.compile(r"\{\s*'")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    return read if len(read) == len(pairs) else read | {TWICE: True}


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


@dataclass(frozen=True)
class JsonAnswer:
    """What was read of an answer.

    Args:
        text: the object as JSON; the answer as it is where it has none of the asked form; `AMBIGUOUS` where none can be trusted.
        repairs: what was looked past.
    """

    text: str
    repairs: tuple[Repair, ...] = ()


def json_answer(text: str, schema: Mapping[str, Any], asked: Sequence[str]) -> JsonAnswer:
    """Return the one JSON object of an answer that has the schema's keys at its top and is the model's own.

    What the model quotes of a conversation is written by strangers, who may have put verdicts into it. So thoughts, lines that begin with `>`, and
    whatever stands word for word in the prompt do not count. Where several objects are left and they differ, none is taken: the last one would be the
    choice of the person who talked the model into ending with it. Keys that nobody asked for are left in the object, for its reader to judge.

    Args:
        asked: the texts of the prompt.
    """
    said, required = _QUOTED_LINE.sub("", text), set(schema.get("required", ()))
    for read in _READINGS:
        if found := _of_form(said, read, required):
            break
    else:
        return JsonAnswer(text)
    given = [part for item in asked for part in (item, html.unescape(item))]  # prompts write < as &lt;
    foreign = [item for part in given for reading in _READINGS for item in _of_form(part, reading, required)]
    left = [item for item in found if item not in foreign]
    if not left or any(item != left[-1] or TWICE in item for item in left):
        return JsonAnswer(AMBIGUOUS)
    if read is _single_quoted and not _is_plain(said, given, schema):
        return JsonAnswer(AMBIGUOUS)
    whole, halves = _HALF.subn("\ufffd", json.dumps(left[-1], ensure_ascii=False))
    halved: tuple[Repair, ...] = ("half a character",) if halves else ()
    return JsonAnswer(whole, (*_around(text), *_READINGS[read], *halved))


def own_objects(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield every object that stands in a prompt, those within others too."""
    parts: list[Any] = [item for text in texts for part in (text, html.unescape(text)) for read in _READINGS for _, _, item in read(part)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def _around(text: str) -> tuple[Repair, ...]:
    """Say what stands around the object of an answer."""
    thoughts, _, said = text.rpartition(THOUGHT)
    bare = re.sub(r"^\s*```\w*\s*|\s*```\s*$", "", said).strip()
    repairs: tuple[tuple[bool, Repair], ...] = (
        (bool(thoughts), "thoughts"),
        ("```" in said, "code fence"),
        (not bare.startswith("{") or not bare.endswith("}"), "prose"),
    )
    return tuple(name for applies, name in repairs if applies)


def _is_plain(text: str, asked: Sequence[str], schema: Mapping[str, Any]) -> bool:
    """Say whether single quotes are surely quotes: what the answer quotes could end a string of it and continue in its place."""
    once = all(text.count(f"'{key}'") == 1 for key in schema.get("required", ()))
    return once and not any(f"'{key}'" in given for key in _keys(schema) for given in asked)


def _keys(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {key for part in schema for key in _keys(part)}
    if not isinstance(schema, Mapping):
        return set()
    return set(schema.get("properties", ())) | {key for part in schema.values() for key in _keys(part)}


def _of_form(text: str, read: "Read", required: set[str]) -> list[dict[str, Any]]:
    """Return the objects of a text, after its thoughts, that have the required keys at their top."""
    return [item for item in _spoken(text, list(read(text))) if required <= set(item)]


def _spoken(text: str, objects: list[tuple[int, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the objects that stand after the first end of thoughts: a later end may be quoted, and would hide the model's own answer."""
    begins = 0
    for start, end, _ in [*objects, (len(text), len(text), {})]:
        if (thought := text.find(THOUGHT, begins, start)) >= 0:
            return [item for at, _, item in objects if at > thought]
        begins = end
    return [] if text.lstrip().startswith("<think>") else [item for _, _, item in objects]


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the outermost JSON objects of a text with their places; what stands in another's strings is none."""
    start = text.find("{")
    while start >= 0:
        try:
            item, end = _DECODER.raw_decode(text, start)
        except RecursionError:  # what follows is within it
            return
        except ValueError:
            end = start + 1
        else:
            yield start, end, item
        start = text.find("{", end)


def _without_trailing_commas(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the outermost objects of a text that are JSON but for commas before a closing bracket."""
    return _objects(_TRAILING_COMMA.sub(lambda part: part[1] or " ", text))


def _single_quoted(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the first object of a text that is JSON but for the single quotes of its strings, and such commas."""
    for begins in list(_SINGLE_QUOTED_KEY.finditer(text))[:SINGLE_QUOTED]:
        doubled = _TRAILING_COMMA.sub(lambda part: part[1] or " ", _STRING.sub(_doubled, text[begins.start() :]))
        try:
            item, _ = _DECODER.raw_decode(doubled)
        except (ValueError, RecursionError):
            continue
        yield begins.start(), len(text), item  # its end in the text is not known
        return


def _doubled(part: re.Match[str]) -> str:
    """Return a string in double quotes."""
    if part[1] is not None:
        return part[1]
    return '"' + part[2].replace("\\'", "'").replace('\\"', '"').replace('"', '\\"') + '"'


Read = Callable[[str], Iterator[tuple[int, int, dict[str, Any]]]]
_READINGS: dict[Read, tuple[Repair, ...]] = {_objects: (), _without_trailing_commas: ("trailing comma",), _single_quoted: ("single quotes",)}
"""From the strictest, with what each mends."""

"""Extracts the JSON of an answer that also contains other things: thoughts, a code fence, prose, and quotations of the text that was judged."""

import html
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

THOUGHT = "</think>"
AMBIGUOUS = "Several answers that differ."
"""Replaces an ambiguous answer. It is not JSON, so the model is asked again."""

Repair = Literal[
    "thoughts", "prose", "code fence", "trailing comma", "single quotes", "half a character", "extra keys", "form of the answer", "form of the citations"
]
"""What was ignored or corrected in a reply in order to read it."""

SINGLE_QUOTED = 20
"""Maximum number of places at which an object in single quotes is tried; each attempt reads the rest of the reply."""
TWICE = "(twice)"
"""Key that marks an object with a duplicate key, whose meaning is ambiguous."""

_HALF = re.compile("[\ud800-\udfff]")
"""Half of a surrogate pair, such as a truncated escape of an emoji: it can neither be stored nor sent."""
_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
# an unclosed string is matched to the end of the text: a new attempt from each of its quotes could take hours
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z))|,(?=\s*[}\]])')
_CLOSING_COMMA = re.compile(r",\s*[}\]]")
_STRING = re.compile(r"""("(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z))|'((?:[^'\\\n]|\\[^\n])*+)'""")
_SINGLE_QUOTED_KEY = re.compile(r"\{\s*'")


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    item = dict(pairs)
    return item if len(item) == len(pairs) else item | {TWICE: True}


_DECODER = json.JSONDecoder(object_pairs_hook=_pairs)


@dataclass(frozen=True)
class JsonAnswer:
    """The JSON object of an answer.

    Args:
        text: the object as JSON; the unchanged answer if it has no object of the requested form; `AMBIGUOUS` if none can be trusted.
        repairs: what was ignored or corrected.
    """

    text: str
    repairs: tuple[Repair, ...] = ()


def json_answer(text: str, schema: Mapping[str, Any], asked: Sequence[str]) -> JsonAnswer:
    """Return the one JSON object of an answer that has the schema's required keys at its top level and is not a quotation.

    The conversation that the model quotes is untrusted and may contain verdicts. Thoughts, lines that begin with `>`, and objects that occur verbatim
    in the prompt are therefore ignored. If several different objects remain, the answer is ambiguous: taking the last one would allow a conversation to
    choose the verdict by making the model end with it. Unknown keys stay in the object, for the caller to judge.

    Args:
        text: the answer.
        schema: JSON schema of the requested object.
        asked: the texts of the prompt.
    """
    unquoted, required = _QUOTED_LINE.sub("", text), set(schema.get("required", ()))
    for read in _READINGS:
        if objects := _of_form(unquoted, read, required):
            break
    else:
        return JsonAnswer(text)
    prompts = _as_quoted(asked)
    quoted = [item for part in prompts for reading in _READINGS for item in _of_form(part, reading, required)]
    own = [item for item in objects if item not in quoted]
    if not own or any(item != own[-1] or TWICE in item for item in own):
        return JsonAnswer(AMBIGUOUS)
    if read is _single_quoted and not _is_plain(unquoted, prompts, schema):
        return JsonAnswer(AMBIGUOUS)
    answer, halves = _HALF.subn("\ufffd", json.dumps(own[-1], ensure_ascii=False))
    halved: tuple[Repair, ...] = ("half a character",) if halves else ()
    return JsonAnswer(answer, (*_around(text), *_READINGS[read], *halved))


def own_objects(texts: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield every JSON object in the texts of a prompt, including nested ones."""
    parts: list[Any] = [item for text in _as_quoted(texts) for read in _READINGS for _, _, item in read(text)]
    while parts:
        part = parts.pop()
        if isinstance(part, dict):
            yield part
        parts += part.values() if isinstance(part, dict) else part if isinstance(part, list) else []


def _as_quoted(texts: Sequence[str]) -> list[str]:
    """Return the texts of a prompt as they stand there and as a model may quote them: prompts write < as &lt;."""
    return list(dict.fromkeys(form for text in texts for form in (text, html.unescape(text))))


def _around(text: str) -> tuple[Repair, ...]:
    """Return what surrounds the object of an answer."""
    thoughts, _, spoken = text.rpartition(THOUGHT)
    bare = re.sub(r"^\s*```\w*\s*|\s*```\s*$", "", spoken).strip()
    repairs: tuple[tuple[bool, Repair], ...] = (
        (bool(thoughts), "thoughts"),
        ("```" in spoken, "code fence"),
        (not bare.startswith("{") or not bare.endswith("}"), "prose"),
    )
    return tuple(name for applies, name in repairs if applies)


def _is_plain(text: str, asked: Sequence[str], schema: Mapping[str, Any]) -> bool:
    """Return whether an answer in single quotes is safe to read: quoted text with single quotes could end a string and continue with keys of its own."""
    once = all(text.count(f"'{key}'") == 1 for key in schema.get("required", ()))
    return once and not any(f"'{key}'" in prompt for key in _keys(schema) for prompt in asked)


def _keys(schema: Any) -> set[str]:
    if isinstance(schema, list):
        return {key for part in schema for key in _keys(part)}
    if not isinstance(schema, Mapping):
        return set()
    return set(schema.get("properties", ())) | {key for part in schema.values() for key in _keys(part)}


def _of_form(text: str, read: "Read", required: set[str]) -> list[dict[str, Any]]:
    """Return the objects after a text's thoughts that have the required keys at their top level."""
    return [item for item in _spoken(text, list(read(text))) if required <= set(item)]


def _spoken(text: str, objects: list[tuple[int, int, dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the objects after the first closing mark of thoughts outside an object; a later mark may be a quotation and would hide the model's own answer."""
    begins = 0
    for start, end, _ in [*objects, (len(text), len(text), {})]:
        if (thought := text.find(THOUGHT, begins, start)) >= 0:
            return [item for at, _, item in objects if at > thought]
        begins = end
    return [] if text.lstrip().startswith("<think>") else [item for _, _, item in objects]


def _objects(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the start, the end and the value of each outermost JSON object of a text; text inside an object's strings is skipped."""
    start = text.find("{")
    while start >= 0:
        try:
            item, end = _DECODER.raw_decode(text, start)
        except RecursionError:  # the rest of the text is inside this object
            return
        except ValueError:
            end = start + 1
        else:
            yield start, end, item
        start = text.find("{", end)


def _without_trailing_commas(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the outermost objects of a text with commas before a closing bracket, which are otherwise JSON; nothing if it has no such commas."""
    return iter(()) if not _CLOSING_COMMA.search(text) else _objects(_TRAILING_COMMA.sub(lambda part: part[1] or " ", text))


def _single_quoted(text: str) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield the first object of a text that is JSON except for single-quoted strings and trailing commas."""
    for begins in list(_SINGLE_QUOTED_KEY.finditer(text))[:SINGLE_QUOTED]:
        doubled = _TRAILING_COMMA.sub(lambda part: part[1] or " ", _STRING.sub(_doubled, text[begins.start() :]))
        try:
            item, _ = _DECODER.raw_decode(doubled)
        except (ValueError, RecursionError):
            continue
        yield begins.start(), len(text), item  # the object's end in the text is unknown
        return


def _doubled(part: re.Match[str]) -> str:
    """Return a matched string in double quotes."""
    if part[1] is not None:
        return part[1]
    return '"' + part[2].replace("\\'", "'").replace('\\"', '"').replace('"', '\\"') + '"'


Read = Callable[[str], Iterator[tuple[int, int, dict[str, Any]]]]
_READINGS: dict[Read, tuple[Repair, ...]] = {_objects: (), _without_trailing_commas: ("trailing comma",), _single_quoted: ("single quotes",)}
"""The ways to read an answer, strictest first, each with the repairs that it makes."""

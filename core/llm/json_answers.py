"""The JSON of an answer in which other things stand too: thoughts, a fence, prose, and what it quotes of the text that it is about."""

import html
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

THOUGHT = "</think>"
AMBIGUOUS = "Several answers that differ."
"""Stands in place of an answer that is not to be guessed; it is no JSON, so that the model is asked again."""

_QUOTED_LINE = re.compile(r"^[ \t]*>.*$", re.MULTILINE)
# a string that is not closed is taken to the end of the text: tried again from each of its quotes, it would take hours
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\[\s\S])*+(?:"|\\?\Z))|,(?=\s*[}\]])')
_DECODER = json.JSONDecoder()


def json_answer(text: str, schema: Mapping[str, Any], asked: Sequence[str]) -> str:
    """Return the one JSON object of an answer that has the schema's form and is the model's own.

    What the model quotes of a conversation is written by strangers, who may have put verdicts into it. So thoughts, lines that begin with `>`, and
    whatever stands word for word in the prompt do not count. Where several objects are left and they differ, none is taken: the last one would be the
    choice of the person who talked the model into ending with it.

    Args:
        asked: the texts of the prompt.

    Returns:
        The object as JSON; the answer as it is where it has none of that form; `AMBIGUOUS` where none can be trusted.
    """
    found = _of_form(_QUOTED_LINE.sub("", text), schema)
    if not found:
        return text
    foreign = [item for given in asked for text_of in (given, html.unescape(given)) for item in _of_form(text_of, schema)]  # prompts write < as &lt;
    left = [item for item in found if item not in foreign]
    if not left or any(item != left[-1] for item in left):
        return AMBIGUOUS
    return json.dumps(left[-1], ensure_ascii=False)


def _of_form(text: str, schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects of a text, after its thoughts, that have what a schema asks for at its top, and nothing else there."""
    required, known = set(schema.get("required", ())), set(schema.get("properties", ()))
    closed = schema.get("additionalProperties") is False
    mended = _TRAILING_COMMA.sub(lambda objects: objects[1] or "", text)
    for read in dict.fromkeys((text, mended)):
        objects = [item for item in _spoken(read) if required <= set(item) and not (closed and set(item) - known)]
        if objects:
            return objects
    return []


def _spoken(text: str) -> list[dict[str, Any]]:
    """Return the objects that stand after the first end of thoughts: a later end may be quoted, and would hide the model's own answer."""
    objects, begins = list(_objects(text)), 0
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

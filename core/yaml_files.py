"""Typed values from YAML files; an error names the file, the place, what was found and what is allowed.

Read is what a person can check by looking at it: mappings, lists and the scalars of YAML 1.2, in which `no`, `1:30` and `2026-11-29` are text. Anchors,
aliases and tags are refused, and so are a key that occurs twice, several documents in a file, and numbers in forms that are read in two ways (`010`).
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from core.errors import UnderstudyError, nearest
from core.text_files import read_text

PARSER = getattr(yaml, "CLoader", yaml.Loader)
"""Only its events are used, and no value is built by it. The one in C is ten times faster where it was built."""

NAMED = 5
"""Faults of a file that an error names; more are counted."""

FORMS = {
    "tuple_type": "should be a list, such as [3, 6]",
    "list_type": "should be a list",
    "dict_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "string_type": "should be text",
    "missing": "is required",
}
"""What a file's author calls what pydantic names by Python's types."""

DEEPEST = 32
"""Mappings and lists within one another; the deepest shipped file has 8."""

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})")
DECIMAL = re.compile(r"[-+]?(\.[0-9]{1,30}|(0|[1-9][0-9]{0,29})(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
"""Numbers as YAML 1.2 writes them; other forms (`010`, `0x1F`, `1_000`, `.inf`, and those of very many digits) are text, which no number is read from."""

WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | dict.fromkeys(("true", "True", "TRUE"), True)
WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)


class Strict(BaseModel):
    """A part of a file; a key that nothing reads is an error, and so is a number that is none."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, error: type[UnderstudyError]) -> Any:
    """Return the plain data of a YAML file, or of a JSON file by its ending.

    Raises:
        error: the file is missing, is no text, or is not YAML.
    """
    text = read_text(path, error)
    try:
        return parse_json(text) if path.suffix == ".json" else parse_yaml(text)
    except ValueError as broken:
        raise error(f"{path} is not {'JSON' if path.suffix == '.json' else 'YAML'}: {broken}. Correct it there.") from broken


def parse_yaml(text: str) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        ValueError: it is none, with the place and without the text that stands there.
    """
    try:
        return _built(yaml.parse(text, Loader=PARSER))
    except yaml.MarkedYAMLError as broken:
        mark, problem = broken.problem_mark or broken.context_mark, broken.problem or broken.context or "it cannot be read"
        raise ValueError(f"{_place(mark)}{problem}") from broken
    except (yaml.YAMLError, UnicodeError) as broken:
        raise ValueError("it contains a character that YAML does not allow") from broken


def parse_json(text: str) -> Any:
    """Return the plain data of a JSON text.

    Raises:
        ValueError: it is none, with the place and without the text that stands there.
    """
    try:
        return json.loads(text, object_pairs_hook=_pairs, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as broken:
        raise ValueError(f"line {broken.lineno}, column {broken.colno}: {broken.msg}") from broken
    except RecursionError as deep:
        raise ValueError("it is nested too deeply") from deep


def load_yaml(path: Path, model: type[Model], error: type[UnderstudyError]) -> Model:
    """Read a YAML file into a model.

    Raises:
        error: the file is missing, is not YAML, or does not fit the model.
    """
    return check(read_yaml(path, error), model, error, str(path))


def check(data: Any, model: type[Model], error: type[UnderstudyError], source: str) -> Model:
    """Turn plain data into a model, or raise `error` naming the source and the first thing that is wrong.

    The types are strict: `true` and `"5"` are no numbers, and 5 is no text. Values are those of JSON, in which lists stand for tuples and text for dates.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=lambda part: part.model_dump(mode="json")), strict=True)
    except ValidationError as invalid:
        raise error(f"{source}: {explain(invalid, model)}") from invalid


def fitting(given: Mapping[str, Any], model: type[BaseModel]) -> Any:
    """Return part of a file as it was given, if it fits a model.

    Raises:
        ValueError: the first thing that does not.
    """
    try:
        model.model_validate_json(json.dumps(given), strict=True)
    except ValidationError as invalid:
        raise ValueError(explain(invalid, model)) from invalid
    return given


def explain(invalid: ValidationError, model: type[BaseModel] | None = None, whole: str = "the file") -> str:
    """Say a validation error in one line: of each fault where it is, what was found and what is allowed.

    Args:
        model: what was to be read; one of its keys is named that is most like an unknown one.
        whole: what the error calls all of it.
    """
    # a misspelt key first: the right one is missing because of it
    faults = sorted(invalid.errors(include_url=False), key=lambda one: one["type"] != "extra_forbidden")
    known = _keys(model) if model else set[str]()
    misspelt = {(*one["loc"][:-1], *get_close_matches(str(one["loc"][-1]), known, 1)) for one in faults if one["type"] == "extra_forbidden"}
    others = [one for one in faults if not (one["type"] == "missing" and tuple(one["loc"]) in misspelt)]
    said = [_fault(one, known, whole) for one in others[:NAMED]]
    more = f" And {len(others) - NAMED} more." if len(others) > NAMED else ""
    return f"{' '.join(said)}{more}"


def _fault(one: ErrorDetails, known: set[str], whole: str) -> str:
    where = f"`{'.'.join(str(part) for part in one['loc'])}`" if one["loc"] else whole
    message, meant = FORMS.get(one["type"], str(one["msg"]).removeprefix("Value error, ").removeprefix("Input ")), ""
    if one["type"] == "extra_forbidden":
        meant = nearest(str(one["loc"][-1]), known)
        message = "is not a known key; remove it or correct its spelling"
    if not one["loc"] and one["input"] is None:
        message = "is empty; write its keys"
    # of a file that is no mapping nothing is shown: it may be another one than was meant, and hold what is not to be seen
    unsaid = not one["loc"] or one["type"] in ("missing", "extra_forbidden") or isinstance(one["input"], dict)
    found = "" if unsaid else f" (found {_shown(one['input'])})"
    return f"{where} {message[0].lower()}{message[1:]}{found}.{meant}"


def _keys(model: type[BaseModel]) -> set[str]:
    schema = model.model_json_schema()
    return {name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", ())}


def _shown(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # a whole number of thousands of digits
        return "a number of very many digits"


def _built(events: Iterable[Any]) -> Any:
    """Build a document from its events; nothing recurses, and nothing grows faster than the text."""
    found, parts, documents = None, list[_Part](), 0
    for event in events:
        match event:
            case yaml.DocumentStartEvent():
                documents += 1
                if documents > 1:
                    raise ValueError(f"{_place(event.start_mark)}a second document begins; a file holds one")
            case yaml.MappingEndEvent() | yaml.SequenceEndEvent():
                parts.pop()
            case yaml.NodeEvent():
                value = _value(event)
                if parts:
                    parts[-1].take(value, event)
                else:
                    found = value
                if isinstance(event, yaml.CollectionStartEvent):
                    parts.append(_Part(value))
                    if len(parts) > DEEPEST:
                        raise ValueError(f"{_place(event.start_mark)}mappings and lists are nested more than {DEEPEST} levels deep")
    return found


class _Part:
    """A mapping or list that is being filled."""

    def __init__(self, value: Any) -> None:
        self.value, self.key = value, None

    def take(self, item: Any, event: Any) -> None:
        """Add an item, or take it as the key of the next one."""
        if isinstance(self.value, list):
            self.value.append(item)
        elif self.key is not None:
            self.value[self.key], self.key = item, None
        elif not isinstance(event, yaml.ScalarEvent):
            raise ValueError(f"{_place(event.start_mark)}a key is a mapping or a list; keys are text")
        elif event.value in self.value:
            raise ValueError(f"{_place(event.start_mark)}the key {event.value!r:.80} occurs twice")
        else:
            self.key = event.value


def _value(event: Any) -> Any:
    """Return what a node begins with, or a scalar's value."""
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise ValueError(f"{_place(event.start_mark)}anchors and aliases (& and *) are not read; write the value out")
    if event.tag:
        raise ValueError(f"{_place(event.start_mark)}tags (!) are not read; write the value alone")
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    text = event.value
    if not event.implicit[0]:  # quoted, or a block of text
        return text
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    number = float(text) if DECIMAL.fullmatch(text) else math.inf
    return number if math.isfinite(number) else text


def _place(mark: Any) -> str:
    return f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} occurs twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:40])

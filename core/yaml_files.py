"""Reads typed values from YAML files; an error names the file, the place, the value found and what is allowed.

Only YAML that a person can check by eye is accepted: mappings, lists and the scalars of YAML 1.2, in which `no`, `1:30` and `2026-11-29` are text. Anchors,
aliases, tags, duplicate keys and several documents in a file are errors. Numbers that parsers read differently (`010`) are text.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from core.errors import UnderstudyError, nearest
from core.text_files import read_text

PARSER = getattr(yaml, "CLoader", yaml.Loader)
"""The YAML parser. Only its events are used; it constructs no values. The C version, if available, is ten times faster."""

MAX_FAULTS = 5
"""Maximum number of faults of a file that an error describes; the others are only counted."""

FORMS = {
    "tuple_type": "should be a list, such as [3, 6]",
    "list_type": "should be a list",
    "dict_type": "should be a mapping of keys to values",
    "model_type": "should be a mapping of keys to values",
    "string_type": "should be text",
    "missing": "is required",
}
"""Messages in a file author's terms for those of pydantic's errors that use the names of Python types."""

MAX_DEPTH = 32
"""Maximum nesting of mappings and lists; the deepest shipped file has 8 levels."""

INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,29})")
DECIMAL = re.compile(r"[-+]?(\.[0-9]{1,30}|(0|[1-9][0-9]{0,29})(\.[0-9]{0,30})?)([eE][-+]?[0-9]{1,3})?")
"""Numbers in the notation of YAML 1.2. Other forms (`010`, `0x1F`, `1_000`, `.inf`, and numbers of very many digits) are text."""

WORDS = {"": None, "~": None, "null": None, "Null": None, "NULL": None} | dict.fromkeys(("true", "True", "TRUE"), True)
WORDS |= dict.fromkeys(("false", "False", "FALSE"), False)


class Strict(BaseModel):
    """The base of all models of files: an unknown key is an error, and so is a number that is not finite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, defer_build=True)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, error: type[UnderstudyError]) -> Any:
    """Return the plain data of a YAML file, or of a JSON file if its name ends in `.json`.

    Raises:
        error: the file is missing, is not text, or is not valid YAML or JSON.
    """
    text = read_text(path, error)
    try:
        return parse_json(text) if path.suffix == ".json" else parse_yaml(text)
    except ValueError as broken:
        raise error(f"{path} is not {'JSON' if path.suffix == '.json' else 'YAML'}: {broken}. Correct it there.") from broken


def parse_yaml(text: str) -> Any:
    """Return the plain data of a YAML text.

    Raises:
        ValueError: it is not valid YAML; the message has the place but does not quote the text.
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
        ValueError: it is not valid JSON; the message has the place but does not quote the text.
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
    """Validate plain data as a model.

    The types are strict: `true` and `"5"` are not numbers, and 5 is not text. Values are those of JSON: tuples are written as lists and dates as text.

    Raises:
        error: the data does not fit the model; the message names the source and the faults.
    """
    try:
        return model.model_validate_json(json.dumps(data, default=lambda part: part.model_dump(mode="json")), strict=True)
    except ValidationError as invalid:
        raise error(f"{source}: {explain(invalid, model)}") from invalid


def fitting(part: Mapping[str, Any], model: type[BaseModel]) -> Any:
    """Return a part of a file unchanged if it fits a model.

    Raises:
        ValueError: it does not; the message describes the faults.
    """
    try:
        model.model_validate_json(json.dumps(part), strict=True)
    except ValidationError as invalid:
        raise ValueError(explain(invalid, model)) from invalid
    return part


def explain(invalid: ValidationError, model: type[BaseModel] | None = None, whole: str = "the file") -> str:
    """Return a validation error in one line: for each fault the place, what is allowed and the value found.

    Args:
        invalid: the error.
        model: the model that was validated; for an unknown key the most similar key of the model is suggested. None for no suggestions.
        whole: what the message calls the complete input.
    """
    # a misspelt key comes first: it explains why the correct key is missing
    faults = sorted(invalid.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    keys = _keys(model) if model else frozenset[str]()
    misspelt = {(*fault["loc"][:-1], *get_close_matches(str(fault["loc"][-1]), keys, 1)) for fault in faults if fault["type"] == "extra_forbidden"}
    others = [fault for fault in faults if not (fault["type"] == "missing" and tuple(fault["loc"]) in misspelt)]
    sentences = [_fault(fault, keys, whole) for fault in others[:MAX_FAULTS]]
    more = f" And {len(others) - MAX_FAULTS} more." if len(others) > MAX_FAULTS else ""
    return f"{' '.join(sentences)}{more}"


def _fault(fault: ErrorDetails, keys: frozenset[str], whole: str) -> str:
    where = f"`{'.'.join(str(part) for part in fault['loc'])}`" if fault["loc"] else whole
    message, suggestion = FORMS.get(fault["type"], str(fault["msg"]).removeprefix("Value error, ").removeprefix("Input ")), ""
    if fault["type"] == "extra_forbidden":
        suggestion = nearest(str(fault["loc"][-1]), keys)
        message = "is not a known key; remove it or correct its spelling"
    if not fault["loc"] and fault["input"] is None:
        message = "is empty; write its keys"
    # a file that is not a mapping is never quoted: it may be a different file than the user meant, with private content
    unquoted = not fault["loc"] or fault["type"] in ("missing", "extra_forbidden") or isinstance(fault["input"], dict)
    value = "" if unquoted else f" (found {_quoted(fault['input'])})"
    if fault["type"] == "value_error":  # a sentence of its own, which names its place within the complete input
        return f"{f'{where}: ' if fault['loc'] else ''}{message}{value}."
    return f"{where} {message[0].lower()}{message[1:]}{value}.{suggestion}"


@lru_cache(maxsize=16)  # a schema takes a tenth of a second
def _keys(model: type[BaseModel]) -> frozenset[str]:
    schema = model.model_json_schema()
    return frozenset(name for part in (schema, *schema.get("$defs", {}).values()) for name in part.get("properties", ()))


def _quoted(value: Any) -> str:
    try:
        return f"{value!r:.80}"
    except ValueError:  # Python refuses to print an integer of thousands of digits
        return "a number of very many digits"


def _built(events: Iterable[Any]) -> Any:
    """Build a document from its events without recursion, in memory proportional to the text."""
    document, parts, documents = None, list[_Part](), 0
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
                    document = value
                if isinstance(event, yaml.CollectionStartEvent):
                    parts.append(_Part(value))
                    if len(parts) > MAX_DEPTH:
                        raise ValueError(f"{_place(event.start_mark)}mappings and lists are nested more than {MAX_DEPTH} levels deep")
    return document


class _Part:
    """A mapping or list under construction."""

    def __init__(self, value: Any) -> None:
        self.value, self.key = value, None

    def take(self, item: Any, event: Any) -> None:
        """Add an item, or store it as the key of the next item."""
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
    """Return an empty mapping or list for the start of a node, or the value of a scalar."""
    if isinstance(event, yaml.AliasEvent) or event.anchor:
        raise ValueError(f"{_place(event.start_mark)}anchors and aliases (& and *) are not read; write the value out")
    if event.tag:
        raise ValueError(f"{_place(event.start_mark)}tags (!) are not read; write the value alone")
    if isinstance(event, yaml.MappingStartEvent):
        return {}
    if isinstance(event, yaml.SequenceStartEvent):
        return []
    text = event.value
    if not event.implicit[0]:  # a quoted scalar or a block scalar
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
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r:.80} occurs twice")
    return mapping


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _no_number(text[:40])

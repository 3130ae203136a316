"""Generates the reference of all settings from their types: the name, type, value and meaning of each."""

import ast
import inspect
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, get_args

from pydantic import BaseModel

Schema = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """A setting.

    Args:
        name: name of the setting after those of its sections, joined by dots.
        kind: its type in words.
        meaning: its description; empty if it has none.
    """

    name: str
    kind: str
    meaning: str


def setting_rows(model: type[BaseModel], prefix: str = "") -> list[Row]:
    """Return every setting of a file in order; the settings of a mapping's entries are listed once, under `<name>`.

    Args:
        model: the type of the file or section.
        prefix: names of the enclosing sections, with a dot at the end.
    """
    rows, properties, meanings = [], model.model_json_schema(), _meanings(model)
    for name, field in model.model_fields.items():
        meaning = " ".join((field.description or meanings.get(name, "")).split())
        part, many = _part(field.annotation)
        if part is None:
            rows.append(Row(f"{prefix}{name}", _kind(properties["properties"][name], properties), meaning))
            continue
        section = f"{prefix}{name}.<name>." if many else f"{prefix}{name}."
        rows.append(Row(f"{prefix}{name}", "by name" if many else "section", meaning or _first_sentence(part)))
        rows += setting_rows(part, section)
    return rows


def value_of(data: Any, name: str) -> str:
    """Return a setting's value in a file as YAML writes it; empty if the file does not have it."""
    for part in name.split("."):
        if not isinstance(data, dict) or part not in data:
            return ""
        data = data[part]
    if isinstance(data, dict):
        return ""
    if isinstance(data, bool) or data is None:
        return str(data).lower().replace("none", "null")
    return ", ".join(map(str, data)) if isinstance(data, list) else str(data)


def _meanings(model: type[BaseModel]) -> dict[str, str]:
    """Return the docstring below each field in the source. pydantic could read them too, but would do so at every import of the class."""
    meanings: dict[str, str] = {}
    for kind in reversed(model.__mro__[: model.__mro__.index(BaseModel)]):
        body = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0].body  # ty: ignore[missing-attribute]
        for field, below in pairwise(body):
            match field, below:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                    meanings[name] = inspect.cleandoc(text)
    return meanings


def _part(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model of a field that is a section, else None, and whether the field is a mapping of several such sections."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, False
    models = [inner for inner in get_args(annotation) if inspect.isclass(inner) and issubclass(inner, BaseModel)]
    return (models[0], annotation.__class__.__name__ == "GenericAlias") if models else (None, False)


def _kind(schema: Schema, whole: Schema) -> str:
    """Return a type in words."""
    if "$ref" in schema:
        return _kind(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        return " or ".join("nothing" if option.get("type") == "null" else _kind(option, whole) for option in schema["anyOf"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    match schema.get("type"):
        case "integer" | "number":
            return ("whole number" if schema["type"] == "integer" else "number") + _bounds(schema)
        case "boolean":
            return "true or false"
        case "array":
            inner = schema.get("items") or (schema.get("prefixItems") or [{}])[0]
            return f"{'two' if 'prefixItems' in schema else 'list'} of {_kind(inner, whole)}"
        case "object":
            return "by name"
    return "text"


def _bounds(schema: Schema) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    return f" {' and '.join(bounds)}" if bounds else ""


def _first_sentence(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").splitlines()[0]

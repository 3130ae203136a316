"""Typed values from YAML files; an error names the file, the place, what was found and what is allowed."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import UnderstudyError

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same language; the C one is ten times faster where it was built."""


class Strict(BaseModel):
    """A part of a file; a key that nothing reads is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, error: type[UnderstudyError]) -> Any:
    """Return a YAML file's plain data.

    Raises:
        error: the file is missing or is not YAML.
    """
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=LOADER)
    except FileNotFoundError as missing:
        raise error(f"{path} does not exist. Allowed beside it: {_siblings(path)}. Check the name or make the file.") from missing
    except (yaml.YAMLError, UnicodeDecodeError) as broken:
        raise error(f"{path} is not YAML: {str(broken).splitlines()[0]}. Mend that line.") from broken


def load_yaml(path: Path, model: type[Model], error: type[UnderstudyError]) -> Model:
    """Read a YAML file into a model.

    Raises:
        error: the file is missing, is not YAML, or does not fit the model.
    """
    return check(read_yaml(path, error), model, error, str(path))


def check(data: Any, model: type[Model], error: type[UnderstudyError], source: str) -> Model:
    """Turn plain data into a model, or raise `error` naming the source and the first thing that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as invalid:
        raise error(f"{source}: {explain(invalid)}") from invalid


def explain(invalid: ValidationError) -> str:
    """Say a validation error in one line: where, what was found, what is allowed."""
    first, *rest = invalid.errors(include_url=False)
    where = ".".join(str(part) for part in first["loc"]) or "the file"
    message = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = "is not a known key; remove it or correct its spelling"
    found = "" if first["type"] in ("missing", "extra_forbidden") or isinstance(first["input"], dict) else f" (found {first['input']!r:.80})"
    more = f" And {len(rest)} more." if rest else ""
    return f"`{where}` {message[0].lower()}{message[1:]}{found}.{more}"


def _siblings(path: Path) -> str:
    names = sorted(entry.name for entry in path.parent.iterdir() if not entry.name.startswith(".")) if path.parent.is_dir() else []
    return ", ".join(names) or "nothing"

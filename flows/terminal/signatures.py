"""The signature of a command, read from the source of the function that it runs, so that `--help`, completion and wrong words import nothing."""

import ast
import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter, Token

from core.errors import SettingsError
from core.paths import CODE

WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
PLAIN = {"str": str, "bool": bool, "float": float, "int": int, "Path": Path}
NUMBERS = ("int", "Count", "Seed", "Port", "ServerPort")
"""Types of whole numbers; core/quantities.py has the bounds of all but int."""
WRAPPED = re.compile(r"(?<=\S)\n(?: {8,}(?=\S)|(?=\S))")
"""A line break of the source within a paragraph or an argument of a docstring; the help wraps them at the width of the terminal."""
WORKER = "Shard"
"""Type of a parameter that is no option: only the runs of a deployment pass it to each other."""


@dataclass(frozen=True)
class Written:
    """A parameter as written in the source.

    Args:
        name: name of the parameter.
        kind: its annotation, without `| None`.
        optional: whether the annotation has `| None`.
        default: its default; `inspect.Parameter.empty` if it has none.
    """

    name: str
    kind: str
    optional: bool
    default: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Signature:
    """The parameters of a function and its docstring."""

    parameters: tuple[Written, ...]
    doc: str


def read_signature(target: str) -> Signature:
    """Return the signature of a function.

    Args:
        target: as `package.module:function`.
    """
    module, _, name = target.partition(":")
    tree = ast.parse(source_of(module).read_text(encoding="utf-8"))
    function = next(node for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name)
    arguments, defaults = function.args.args, function.args.defaults
    without = len(arguments) - len(defaults)
    written = []
    for place, argument in enumerate(arguments):
        kind = ast.unparse(argument.annotation) if argument.annotation else "str"
        default = ast.literal_eval(defaults[place - without]) if place >= without else inspect.Parameter.empty
        written.append(Written(argument.arg, kind.removesuffix(" | None"), kind.endswith(" | None"), default))
    return Signature(tuple(item for item in written if item.kind != WORKER), ast.get_docstring(function) or "")


def source_of(module: str) -> Path:
    """Return the source file of a module of this code."""
    return CODE / f"{module.replace('.', '/')}.py"


def command_function(
    signature: Signature, run: Callable[[dict[str, Any]], int], positional: str, names: Mapping[str, str], more: Sequence[inspect.Parameter] = ()
) -> Callable[..., int]:
    """Return a function whose signature the command line library reads as options.

    Args:
        signature: signature of the function that the command runs.
        run: called with the values by the parameters' names; returns the exit code.
        positional: the parameter that needs no `--name`; empty for none.
        names: names of options that differ from the parameter's name, by parameter.
        more: options of the command itself, such as `--json`.
    """
    parameters = [_parameter(item, item.name == positional, option_of(item.name, names)) for item in signature.parameters]
    shape = inspect.Signature([*sorted(parameters, key=lambda item: item.kind), *more])

    def command(*arguments: Any, **named: Any) -> int:
        return run(dict(shape.bind(*arguments, **named).arguments))

    command.__signature__ = shape  # ty: ignore[missing-attribute]
    command.__annotations__ = {item.name: item.annotation for item in shape.parameters.values()}
    command.__doc__ = WRAPPED.sub(" ", signature.doc)
    return command


def _parameter(written: Written, positional: bool, option: str) -> inspect.Parameter:
    plain = int if written.kind in NUMBERS else PLAIN.get(written.kind, str)
    marked: dict[str, Any] = {"name": option, "negative": "" if plain is bool else None}
    if plain is int:
        marked["converter"] = _whole
    if plain is bool:
        marked["show_default"] = False
    kind = Annotated[plain | None if written.optional else plain, Parameter(**marked)]  # ty: ignore[invalid-type-form]
    place = inspect.Parameter.POSITIONAL_OR_KEYWORD if positional else inspect.Parameter.KEYWORD_ONLY
    return inspect.Parameter(written.name, place, annotation=kind, default=written.default)


def _whole(_: Any, tokens: Sequence[Token]) -> int:
    text = tokens[0].value
    if not WHOLE.fullmatch(text):
        raise ValueError(f"{text!r:.40} is not a whole number.")
    return int(text)


def typed_values(signature: Signature, words: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """Return values in the types of a function's parameters.

    Args:
        signature: signature of the function.
        words: values by parameter, as `command_function` passes them.
        names: names of options that differ from the parameter's name, by parameter.

    Raises:
        SettingsError: a number is out of its bounds, or a value with parts is malformed.
    """
    return {item.name: _typed(item, option_of(item.name, names), words[item.name]) for item in signature.parameters if item.name in words}


def option_of(parameter: str, names: Mapping[str, str]) -> str:
    """Return the option of a parameter, such as `--first-seed`."""
    return f"--{names.get(parameter, parameter).replace('_', '-')}"


def _typed(written: Written, option: str, value: Any) -> Any:
    if written.kind in PLAIN:
        return value
    from pydantic import TypeAdapter, ValidationError

    from core import quantities, records
    from core.yaml_files import explain

    if written.kind.startswith("dict["):
        return _pairs(option, value)
    adapter: TypeAdapter[Any] = TypeAdapter({**vars(quantities), **vars(records)}[written.kind])
    try:
        return adapter.validate_json(value) if isinstance(value, str) else adapter.validate_python(value)
    except ValidationError as error:
        if isinstance(value, str):
            raise SettingsError(f"{option}, as JSON: {explain(error)}") from error
        raise SettingsError(f"{option} is {value}. Allowed: {error.errors()[0]['msg'].removeprefix('Input should be ')}.") from error


def _pairs(option: str, text: str) -> dict[str, str]:
    """Return `name=value,name=value` as a mapping."""
    parts = [part.strip().partition("=") for part in text.split(",")]
    if wrong := [name for name, separator, value in parts if not (name and separator and value)]:
        raise SettingsError(f"{option}: {wrong[0]!r:.80} has no value. Allowed: name=value, several separated by commas.")
    if len({name for name, _, _ in parts}) < len(parts):
        raise SettingsError(f"{option}: a name occurs twice. Give it once.")
    return {name: value for name, _, value in parts}

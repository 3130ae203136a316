"""Templates of strangers and of models: text that is filled in with plain values, within bounds of time and length, and does nothing else.

A subset of Jinja2 (docs/domain-packs.md): output, `if`, `for`, `set`, operators, and the filters below. It has no macro, no include, no method of a value but
`items`, `keys` and `values`, and no attribute but the keys of what it is given. Jinja's own sandbox is a second wall behind it.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, Undefined, meta, nodes, pass_context
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer
from pydantic import BaseModel

from core.errors import PackError
from core.packs.template_filters import BOUNDS, FILTERS, join, metered, spend, text_of, timed_test

LONGEST_TEMPLATE = 100_000
"""Characters; the longest shipped has a seventh of it."""

_NODES = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.CondExpr),
        *(nodes.List, nodes.Tuple, nodes.Concat, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
    }
)
_VIEWS = frozenset({"items", "keys", "values"})
_OF_A_LOOP = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
_NAMES_OF_JINJA = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_BITS = 64
_DOCS = "docs/domain-packs.md"


def inputs_of(text: str, where: str) -> frozenset[str]:
    """Return the names that a template is to be given.

    Args:
        where: the file that it stands in, for the error.

    Raises:
        PackError: it is no template, or uses what a template may not.
    """
    try:
        return _compiled(text)[1]
    except Exception as broken:  # Jinja's parser and Python's compiler raise many kinds
        raise PackError(f"{where}: not a Jinja2 template that may be used: {_reason(broken)}.") from broken


def fill(text: str, where: str, inputs: Mapping[str, Any]) -> str:
    """Return a template's text with its inputs, as plain values; text among them is data and is not expanded.

    Args:
        where: the file that it stands in, for the error.

    Raises:
        PackError: something in it cannot be calculated, is not there, or takes too long.
    """
    try:
        with metered():
            return "".join(_pieces(_compiled(text)[0].generate({name: plain(value) for name, value in inputs.items()})))
    except Exception as wrong:  # whatever an expression can raise
        raise PackError(f"{where}: the template fails: {_reason(wrong)}. Correct it there, and check it with understudy check-domain.") from wrong


def plain(value: Any) -> Any:
    """Return records, mappings and sequences as dictionaries and lists of texts and numbers."""
    if isinstance(value, Enum):
        return plain(value.value)
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable):
        return [plain(item) for item in value]
    raise TypeError(f"a {type(value).__name__} is not a plain value")


@lru_cache(maxsize=256)  # compiling takes longer than rendering, and each message is rendered from two
def _compiled(text: str) -> tuple[Template, frozenset[str]]:
    if len(text) > LONGEST_TEMPLATE:
        raise ValueError(f"it has {len(text):,} characters. Allowed: {LONGEST_TEMPLATE:,}")
    tree = _SANDBOX.parse(text)
    used = frozenset(meta.find_undeclared_variables(tree))
    for node in tree.find_all(nodes.Node):
        if refused := _refused(node):
            raise ValueError(
                f"line {node.lineno} has {refused}. Allowed: output, if, for, set, operators, the keys of its inputs, and the filters that {_DOCS} lists"
            )
    bounded: nodes.Template = _Bounds().visit(tree)
    bounded.set_environment(_SANDBOX)
    return _SANDBOX.from_string(bounded), used


def _refused(node: nodes.Node) -> str | None:
    """Say what a template may not have, if this is such a thing."""
    if type(node) not in _NODES:
        return f"a {type(node).__name__.lower()}"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop"
    if isinstance(node, nodes.Name) and node.name in _NAMES_OF_JINJA:
        return f"the name {node.name}"
    if isinstance(node, nodes.Call):
        called = node.node.attr if isinstance(node.node, nodes.Getattr) else None
        if called not in _VIEWS or node.args or node.kwargs or node.dyn_args or node.dyn_kwargs:
            return f"a call{f' of {called}' if called else ''}"
    if isinstance(node, nodes.Filter) and (node.name.startswith("_") or node.name not in _SANDBOX.filters):
        return f"the filter {node.name}"
    if isinstance(node, nodes.Filter | nodes.Test) and (node.dyn_args or node.dyn_kwargs):
        return "arguments with a star"
    return None


class _Bounds(NodeTransformer):
    """Puts what counts and checks into the places where Jinja's sandbox has no hook."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  Jinja's name
        """Count what a loop runs over."""
        self.generic_visit(node)
        node.iter = _through("_counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        """Count what `~` makes."""
        self.generic_visit(node)
        return _through("join", nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        """Keep lists flat."""
        self.generic_visit(node)
        return _through("_flat", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        """Keep tuples flat, where they are no targets."""
        self.generic_visit(node)
        return _through("_flat", node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802
        """Count what a slice copies, which Jinja does without asking the sandbox."""
        self.generic_visit(node)
        return _through("_counted_whole", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:  # noqa: N802
        """Count a comparison, which may read two lists whole."""
        self.generic_visit(node)
        return _through("_timed", node)


def _through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Sandbox(ImmutableSandboxedEnvironment):
    """Reads keys and positions of plain values, and calculates with numbers of an ordinary size."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value of a key, one of a mapping's three views, or what a loop knows of itself."""
        if (isinstance(obj, dict) and attribute in _VIEWS) or (isinstance(obj, LoopContext) and attribute in _OF_A_LOOP):
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return what stands at a key or a position."""
        if isinstance(obj, dict | list | tuple | str) and isinstance(argument, str | int | slice):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate, or join two texts."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return join(self, [left, right])
        if not (isinstance(left, int | float | Undefined) and isinstance(right, int | float | Undefined)):
            raise TypeError(f"`{operator}` takes two numbers, or `+` two texts")
        value = super().call_binop(context, operator, left, right)  # which raises what is undefined
        if isinstance(value, int) and value.bit_length() > _BITS:
            raise OverflowError(f"`{operator}` makes a number of more than {_BITS} bits")
        return value


def _pieces(made: Iterable[str]) -> Iterator[str]:
    for piece in made:
        spend(len(piece))
        yield piece


@pass_context
def _written(_context: Context, value: Any) -> str:  # with the context among its arguments nothing is written while a template is compiled
    return text_of(value)


def _reason(error: Exception) -> str:
    """Return an error's words on one line, and not many of them."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _sandbox() -> _Sandbox:
    sandbox = _Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, optimized=False, finalize=_written)
    sandbox.globals.clear()
    sandbox.filters = FILTERS | BOUNDS
    sandbox.tests = {name: timed_test(does) for name, does in sandbox.tests.items()}
    return sandbox


_SANDBOX = _sandbox()

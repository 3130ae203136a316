"""Templates by strangers and by models: they insert plain values into a text, within limits of time and length, and can do nothing else.

A template is a subset of Jinja2 (docs/domain-packs.md): output, `if`, `for`, `set`, operators, and the filters of `template_filters`. It has no macros and
no includes. Of a value it can use the keys and the methods `items`, `keys` and `values`. Jinja's own sandbox is a second line of defence.
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

MAX_TEMPLATE = 100_000
"""Maximum characters of a template; the longest included one has a seventh of this."""

_NODES = frozenset(
    {
        *(nodes.Template, nodes.Output, nodes.TemplateData, nodes.If, nodes.For, nodes.Assign),
        *(nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test, nodes.Call, nodes.Keyword, nodes.CondExpr),
        *(nodes.List, nodes.Tuple, nodes.Concat, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not),
        *(nodes.Add, nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos),
    }
)
_VIEWS = frozenset({"items", "keys", "values"})
_LOOP_ATTRIBUTES = frozenset({"index", "index0", "revindex", "revindex0", "first", "last", "length", "previtem", "nextitem"})
_JINJA_NAMES = frozenset({"self", "super", "caller", "varargs", "kwargs"})
_MAX_BITS = 64
"""Maximum size of a whole number that an operator may produce."""
_DOCS = "docs/domain-packs.md"


def inputs_of(text: str, where: str) -> frozenset[str]:
    """Return the names of a template's inputs.

    Args:
        text: the template.
        where: its file, for the error.

    Raises:
        PackError: the text is not a template, or uses something that a template may not.
    """
    try:
        return _compiled(text)[1]
    except Exception as broken:  # Jinja's parser and Python's compiler raise many kinds
        raise PackError(f"{where}: not a Jinja2 template that may be used: {_reason(broken)}.") from broken


def fill(text: str, where: str, inputs: Mapping[str, Any]) -> str:
    """Return a template rendered with its inputs, as plain values; texts among the inputs are data and are not expanded.

    Args:
        text: the template.
        where: its file, for the error.
        inputs: the inputs by name.

    Raises:
        PackError: an expression cannot be calculated, a value is missing, or the text exceeds a limit.
    """
    try:
        with metered():
            return "".join(_pieces(_compiled(text)[0].generate({name: plain(value) for name, value in inputs.items()})))
    except Exception as wrong:  # an expression can raise anything
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


@lru_cache(maxsize=256)  # compiling takes longer than rendering, and each message renders two templates
def _compiled(text: str) -> tuple[Template, frozenset[str]]:
    if len(text) > MAX_TEMPLATE:
        raise ValueError(f"it has {len(text):,} characters. Allowed: {MAX_TEMPLATE:,}")
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
    """Return a phrase for a node that a template may not have, or None for an allowed one."""
    if type(node) not in _NODES:
        return f"a {type(node).__name__.lower()}"
    if isinstance(node, nodes.For) and node.recursive:
        return "a recursive loop"
    if isinstance(node, nodes.Name) and node.name in _JINJA_NAMES:
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
    """Inserts counting and checking filters where Jinja's sandbox has no hook."""

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  Jinja's name
        """Count the items of a loop."""
        self.generic_visit(node)
        node.iter = _through("_counted", node.iter)
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        """Count the text that `~` produces."""
        self.generic_visit(node)
        return _through("join", nodes.List(node.nodes, lineno=node.lineno))

    def visit_List(self, node: nodes.List) -> nodes.Expr:  # noqa: N802
        """Keep lists flat."""
        self.generic_visit(node)
        return _through("_flat", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Expr:  # noqa: N802
        """Keep tuples flat, unless they are targets of an assignment."""
        self.generic_visit(node)
        return _through("_flat", node) if node.ctx == "load" else node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802
        """Count the items that a slice copies, which Jinja does without the sandbox."""
        self.generic_visit(node)
        return _through("_counted_whole", node) if isinstance(node.arg, nodes.Slice) else node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Expr:  # noqa: N802
        """Count a comparison, which may read two complete lists."""
        self.generic_visit(node)
        return _through("_timed", node)


def _through(name: str, node: Any) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja sandbox that reads only keys and positions of plain values and calculates only with numbers of limited size."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Return the value of a key, one of a mapping's three views, or an attribute of a loop."""
        if (isinstance(obj, dict) and attribute in _VIEWS) or (isinstance(obj, LoopContext) and attribute in _LOOP_ATTRIBUTES):
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Return the value at a key or a position."""
        if isinstance(obj, dict | list | tuple | str) and isinstance(argument, str | int | slice):
            try:
                return obj[argument]
            except (TypeError, LookupError):
                pass
        return self.undefined(obj=obj, name=argument)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Return the result of an operator: a number, or two texts joined by `+`."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            return join(self, [left, right])
        if not (isinstance(left, int | float | Undefined) and isinstance(right, int | float | Undefined)):
            raise TypeError(f"`{operator}` takes two numbers, or `+` two texts")
        value = super().call_binop(context, operator, left, right)  # raises an error for an undefined operand
        if isinstance(value, int) and value.bit_length() > _MAX_BITS:
            raise OverflowError(f"`{operator}` makes a number of more than {_MAX_BITS} bits")
        return value


def _pieces(pieces: Iterable[str]) -> Iterator[str]:
    for piece in pieces:
        spend(len(piece))
        yield piece


@pass_context
def _written(_context: Context, value: Any) -> str:  # an argument for the context stops Jinja from calling it while it compiles a template
    return text_of(value)


def _reason(error: Exception) -> str:
    """Return an error's message on one line, shortened to 300 characters."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__


def _sandbox() -> _Sandbox:
    sandbox = _Sandbox(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False, optimized=False, finalize=_written)
    sandbox.globals.clear()
    sandbox.filters = FILTERS | BOUNDS
    sandbox.tests = {name: timed_test(test) for name, test in sandbox.tests.items()}
    return sandbox


_SANDBOX = _sandbox()

"""The reference of settings describes the allowed values of every row."""

from typing import Annotated, Literal

from pydantic import Field

from core.settings.reference import setting_rows, value_of
from core.yaml_files import Strict


class Inner(Strict):
    """A part."""

    low: Annotated[float, Field(ge=0, lt=1)]
    """The least."""
    high: int | None
    """The most
    that there is."""


class Outer(Strict):
    """A file."""

    kind: Literal["a", "b"]
    """Which."""
    inner: Inner
    many: dict[str, Inner] = Field(description="By name.")


def test_the_reference_includes_sections_and_mappings_and_describes_types_in_words():
    rows = {row.name: row for row in setting_rows(Outer)}
    assert list(rows) == ["kind", "inner", "inner.low", "inner.high", "many", "many.<name>.low", "many.<name>.high"]
    assert rows["kind"].kind == "one of `a`, `b`"
    assert rows["inner.low"].kind == "number ≥ 0 and < 1"
    assert rows["inner.high"].kind == "whole number or nothing"
    assert rows["many"].meaning == "By name."
    assert rows["inner.high"].meaning == "The most that there is."


def test_the_reference_writes_values_as_in_the_file():
    data = {"a": {"b": [1, 2], "c": None, "d": True}}
    assert [value_of(data, name) for name in ("a.b", "a.c", "a.d", "a", "a.x")] == ["1, 2", "null", "true", "", ""]

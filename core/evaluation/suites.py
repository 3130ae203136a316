"""Suites: lists of questions that are asked in addition to the compared conversations."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import PackError
from core.fingerprint import fingerprint
from core.records import ModelChoice, Record
from core.yaml_files import Strict, explain, read_yaml

Item = TypeVar("Item")
FileItem = TypeVar("FileItem", bound="SuiteItem")

SuiteName = Literal["general", "refusals"]
BILLED = ("general-", "refusals-", "battery-")
"""Prefixes of the names of these calls in the bill."""


class SuiteItem(Strict):
    """An item of a suite's file; a selection of items is spread evenly over their kinds.

    Args:
        name: its name, which no other item of the suite has.
    """

    name: str
    kind: str


def spread_over(items: Sequence[Item], part: Callable[[Item], Hashable], count: int | None) -> tuple[Item, ...]:
    """Return a selection of items in their order, spread as evenly over their parts as the sizes of the parts allow.

    The selection is deterministic. A larger selection contains each smaller one, so that answers that are already paid for are used again.

    Args:
        part: returns the part (gate, class, kind) of an item.
        count: number of items; None, or more than there are, selects all.
    """
    seen: Counter[Hashable] = Counter()
    rounds: list[tuple[int, int]] = []
    for place, item in enumerate(items):
        rounds.append((seen[part(item)], place))
        seen[part(item)] += 1
    chosen = sorted(place for _, place in sorted(rounds)[:count])
    return tuple(items[place] for place in chosen)


def load_items(path: Path, form: TypeAdapter[list[FileItem]], what: str) -> tuple[FileItem, ...]:
    """Read the items of a suite.

    Args:
        what: the items in words, for the error.

    Raises:
        PackError: the file is missing or of another form, or two items have the same name.
    """
    try:
        items = form.validate_python(read_yaml(path, PackError))
    except ValidationError as invalid:
        raise PackError(f"{path}: {explain(invalid)}") from invalid
    names = [item.name for item in items]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PackError(f"{path}: two {what} are called {twice[0]!r}. Give each a name of its own.")
    return tuple(items)


class Question(Record):
    """A question of a suite to a model, without a system prompt: all inputs of the call.

    Args:
        choice: the model.
        name: name of the question in its suite.
        max_tokens: tokens of the answer.
    """

    suite: SuiteName
    choice: ModelChoice
    name: str
    prompt: str
    max_tokens: int

    @property
    def item(self) -> str:
        """Name of the call in the bill."""
        return f"{self.suite}-{fingerprint(self)}"


class ModelAnswer(Record):
    """A model's answer to a question.

    Args:
        answer: the answer, empty if the model wrote nothing; None if the call failed.
        declined: whether the provider ended the call as a refusal.
        lost: why the call failed.
    """

    answer: str | None
    declined: bool = False
    lost: str | None = None

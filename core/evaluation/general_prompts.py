"""General prompts: questions outside any domain, which show what a training has spoiled."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from core.errors import PackError
from core.evaluation.arms import Arm
from core.evaluation.facts import GeneralAnswer
from core.fingerprint import fingerprint
from core.packs.prompts import shared_file
from core.records import ModelChoice, Record
from core.yaml_files import Strict, explain, read_yaml

ITEM = "general-"
"""With which the names of these calls begin on the bill."""


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as broken:
        raise ValueError(f"{pattern!r} is not a regular expression: {broken}") from broken
    return pattern


class GeneralPrompt(Strict):
    """A question and how its answer is known to be right.

    Args:
        expected: what a right answer has, in words.
        pattern: the same as a regular expression, looked for anywhere in the answer, whatever the case; a dot is any character.
    """

    name: str
    prompt: Annotated[str, Field(min_length=1)]
    expected: str
    pattern: Annotated[str, AfterValidator(_compiles)]

    def is_right(self, answer: str) -> bool:
        """Say whether an answer has what it should."""
        return re.search(self.pattern, answer.strip(), re.IGNORECASE | re.DOTALL) is not None


def load_general_prompts(path: Path | None = None) -> tuple[GeneralPrompt, ...]:
    """Read the questions.

    Args:
        path: of another file than `prompts/shared/general.yaml`.

    Raises:
        PackError: the file is missing or not of this form, or two questions have the same name.
    """
    path = path or shared_file("general.yaml")
    try:
        prompts = TypeAdapter(list[GeneralPrompt]).validate_python(read_yaml(path, PackError))
    except ValidationError as invalid:
        raise PackError(f"{path}: {explain(invalid)}") from invalid
    names = [item.name for item in prompts]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise PackError(f"{path}: two general prompts are called {twice[0]!r}. Give each a name of its own.")
    return tuple(prompts)


class GeneralPlan(Record):
    """All that the answer to a general prompt depends on."""

    choice: ModelChoice
    name: str
    prompt: str
    max_tokens: int

    @property
    def item(self) -> str:
        """Its name on the bill."""
        return f"{ITEM}{fingerprint(self)}"


def plan_general(room: int, arm: Arm) -> dict[str, GeneralPlan]:
    """Plan an arm's answers, by the prompt's name.

    Args:
        room: tokens of an answer; with 0 nothing is asked.
    """
    asked = load_general_prompts() if room else ()
    return {item.name: GeneralPlan(choice=arm.choice, name=item.name, prompt=item.prompt, max_tokens=room) for item in asked}


def marked(asked: GeneralPrompt, answer: str | None, lost: str | None) -> GeneralAnswer:
    """Return an answer with whether it is right, or why there is none."""
    right = None if answer is None else asked.is_right(answer)
    return GeneralAnswer(name=asked.name, prompt=asked.prompt, expected=asked.expected, answer=answer, right=right, lost=lost)

"""General prompts: questions outside any domain, which show what a training has spoiled."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from core.errors import PackError
from core.evaluation.suites import Said, spread_over
from core.packs.prompts import shared_file
from core.records import Record
from core.settings.evaluation import EvaluationSettings
from core.yaml_files import Strict, explain, read_yaml


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as broken:
        raise ValueError(f"{pattern!r} is not a regular expression: {broken}") from broken
    return pattern


class GeneralPrompt(Strict):
    """A question and how its answer is known to be right.

    Args:
        kind: what it takes, such as arithmetic; a part of the questions is spread evenly over the kinds.
        expected: what a right answer has, in words.
        pattern: the same as a regular expression, looked for anywhere in the answer, whatever the case; a dot is any character.
        right, wrong: answers that a test holds against the pattern.
    """

    name: str
    kind: str
    prompt: Annotated[str, Field(min_length=1)]
    expected: str
    pattern: Annotated[str, AfterValidator(_compiles)]
    right: Annotated[list[str], Field(min_length=1)]
    wrong: Annotated[list[str], Field(min_length=1)]

    def is_right(self, answer: str) -> bool:
        """Say whether an answer has what it should."""
        return re.search(self.pattern, answer.strip(), re.IGNORECASE | re.DOTALL) is not None


class GeneralAnswer(Record):
    """What an arm makes of a general prompt, one that has nothing to do with the domain.

    Args:
        name, kind: of the prompt, the same for all arms.
        expected: in words, what a right answer has.
        answer: empty where the model wrote nothing; none where the call failed.
        right: whether it has that; none where the call failed.
        lost: why the call failed.
    """

    name: str
    kind: str = ""
    prompt: str
    expected: str
    answer: str | None
    right: bool | None
    lost: str | None = None


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


def general_questions(numbers: EvaluationSettings) -> tuple[GeneralPrompt, ...]:
    """Return the questions that an evaluation asks; none where the settings leave no room for an answer."""
    return spread_over(load_general_prompts(), lambda item: item.kind, numbers.suite_items) if numbers.general_max_tokens else ()


def marked(asked: GeneralPrompt, said: Said) -> GeneralAnswer:
    """Return an answer with whether it is right, or why there is none; a model that writes nothing is not right."""
    right = None if said.answer is None else asked.is_right(said.answer)
    return GeneralAnswer(name=asked.name, kind=asked.kind, prompt=asked.prompt, expected=asked.expected, answer=said.answer, right=right, lost=said.lost)

"""General prompts: questions outside any domain, which show abilities that training has damaged."""

import re
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, TypeAdapter

from core.evaluation.suites import ModelAnswer, SuiteItem, load_items, spread_over
from core.packs.prompts import shared_file
from core.records import Record
from core.settings.evaluation import EvaluationSettings


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as broken:
        raise ValueError(f"{pattern!r} is not a regular expression: {broken}") from broken
    return pattern


class GeneralPrompt(SuiteItem):
    """A question and the check of its answer.

    Args:
        kind: the ability that it tests, such as arithmetic.
        expected: description of a right answer.
        pattern: regular expression of a right answer, searched anywhere in the answer, ignoring case; a dot also matches a newline.
        right, wrong: example answers with which a test checks the pattern.
    """

    prompt: Annotated[str, Field(min_length=1)]
    expected: str
    pattern: Annotated[str, AfterValidator(_compiles)]
    right: Annotated[list[str], Field(min_length=1)]
    wrong: Annotated[list[str], Field(min_length=1)]

    def is_right(self, answer: str) -> bool:
        """Return whether an answer is right."""
        return re.search(self.pattern, answer.strip(), re.IGNORECASE | re.DOTALL) is not None


class GeneralAnswer(Record):
    """An arm's answer to a general prompt.

    Args:
        name, kind: name and kind of the prompt.
        expected: description of a right answer.
        answer: the answer, empty if the model wrote nothing; None if the call failed.
        right: whether the answer is right; None if the call failed.
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
    """Read the general prompts.

    Args:
        path: the file; None for `prompts/shared/general.yaml`.

    Raises:
        PackError: the file is missing or of another form, or two prompts have the same name.
    """
    return load_items(path or shared_file("general.yaml"), TypeAdapter(list[GeneralPrompt]), "general prompts")


def general_questions(numbers: EvaluationSettings) -> tuple[GeneralPrompt, ...]:
    """Return the general prompts that an evaluation asks; none if the settings skip them (`general_max_tokens` is 0)."""
    return spread_over(load_general_prompts(), lambda item: item.kind, numbers.suite_items) if numbers.general_max_tokens else ()


def marked(asked: GeneralPrompt, reply: ModelAnswer) -> GeneralAnswer:
    """Return a model's answer, marked right or wrong; an empty answer is wrong."""
    right = None if reply.answer is None else asked.is_right(reply.answer)
    return GeneralAnswer(name=asked.name, kind=asked.kind, prompt=asked.prompt, expected=asked.expected, answer=reply.answer, right=right, lost=reply.lost)

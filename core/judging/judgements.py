"""A judge's reply: its schema, and how it is parsed."""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidOutputError, TruncatedError
from core.llm.chat import Reply
from core.packs.pack import Criterion
from core.records import Answer, Verdict
from core.yaml_files import explain


class _Judged(BaseModel):
    model_config = ConfigDict(extra="forbid")
    reasoning: str
    cited: list[int]
    answer: str


class _JudgedCriterion(_Judged):
    criterion: str


class _Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid")
    verdicts: list[_JudgedCriterion]


def answer_schema(criteria: Sequence[str], alone: bool) -> dict[str, Any]:
    """Return the JSON schema of a judgement: reasoning first, the answer last.

    Args:
        criteria: ids of all that may be asked about the transcript. A schema that is the same in each call about it keeps the provider's prompt cache.
        alone: whether a call asks one criterion and its answer is no list.
    """
    properties: dict[str, Any] = {
        "criterion": {"type": "string", "enum": list(criteria)},
        "reasoning": {"type": "string"},
        "cited": {"type": "array", "items": {"type": "integer"}},
        "answer": {"type": "string", "enum": ["YES", "NO", "NA"]},
    }
    if alone:
        del properties["criterion"]
    verdict = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    if alone:
        return verdict
    return {
        "type": "object",
        "properties": {"verdicts": {"type": "array", "items": verdict}},
        "required": ["verdicts"],
        "additionalProperties": False,
    }


def read_judgement(reply: Reply, criteria: Sequence[Criterion], exchanges: int, alone: bool = False) -> list[Verdict]:
    """Turn a judge's reply into one verdict for each criterion that was asked, in that order.

    A criterion that is missing, answered twice, answered with another word, or rests on an exchange that does not exist gets ERROR. Criteria that were
    not asked are ignored.

    Args:
        exchanges: how many the transcript has.
        alone: whether one criterion was asked and the reply is no list.

    Raises:
        ModelError: the reply is truncated or is not the JSON that was asked for.
    """
    if reply.finish == "length":
        raise TruncatedError("The judgement was cut off. Raise assessment.max_tokens.")
    try:
        if alone:
            items = [_JudgedCriterion(criterion=criteria[0].id, **_Judged.model_validate_json(reply.text).model_dump())]
        else:
            items = _Judgement.model_validate_json(reply.text).verdicts
    except ValidationError as invalid:
        raise InvalidOutputError(f"The judgement is invalid: {explain(invalid)}") from invalid
    return [_verdict(criterion.id, [item for item in items if item.criterion == criterion.id], exchanges) for criterion in criteria]


def unusable(criterion: str, reason: str) -> Verdict:
    """Return the verdict on a criterion without a usable answer."""
    return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=reason)


def _verdict(criterion: str, answers: Sequence[_JudgedCriterion], exchanges: int) -> Verdict:
    if len(answers) != 1:
        return unusable(criterion, f"The judge answered this criterion {len(answers)} times.")
    item = answers[0]
    if item.answer not in ("YES", "NO", "NA"):
        return unusable(criterion, f"The judge answered {item.answer!r}; allowed are YES, NO and NA.")
    if missing := [number for number in item.cited if not 1 <= number <= exchanges]:
        return unusable(criterion, f"The judge cites exchanges {missing}; there are {exchanges}.")
    return Verdict(criterion=criterion, answer=Answer(item.answer), reasoning=item.reasoning, cited=item.cited)

"""One judge, one transcript: the request, and the reading of what comes back."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.chat import ChatModel, ChatRequest, Message, Reply
from core.errors import ContextError, InvalidOutputError, ModelError, TruncatedError
from core.fingerprint import seed_of
from core.measures import measure
from core.pack import Criterion, Pack
from core.records import Answer, Assessment, Transcript, Verdict
from core.scoring import applicable, score
from core.yaml_files import explain

Count = Callable[[str], int]
MARGIN = 1.1
"""By which a judge's own tokens may be more than those that are counted here."""


class _JudgedCriterion(BaseModel):
    model_config = ConfigDict(extra="forbid")
    criterion: str
    reasoning: str
    cited: list[int]
    answer: str


class _Judgement(BaseModel):
    model_config = ConfigDict(extra="forbid")
    verdicts: list[_JudgedCriterion]


async def assess(pack: Pack, judge: ChatModel, transcript: Transcript, max_tokens: int, context: int | None = None, count: Count = len) -> Assessment:
    """Judge a transcript on every criterion that applies to its length, in one structured call.

    A judgement that leaves a criterion out, answers it with another word, or cites an exchange that does not exist is asked for again; what is still
    so then is ERROR. An answer that is refused, truncated or does not have the asked form gives ERROR for every criterion; so does a transcript that the judge
    cannot read whole. It is not sent then, and never cut.

    Args:
        pack: the domain, with the rubric.
        max_tokens: room for the judgement.
        context: how many tokens the judge's prompt and answer may take together, where that is known.
        count: counts a text's tokens.
    """
    criteria = applicable(pack.rubric, len(transcript.exchanges))
    readable: list[Reply] = []

    def check(reply: Reply) -> None:
        verdicts = read_judgement(reply, criteria, len(transcript.exchanges))
        readable.append(reply)
        if wrong := [f"{verdict.criterion}: {verdict.reasoning}" for verdict in verdicts if verdict.answer is Answer.ERROR]:
            raise InvalidOutputError(f"the judgement cannot be used whole. {' '.join(wrong[:3])}")

    request = replace(_request(pack, judge, transcript, criteria, max_tokens), check=check)
    try:
        if context:
            _check_fits(judge.reference, count(request.messages[0].content), max_tokens, context)
        try:
            reply = await judge.complete(request)
        except InvalidOutputError:
            if not readable:
                raise
            reply = readable[-1]
        verdicts = read_judgement(reply, criteria, len(transcript.exchanges))
    except ModelError as error:
        verdicts = [Verdict(criterion=criterion.id, answer=Answer.ERROR, reasoning=str(error)) for criterion in criteria]
    return Assessment(
        transcript_id=transcript.id,
        judge=judge.reference,
        rubric_hash=pack.rubric.hash,
        verdicts=verdicts,
        score=score(pack.rubric, verdicts, len(transcript.exchanges)),
        caveat=judge.caveat,
        provenance={"domain": pack.name, "pack_hash": pack.hash},
    )


def _request(pack: Pack, judge: ChatModel, transcript: Transcript, criteria: Sequence[Criterion], max_tokens: int) -> ChatRequest:
    inputs = {
        "exchanges": [exchange.model_dump() for exchange in transcript.exchanges],
        "facts": measure(transcript.exchanges),
        "criteria": [{**criterion.head.model_dump(), "text": criterion.text} for criterion in criteria],
    }
    return ChatRequest(
        role="judge",
        system="",
        messages=(Message("user", pack.prompts["assessor"].render(**inputs)),),
        max_tokens=max_tokens,
        seed=seed_of("judge", judge.reference, transcript.id),
        schema=answer_schema(criteria),
        volatile=1,  # one call: nobody would read what was put into the cache
        item=transcript.id,
        inputs=inputs,
    )


def _check_fits(judge: str, tokens: int, max_tokens: int, context: int) -> None:
    if tokens * MARGIN + max_tokens > context:
        raise ContextError(
            f"The prompt takes about {tokens:,} tokens and the judgement up to {max_tokens:,}; {judge} holds {context:,}. Name a judge that holds more, or "
            "lower assessment.max_tokens."
        )


def read_judgement(reply: Reply, criteria: Sequence[Criterion], exchanges: int) -> list[Verdict]:
    """Turn a judge's reply into one verdict per criterion, in the criteria's order.

    A criterion that is missing, answered twice, answered with another word, or rests on an exchange that does not exist gets ERROR.

    Raises:
        ModelError: the reply is truncated or is not the JSON that was asked for.
    """
    if reply.finish == "length":
        raise TruncatedError("The judgement was cut off. Raise assessment.max_tokens.")
    judgement = _read(reply)
    return [_verdict(criterion.id, [item for item in judgement.verdicts if item.criterion == criterion.id], exchanges) for criterion in criteria]


def _read(reply: Reply) -> _Judgement:
    try:
        return _Judgement.model_validate_json(reply.text)
    except ValidationError as invalid:
        raise InvalidOutputError(f"The judgement has not the asked form: {explain(invalid)}") from invalid


def _verdict(criterion: str, found: Sequence[_JudgedCriterion], exchanges: int) -> Verdict:
    if len(found) != 1:
        return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=f"The judge answered this criterion {len(found)} times.")
    item = found[0]
    if item.answer not in ("YES", "NO", "NA"):
        return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=f"The judge answered {item.answer!r}; allowed are YES, NO and NA.")
    if missing := [number for number in item.cited if not 1 <= number <= exchanges]:
        return Verdict(criterion=criterion, answer=Answer.ERROR, reasoning=f"The judge cites exchanges {missing}; there are {exchanges}.")
    return Verdict(criterion=criterion, answer=Answer(item.answer), reasoning=item.reasoning, cited=item.cited)


def answer_schema(criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return the JSON schema of a judgement: reasoning first, the answer last."""
    verdict = {
        "type": "object",
        "properties": {
            "criterion": {"type": "string", "enum": [criterion.id for criterion in criteria]},
            "reasoning": {"type": "string"},
            "cited": {"type": "array", "items": {"type": "integer"}},
            "answer": {"type": "string", "enum": ["YES", "NO", "NA"]},
        },
        "required": ["criterion", "reasoning", "cited", "answer"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"verdicts": {"type": "array", "items": verdict}},
        "required": ["verdicts"],
        "additionalProperties": False,
    }

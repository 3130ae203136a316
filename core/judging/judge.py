"""One judge, one transcript: the calls, and the assessment from their answers."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import ContextError, InvalidOutputError, ModelError
from core.fingerprint import seed_of
from core.judging.call_log import JudgementLog
from core.judging.empty_words import keep_tally
from core.judging.facts import measure
from core.judging.judgements import Form, Judgement, answer_schema, read_judgement, unusable
from core.judging.scoring import applicable, score, value_of
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.families import shared_family, writer_of
from core.packs.openings import heard
from core.packs.pack import Criterion, Pack, Rubric
from core.records import Answer, Assessment, Opinion, Transcript, Verdict
from core.settings.assessment import Judging

Count = Callable[[str], int]
MARGIN = 1.1
"""By which a judge's own tokens may be more than those that are counted here."""

FORMS: dict[str, Form] = {"single": "object", "category": "list", "criterion": "alone", "compact": "object"}
"""Of the answer to one call, by mode."""

EXAMPLES = "**Examples**"
"""Begins a criterion's examples, which end its text."""

CONFIRMATIONS = {"never": 0, "second": 1, "majority": 2}
"""How often a failed gate may be asked again."""


@dataclass(frozen=True)
class JudgeContext:
    """A judge and the transcript that it assesses.

    Args:
        pack: the domain, with the rubric.
        max_tokens: room for the answer of one call.
        context: how many tokens a prompt and its answer may take together, where that is known; count: counts a text's tokens.
        repeat: which of several assessments of the same transcript by the same judge.
        log: stores each call's answer as it arrives.
        item: what its calls are billed for; the transcript if empty.
        tally: of the judge's verdicts in this run, those that say nothing among them.
    """

    pack: Pack
    judge: ChatModel
    transcript: Transcript
    how: Judging
    max_tokens: int
    context: int | None = None
    count: Count = len
    repeat: int = 0
    log: JudgementLog = field(default_factory=JudgementLog)
    item: str = ""
    tally: Counter[str] = field(default_factory=Counter)


async def assess(context: JudgeContext) -> Assessment:
    """Judge a transcript on every criterion that applies to its length.

    With several calls, the first goes alone, so that the others find the transcript in the provider's prompt cache. A reply is read leniently, and what
    was looked past is counted. One that leaves a criterion out, answers it with another word, cites an exchange that does not exist or says nothing is
    asked for again; what is still so then is ERROR. An answer that is refused, truncated or cannot be understood gives ERROR for what was asked; so does a
    transcript that the judge cannot read whole: it is not sent then, and never cut. A gate that fails is asked again as `how.confirm_gates` says.

    Raises:
        RunStoppedError: no further calls are possible, or the judge says nothing too often; the answers so far are in the log.
    """
    pack, transcript = context.pack, context.transcript
    exchanges = len(transcript.exchanges)
    criteria = applicable(pack.rubric, exchanges)
    answered = {verdict.criterion: verdict for verdict in await _confirmed(context, await _ask_all(context, criteria) if criteria else [])}
    verdicts = [answered[criterion.id] for criterion in criteria]
    return Assessment(
        transcript_id=transcript.id,
        judge=context.judge.reference,
        rubric_hash=pack.rubric.hash,
        verdicts=verdicts,
        score=score(pack.rubric, verdicts, exchanges),
        caveat=context.judge.caveat,
        shared_family=shared_family(context.judge.reference, writer_of(transcript)),
        provenance={"domain": pack.name, "pack_hash": pack.hash, **context.how.model_dump(), "repeat": context.repeat}
        | {"repaired": context.log.repaired, "heard": dict(context.log.heard)},
    )


async def _ask_all(context: JudgeContext, criteria: Sequence[Criterion], again: int = 0) -> list[Verdict]:
    first, *others = _calls(context, criteria)
    verdicts = await _ask(context, first, again)
    # an error that stops the run waits for the other calls: their answers are paid for
    rest = await asyncio.gather(*(_ask(context, call, again) for call in others), return_exceptions=True)
    for answer in rest:
        if isinstance(answer, BaseException):
            raise answer
        verdicts += answer
    return verdicts


def _calls(context: JudgeContext, criteria: Sequence[Criterion]) -> list[list[Criterion]]:
    """Group the criteria by call."""
    if context.how.mode == "single":
        return [list(criteria)]
    kinds: dict[str, list[Criterion]] = {}
    for criterion in criteria:
        kinds.setdefault(criterion.id if context.how.mode == "criterion" else criterion.head.category or "gates", []).append(criterion)
    return list(kinds.values())


async def _ask(context: JudgeContext, criteria: Sequence[Criterion], again: int) -> list[Verdict]:
    """Make one call, or take its answer from the log; an unusable answer gives ERROR verdicts."""
    call = f"{again} {' '.join(criterion.id for criterion in criteria)}"
    if kept := context.log.find(call):
        return kept
    judgements: list[Judgement] = []
    request = _request(context, criteria, again)
    exchanges, alone, asked = len(context.transcript.exchanges), context.how.mode == "criterion", [message.content for message in request.messages]

    def read(reply: Reply) -> None:
        others = context.log.said_of_others(criteria)
        judgement = read_judgement(reply, criteria, exchanges, alone, asked, context.pack.rubric, others)
        judgements.append(judgement)
        keep_tally((context.log.heard, context.tally), context.judge.reference, [verdict.criterion in judgement.empty for verdict in judgement.verdicts])
        if wrong := [f"{verdict.criterion}: {verdict.reasoning}" for verdict in judgement.unusable]:
            raise InvalidOutputError(f"the judge's reply cannot be used whole. {' '.join(wrong[:3])}")

    try:
        _check_fits(context, request)
        try:
            reply = await context.judge.complete(replace(request, check=read))
            if not judgements:  # the model is one that checks nothing
                read(reply)
        except InvalidOutputError:
            if not judgements:
                raise
    except ModelError as error:
        return [unusable(criterion.id, str(error)) for criterion in criteria]
    judgement = judgements[-1]
    if not judgement.unusable:
        context.log.add(call, judgement.verdicts, judgement.repaired)
    return judgement.verdicts


def _request(context: JudgeContext, criteria: Sequence[Criterion], again: int) -> ChatRequest:
    pack, judge, transcript, how = context.pack, context.judge, context.transcript, context.how
    seed = seed_of("judge", judge.reference, transcript.id, context.repeat, again, *(criterion.id for criterion in criteria))
    asked = random.Random(seed).sample(criteria, len(criteria)) if how.shuffle else list(criteria)
    inputs = {
        "exchanges": heard(transcript),
        "facts": measure(transcript.exchanges, pack.tics),
        "criteria": [asked_of(pack.rubric, criterion, how.mode != "compact") for criterion in asked],
        "alone": how.mode == "criterion",
        "listed": how.mode == "category",
    }
    return ChatRequest(
        role="judge",
        system="",
        messages=tuple(Message("user", pack.prompts[name].render(**inputs)) for name in ("assessor", "assessor_question")),
        max_tokens=context.max_tokens,
        seed=seed,
        schema=_schema(context, criteria),
        volatile=2 if how.mode == "single" else 1,  # nothing would read the cache entry of a single call
        item=context.item or transcript.id,
        inputs=inputs,
    )


def _schema(context: JudgeContext, criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return the form of an answer: with a key for each criterion where one call asks them all; the same in several calls, which share a prompt cache."""
    rubric, form, exchanges = context.pack.rubric, FORMS[context.how.mode], len(context.transcript.exchanges)
    named = criteria if form == "object" else applicable(rubric, exchanges)
    names = {criterion.id for criterion in named}
    return answer_schema([name for name in rubric.criteria if name in names], form, exchanges, bool(rubric.numbers.forgives))


def asked_of(rubric: Rubric, criterion: Criterion, examples: bool = True) -> dict[str, Any]:
    """Return what a prompt may say of a criterion."""
    text = criterion.text if examples else criterion.text.partition(EXAMPLES)[0].strip()
    return {**criterion.head.model_dump(), "text": text, "forgives": criterion.id in rubric.numbers.forgives}


def _check_fits(context: JudgeContext, request: ChatRequest) -> None:
    if context.context is None:
        return
    tokens = sum(context.count(message.content) for message in request.messages)
    if tokens * MARGIN + context.max_tokens > context.context:
        raise ContextError(
            f"The prompt takes about {tokens:,} tokens and the judgement up to {context.max_tokens:,}; {context.judge.reference} holds {context.context:,}. "
            "Name a judge that holds more, or lower assessment.max_tokens."
        )


async def _confirmed(context: JudgeContext, verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Ask failed gates again, without showing earlier answers, until it is decided whether they fail."""
    gates = context.pack.rubric.criteria
    asked = {
        verdict.criterion: [verdict] for verdict in verdicts if gates[verdict.criterion].head.gate and value_of(gates[verdict.criterion], verdict.answer) == 0
    }
    for again in range(1, CONFIRMATIONS[context.how.confirm_gates] + 1):
        open_still = [gates[name] for name, answers in asked.items() if _undecided(gates[name], answers)]
        for verdict in await _ask_all(context, open_still, again) if open_still else []:
            asked[verdict.criterion].append(verdict)
    return [_settled(context.judge.reference, gates[item.criterion], asked[item.criterion]) if item.criterion in asked else item for item in verdicts]


def _undecided(gate: Criterion, answers: Sequence[Verdict]) -> bool:
    values = [value_of(gate, verdict.answer) for verdict in answers]
    return None not in values and values.count(0.0) < 2


def _settled(judge: str, gate: Criterion, answers: Sequence[Verdict]) -> Verdict:
    """Return the result of several answers to one gate: the last one under each policy, because asking ends when it is decided.

    A failure that could not be confirmed is ERROR: neither a failure nor a pass.
    """
    if len(answers) == 1:
        return answers[0]
    last = answers[-1]
    if last.answer is Answer.ERROR:
        last = unusable(gate.id, f"The gate failed, and asking again gave no usable answer: {last.reasoning}")
    opinions = [Opinion(judge=judge, answer=item.answer, reasoning=item.reasoning, cited=item.cited) for item in answers]
    return last.model_copy(update={"opinions": opinions})

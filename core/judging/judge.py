"""One judge, one transcript: the calls, and the assessment from their answers."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import ContextError, InvalidOutputError, ModelError, TruncatedError
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
"""Factor by which a judge's own token count may exceed the count made here."""

FORMS: dict[str, Form] = {"single": "object", "category": "list", "criterion": "alone", "compact": "object"}
"""The form of one call's answer, by mode."""

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
        tally: counts the judge's verdicts in this run, and those that say nothing.
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


@dataclass(frozen=True)
class Call:
    """One request to a judge.

    Args:
        criteria: that it asks; again: how often the same was asked before.
    """

    criteria: tuple[Criterion, ...]
    again: int = 0

    @property
    def name(self) -> str:
        """What the log knows it by."""
        return f"{self.again} {' '.join(criterion.id for criterion in self.criteria)}"


Answers = Mapping[str, Sequence[Verdict]]
"""The verdicts of each call, by its name; ERROR where no usable answer came."""


async def assess(context: JudgeContext) -> Assessment:
    """Judge a transcript on every criterion that applies to its length.

    - Calls. With several calls, the first is sent alone, so that the others find the transcript in the provider's prompt cache.
    - Replies. A reply with small faults of form is read, and the faults are counted. A reply is requested again if it leaves out a criterion, answers with
      another word than YES, NO or NA, cites an exchange that does not exist, or says nothing. If the fault remains, that verdict is ERROR.
    - Failures. An answer that is refused, truncated or unreadable gives ERROR for each criterion of its call. A transcript that does not fit into the
      judge's context is not sent, never cut, and gives ERROR.
    - Gates. A failed gate is asked again as `how.confirm_gates` says.

    Raises:
        RunStoppedError: no further calls are possible, or the judge says nothing too often; the answers so far are in the log.
    """
    pack, transcript = context.pack, context.transcript
    exchanges, answers = len(transcript.exchanges), context.log.answers
    while calls := open_calls(context, answers):
        answers = {**answers, **await _ask_all(context, calls)}
    asked = _follow(context, answers)[1]
    verdicts = [_result(context.judge.reference, criterion, asked[criterion.id]) for criterion in applicable(pack.rubric, exchanges)]
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


def open_calls(context: JudgeContext, answers: Answers) -> list[Call]:
    """Return the calls that are due: those that ask each criterion, and when these are answered, those that confirm gates that failed.

    Args:
        answers: to the calls so far.
    """
    return _follow(context, answers)[0]


def _follow(context: JudgeContext, answers: Answers) -> tuple[list[Call], dict[str, list[Verdict]]]:
    """Return the calls that are due, and what was answered to each criterion until then."""
    asked: dict[str, list[Verdict]] = {}
    calls = _calls(context, applicable(context.pack.rubric, len(context.transcript.exchanges)))
    for again in range(CONFIRMATIONS[context.how.confirm_gates] + 1):
        if missing := [call for call in calls if call.name not in answers]:
            return missing, asked
        for verdict in [verdict for call in calls for verdict in answers[call.name]]:
            asked.setdefault(verdict.criterion, []).append(verdict)
        calls = _calls(context, _undecided_gates(context.pack.rubric, asked), again + 1)
    return [], asked


async def _ask_all(context: JudgeContext, calls: Sequence[Call]) -> dict[str, list[Verdict]]:
    first, *others = calls
    answers = {first.name: await _ask(context, first)}
    # an error that stops the run waits for the other calls: their answers are paid for
    rest = await asyncio.gather(*(_ask(context, call) for call in others), return_exceptions=True)
    for call, answer in zip(others, rest, strict=True):
        if isinstance(answer, BaseException):
            raise answer
        answers[call.name] = answer
    return answers


def _calls(context: JudgeContext, criteria: Sequence[Criterion], again: int = 0) -> list[Call]:
    """Group the criteria by call."""
    if context.how.mode == "single":
        return [Call(tuple(criteria), again)] if criteria else []
    kinds: dict[str, list[Criterion]] = {}
    for criterion in criteria:
        kinds.setdefault(criterion.id if context.how.mode == "criterion" else criterion.head.category or "gates", []).append(criterion)
    return [Call(tuple(group), again) for group in kinds.values()]


async def _ask(context: JudgeContext, call: Call) -> list[Verdict]:
    """Make one call; an unusable answer gives ERROR verdicts."""
    request, judgements = reading_request(context, call)
    try:
        check_fits(context, request)
        try:
            reply = await context.judge.complete(request)
            if not judgements and request.check:  # the model is one that checks nothing
                request.check(reply)
        except InvalidOutputError:
            if not judgements:
                raise
    except ModelError as error:
        return [unusable(criterion.id, str(error)) for criterion in call.criteria]
    keep(context, call, judgements[-1])
    return judgements[-1].verdicts


def reading_request(context: JudgeContext, call: Call) -> tuple[ChatRequest, list[Judgement]]:
    """Return the request that a call sends, whose check reads each reply, and the list in which what it reads is found."""
    judgements: list[Judgement] = []
    request = request_of(context, call)
    exchanges, alone, asked = len(context.transcript.exchanges), context.how.mode == "criterion", [message.content for message in request.messages]

    def read(reply: Reply) -> None:
        others = context.log.said_of_others(call.criteria)
        try:
            judgement = read_judgement(reply, call.criteria, exchanges, alone, asked, context.pack.rubric, others)
        except (InvalidOutputError, TruncatedError):
            context.log.refuse(call.name)
            _tally(context, [])
            raise
        judgements.append(judgement)
        if judgement.unusable:
            context.log.refuse(call.name)
        _tally(context, [verdict.criterion in judgement.empty for verdict in judgement.given])
        if wrong := [f"{verdict.criterion}: {verdict.reasoning}" for verdict in judgement.unusable]:
            raise InvalidOutputError(f"part of the judge's reply cannot be used. {' '.join(wrong[:3])}")

    return replace(request, check=read), judgements


def _tally(context: JudgeContext, empty: Sequence[bool]) -> None:
    """Count the verdicts of a reply; replies without any count once for an assessment, so that no transcript that spoils them ends a batch alone.

    Args:
        empty: of each verdict, whether it says nothing.
    """
    if empty:
        keep_tally((context.log.heard, context.tally), context.judge.reference, empty)
    elif not context.log.without_verdict:
        context.log.without_verdict = True
        keep_tally((context.tally,), context.judge.reference, [True])


def keep(context: JudgeContext, call: Call, judgement: Judgement) -> None:
    """Keep what answers a call whole; it is not asked again."""
    if not judgement.unusable:
        context.log.add(call.name, judgement.verdicts, judgement.repaired)


def request_of(context: JudgeContext, call: Call) -> ChatRequest:
    """Return the request that a call sends."""
    pack, judge, transcript, how, criteria, again = context.pack, context.judge, context.transcript, context.how, call.criteria, call.again
    refused = context.log.refused(call.name)
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
        seed=seed + refused,  # a judge that draws nothing but by its seed would say the same again
        schema=_schema(context, criteria),
        volatile=2 if how.mode == "single" else 1,  # nothing would read the cache entry of a single call
        item=context.item or transcript.id,
        refused=refused,
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


def check_fits(context: JudgeContext, request: ChatRequest) -> None:
    """Check that a judge can read a request whole.

    Raises:
        ContextError: it cannot.
    """
    if context.context is None:
        return
    tokens = sum(context.count(message.content) for message in request.messages)
    if tokens * MARGIN + context.max_tokens > context.context:
        raise ContextError(
            f"The prompt takes about {tokens:,} tokens and the judgement up to {context.max_tokens:,}; {context.judge.reference} holds {context.context:,}. "
            "Name a judge that holds more, or lower assessment.max_tokens."
        )


def _undecided_gates(rubric: Rubric, asked: Mapping[str, Sequence[Verdict]]) -> list[Criterion]:
    """Return the gates that failed, and may not have."""
    failed = []
    for name, given in asked.items():
        gate = rubric.criteria[name]
        values = [value_of(gate, verdict.answer) for verdict in given]
        if gate.head.gate and values[0] == 0 and None not in values and values.count(0.0) < 2:
            failed.append(gate)
    return failed


def _result(judge: str, gate: Criterion, answers: Sequence[Verdict]) -> Verdict:
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

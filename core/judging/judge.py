"""The assessment of one transcript by one judge: its calls, and the verdicts from their answers."""

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
from core.packs.openings import exchanges_with_greeting
from core.packs.pack import Pack
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Assessment, Opinion, Transcript, Verdict
from core.settings.assessment import Judging

Count = Callable[[str], int]
MARGIN = 1.1
"""Factor by which a judge's own count of tokens may exceed ours."""

FORMS: dict[str, Form] = {"single": "object", "category": "list", "criterion": "alone", "compact": "object"}
"""The form of one call's answer, by mode."""

EXAMPLES = "**Examples**"
"""Heading of a criterion's examples, which end its text."""

CONFIRMATIONS = {"never": 0, "second": 1, "majority": 2}
"""How often a judge may be asked again about a failed gate, by the setting `confirm_gates`."""


@dataclass(frozen=True)
class JudgeContext:
    """A judge and the transcript that it assesses.

    Args:
        pack: the domain, with the rubric.
        how: the settings of judging.
        max_tokens: tokens of one call's answer at most.
        context: tokens of a prompt and its answer together at most; None where that is not known.
        count: counts a text's tokens.
        repeat: number of this assessment among several of the same transcript by the same judge, counted from 0.
        log: stores each call's answer as it arrives.
        item: what the calls are billed for; the transcript if empty.
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
        criteria: those that the judge is asked about.
        again: how often it was asked about them before.
    """

    criteria: tuple[Criterion, ...]
    again: int = 0

    @property
    def name(self) -> str:
        """Its name in the log."""
        return f"{self.again} {' '.join(criterion.id for criterion in self.criteria)}"


Answers = Mapping[str, Sequence[Verdict]]
"""The verdicts of each call, by its name; ERROR where there is no usable answer."""


async def assess(context: JudgeContext) -> Assessment:
    """Judge a transcript on every criterion that applies to its length.

    - Calls. With several calls, the first is sent alone, so that the others find the transcript in the provider's prompt cache.
    - Replies. A reply with small faults of form is read, and the faults are counted. A reply is requested again if it leaves out a criterion, answers with
      another word than YES, NO or NA, cites an exchange that does not exist, or says nothing. If the fault remains, that verdict is ERROR.
    - Failures. An answer that is refused, truncated or unreadable gives ERROR for each criterion of its call. A transcript that does not fit into the
      judge's context is never cut; it is not sent, and gives ERROR.
    - Gates. The judge is asked again about a failed gate as `how.confirm_gates` says.

    Raises:
        RunStoppedError: no further calls are possible, or too many of the judge's verdicts say nothing; the answers so far are in the log.
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
    """Return the calls that are due: at first those that cover every criterion, then those that confirm failed gates.

    Args:
        answers: of the calls so far.
    """
    return _follow(context, answers)[0]


def _follow(context: JudgeContext, answers: Answers) -> tuple[list[Call], dict[str, list[Verdict]]]:
    """Return the calls that are due, and the verdicts on each criterion so far."""
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
    # all calls end before an error that stops the run is raised: their answers are paid for
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
            if not judgements and request.check:  # some models do not call the check
                request.check(reply)
        except InvalidOutputError:
            if not judgements:
                raise
    except ModelError as error:
        return [unusable(criterion.id, str(error)) for criterion in call.criteria]
    keep(context, call, judgements[-1])
    return judgements[-1].verdicts


def reading_request(context: JudgeContext, call: Call) -> tuple[ChatRequest, list[Judgement]]:
    """Return the request that a call sends, and a list that the request's check fills with the judgement of each reply."""
    judgements: list[Judgement] = []
    request = request_of(context, call)
    exchanges, alone, prompt = len(context.transcript.exchanges), context.how.mode == "criterion", [message.content for message in request.messages]

    def read(reply: Reply) -> None:
        others = context.log.said_of_others(call.criteria)
        try:
            judgement = read_judgement(reply, call.criteria, exchanges, alone, prompt, context.pack.rubric, others)
        except (InvalidOutputError, TruncatedError):
            context.log.refuse(call.name)
            _tally(context, [])
            raise
        judgements.append(judgement)
        if judgement.unusable:
            context.log.refuse(call.name)
        _tally(context, [verdict.criterion in judgement.empty for verdict in judgement.in_reply])
        if wrong := [f"{verdict.criterion}: {verdict.reasoning}" for verdict in judgement.unusable]:
            raise InvalidOutputError(f"part of the judge's reply cannot be used. {' '.join(wrong[:3])}")

    return replace(request, check=read), judgements


def _tally(context: JudgeContext, empty: Sequence[bool]) -> None:
    """Count the verdicts of a reply.

    Replies without any verdict count once for an assessment, so that a single transcript to which the judge gives only such replies cannot end a batch.

    Args:
        empty: for each verdict, whether it says nothing.
    """
    if empty:
        keep_tally((context.log.heard, context.tally), context.judge.reference, empty)
    elif not context.log.without_verdict:
        context.log.without_verdict = True
        keep_tally((context.tally,), context.judge.reference, [True])


def keep(context: JudgeContext, call: Call, judgement: Judgement) -> None:
    """Log a judgement that answers its call completely; the call is then not made again."""
    if not judgement.unusable:
        context.log.add(call.name, judgement.verdicts, judgement.repaired)


def request_of(context: JudgeContext, call: Call) -> ChatRequest:
    """Return the request that a call sends."""
    pack, judge, transcript, how, criteria, again = context.pack, context.judge, context.transcript, context.how, call.criteria, call.again
    refused = context.log.refused(call.name)
    seed = seed_of("judge", judge.reference, transcript.id, context.repeat, again, *(criterion.id for criterion in criteria))
    in_order = random.Random(seed).sample(criteria, len(criteria)) if how.shuffle else list(criteria)
    inputs = {
        "exchanges": exchanges_with_greeting(transcript),
        "facts": measure(transcript.exchanges, pack.tics),
        "criteria": [asked_of(pack.rubric, criterion, how.mode != "compact") for criterion in in_order],
        "alone": how.mode == "criterion",
        "listed": how.mode == "category",
    }
    return ChatRequest(
        role="judge",
        system="",
        messages=tuple(Message("user", pack.prompts[name].render(**inputs)) for name in ("assessor", "assessor_question")),
        max_tokens=context.max_tokens,
        seed=seed + refused,  # with the same seed a deterministic judge would repeat its reply
        schema=_schema(context, criteria),
        volatile=2 if how.mode == "single" else 1,  # no later call would use the cache entry of a single call
        item=context.item or transcript.id,
        refused=refused,
        inputs=inputs,
    )


def _schema(context: JudgeContext, criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return the schema of an answer. In the form `object` it has a key for each criterion; in the others all calls share one, for the prompt cache."""
    rubric, form, exchanges = context.pack.rubric, FORMS[context.how.mode], len(context.transcript.exchanges)
    named = criteria if form == "object" else applicable(rubric, exchanges)
    names = {criterion.id for criterion in named}
    return answer_schema([name for name in rubric.criteria if name in names], form, exchanges, bool(rubric.numbers.forgives))


def asked_of(rubric: Rubric, criterion: Criterion, examples: bool = True) -> dict[str, Any]:
    """Return a criterion as the prompt's template receives it.

    Args:
        examples: whether its text includes the examples.
    """
    text = criterion.text if examples else criterion.text.partition(EXAMPLES)[0].strip()
    return {**criterion.head.model_dump(), "text": text, "forgives": criterion.id in rubric.numbers.forgives}


def check_fits(context: JudgeContext, request: ChatRequest) -> None:
    """Check that a request fits into the judge's context.

    Raises:
        ContextError: it does not.
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
    """Return the gates that failed at first and have not failed a second time."""
    undecided = []
    for name, verdicts in asked.items():
        gate = rubric.criteria[name]
        values = [value_of(gate, verdict.answer) for verdict in verdicts]
        if gate.head.gate and values[0] == 0 and None not in values and values.count(0.0) < 2:
            undecided.append(gate)
    return undecided


def _result(judge: str, gate: Criterion, answers: Sequence[Verdict]) -> Verdict:
    """Return the result of all answers to one criterion: the last one, because a gate is asked about only until it is decided.

    If the answer that should confirm a failed gate cannot be used, the result is ERROR: neither a failure nor a pass.
    """
    if len(answers) == 1:
        return answers[0]
    last = answers[-1]
    if last.answer is Answer.ERROR:
        last = unusable(gate.id, f"The gate failed, and asking again gave no usable answer: {last.reasoning}")
    opinions = [Opinion(judge=judge, answer=item.answer, reasoning=item.reasoning, cited=item.cited) for item in answers]
    return last.model_copy(update={"opinions": opinions})

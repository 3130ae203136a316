"""The assessment of one transcript by one judge: its calls, and the verdicts from their answers."""

import asyncio
from collections.abc import Mapping, Sequence

from core.errors import InvalidOutputError, ModelError
from core.judging.judge_call import Call, JudgeContext, check_fits, keep, reading_request
from core.judging.judgements import unusable
from core.judging.scoring import applicable, score, value_of
from core.llm.families import shared_family, writer_of
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Assessment, Opinion, Verdict

CONFIRMATIONS = {"never": 0, "second": 1, "majority": 2}
"""How often a judge may be asked again about a failed gate, by the setting `confirm_gates`."""

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

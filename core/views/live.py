"""What runs are making at the moment, read from their logs. The runs themselves are neither asked nor affected."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core.errors import PackError, StoreError
from core.judging.call_log import FOLDER as JUDGEMENTS
from core.judging.call_log import Answered
from core.judging.plan import AssessmentPlan
from core.packs.pack import Pack, load_pack
from core.records import Assessment, Persona, Transcript
from core.rehearsal.course import steer
from core.rehearsal.plan import RehearsalPlan
from core.rehearsal.simulator_inputs import steering_inputs
from core.rehearsal.turn_log import FOLDER as TURNS
from core.rehearsal.turn_log import SIDES, Rejection, Turn
from core.reports.under_way import SILENT_SECONDS, UnderWay, records_under_way
from core.storage.file_states import FileState
from core.storage.json_lines import read_objects
from core.storage.store import Store
from core.views.personas import Card, card_of
from core.views.records import read_all

RECENT = 20
"""Number of finished assessments that are listed."""


@dataclass(frozen=True)
class Line:
    """A message of a conversation in progress, or a refused draft of one.

    Args:
        number: number of the exchange, from 1.
        side: user or assistant.
        fault: why the draft was refused; None for an accepted message.
        found: the evidence of the fault; empty for an accepted message.
    """

    number: int
    side: str
    text: str
    fault: str | None = None
    found: str = ""


@dataclass(frozen=True)
class Speaking:
    """A conversation in progress.

    Args:
        id: id of the transcript.
        path: future path of the transcript; None if the plan cannot be read, as for `domain` and `persona`.
        changed: Unix time of the last message, in seconds.
        stalled: whether the last message came long ago.
        target: number of planned exchanges; None if it is not known.
        user, assistant: models that write each side's messages; empty if they are not known.
        lines: messages and refused drafts, the oldest first.
    """

    id: str
    path: str | None
    domain: str | None
    persona: Persona | None
    changed: float
    stalled: bool
    target: int | None
    user: str
    assistant: str
    lines: list[Line]

    @property
    def said(self) -> list[Line]:
        """The accepted messages."""
        return [line for line in self.lines if line.fault is None]

    @property
    def answered(self) -> int:
        """Number of complete exchanges."""
        return len(self.said) // 2


@dataclass(frozen=True)
class Judging:
    """An assessment, in progress or finished.

    Args:
        id: id of the transcript.
        conversation: path of the transcript; None if it is not known.
        changed: Unix time of the last answer, in seconds.
        answers: the answers so far, by criterion.
        outcome, score: None while the assessment is in progress.
        assessment: path of the finished assessment; None while it is in progress.
    """

    id: str
    conversation: str | None
    judge: str
    changed: float
    answers: dict[str, str]
    outcome: str | None
    score: float | None
    assessment: str | None = None


@dataclass(frozen=True)
class Running:
    """A running stage of a run.

    Args:
        record: its progress.
        silent: whether it has not reported for so long that it may no longer be running.
    """

    record: UnderWay
    silent: bool

    @property
    def share_spent(self) -> float | None:
        """Share of the budget that is spent; None without a budget."""
        record = self.record
        pairs = [(record.usd, record.budget_usd), (record.tokens, record.budget_tokens)]
        return max((spent / limit for spent, limit in pairs if limit), default=None)


# --- runs -----------------------------------------------------------------------------------------------------------------


def running(store: Store, now: float) -> list[Running]:
    """Return the stages that are running; a stage whose process is known to have ended is left out.

    Args:
        now: current Unix time, in seconds.
    """
    stages = [stored.record for stored in read_all(store, list(records_under_way(store)), UnderWay)]
    return [Running(stage, now - stage.at > SILENT_SECONDS) for stage in stages if not stage.ended]


# --- conversations ----------------------------------------------------------------------------------------------------------


def speaking(store: Store, now: float) -> list[Speaking]:
    """Return the conversations in progress, the last changed first.

    Args:
        now: current Unix time, in seconds.
    """
    states = store.states(store.names(TURNS, ".jsonl"))
    conversations = [one for name, state in states.items() if (one := _speaking(store, name, state, now))]
    return sorted(conversations, key=lambda one: -one.changed)


def open_speaking(store: Store, name: str, now: float) -> Speaking | None:
    """Return a conversation in progress; None if it has ended or does not exist.

    Args:
        name: id of the transcript.
        now: current Unix time, in seconds.
    """
    path = f"{TURNS}/{name}.jsonl"
    state = store.states([path]).get(path)
    return _speaking(store, path, state, now) if state else None


def _speaking(store: Store, path: str, state: FileState, now: float) -> Speaking | None:
    name = path.removeprefix(f"{TURNS}/").removesuffix(".jsonl")
    try:
        lines = read_objects(store.read_bytes(path))
    except StoreError:  # the conversation has ended in the meantime
        return None
    plans = read_all(store, [f"{TURNS}/{name}.json"], RehearsalPlan)
    plan = plans[0].record if plans else None
    return Speaking(
        id=name,
        path=plan.path if plan else None,
        domain=plan.domain if plan else None,
        persona=plan.persona if plan else None,
        changed=state.modified,
        stalled=now - state.modified > 10 * SILENT_SECONDS,
        target=plan.persona.exchanges if plan else None,
        user=plan.user_simulator.reference if plan else "",
        assistant=plan.assistant.reference if plan else "",
        lines=_lines(lines, name),
    )


def _lines(logged: Sequence[Mapping[str, Any]], name: str) -> list[Line]:
    """Return the messages of a log up to the first line that does not continue it, as the run itself reads its log."""
    lines: list[Line] = []
    count = 0
    for line in logged:
        fields = {key: value for key, value in line.items() if key not in ("of", "number")}
        try:
            if line.get("of") != name:
                break
            if "fault" in fields:
                refused = Rejection.model_validate(fields)
                lines.append(Line(refused.exchange_number, refused.side, refused.text, refused.fault.value, refused.found))
            else:
                turn = Turn.model_validate(fields)
                if line.get("number") != count or turn.side != SIDES[count % 2]:
                    break
                lines.append(Line(count // 2 + 1, turn.side, turn.text))
                count += 1
        except ValidationError:
            break
    return lines


def card_of_speaking(conversation: Speaking) -> tuple[Card | None, Pack | None]:
    """Return the card of the persona of a conversation in progress, and the pack; None for what is not known."""
    pack = _pack(conversation.domain)
    if conversation.persona is None:
        return None, pack
    empty = Transcript.model_construct(id=conversation.id, persona=conversation.persona.model_dump(), exchanges=[], provenance={})
    return card_of(empty, pack), pack


def steering_notes(store: Store, conversation: Speaking) -> dict[int, str]:
    """Return the instructions of the simulated user for each message so far and the next one, by number; empty if the pack has changed since."""
    plans = read_all(store, [f"{TURNS}/{conversation.id}.json"], RehearsalPlan)
    pack = _pack(conversation.domain)
    if not plans or pack is None or pack.hash != plans[0].record.pack_hash:
        return {}
    plan = plans[0].record
    numbers = range(1, min(conversation.answered + 1, plan.persona.exchanges) + 1)
    return {
        number: pack.prompts["user_steering"].render(**steering_inputs(pack, plan.persona, steer(pack, plan.persona, number, plan.minimum)))
        for number in numbers
    }


def _pack(domain: str | None) -> Pack | None:
    try:
        return load_pack(domain) if domain else None
    except PackError:
        return None


# --- verdicts -----------------------------------------------------------------------------------------------------------------


def judging(store: Store) -> list[Judging]:
    """Return the assessments in progress, and then those finished last, both with the newest first."""
    in_progress = [one for name, state in store.states(store.names(JUDGEMENTS, ".json")).items() if (one := _judging(store, name, state))]
    return sorted(in_progress, key=lambda one: -one.changed) + _judged(store)


def _judging(store: Store, path: str, state: FileState) -> Judging | None:
    plans = read_all(store, [path], AssessmentPlan)
    if not plans:
        return None
    plan, log = plans[0].record, path.removesuffix(".json") + ".jsonl"
    written = store.states([log]).get(log, state)
    try:
        lines = read_objects(store.read_bytes(log)) if log in store.states([log]) else []
    except StoreError:
        lines = []
    answers: dict[str, str] = {}
    for line in lines:
        try:
            answered = Answered.model_validate({key: value for key, value in line.items() if key != "of"})
        except ValidationError:
            continue
        answers |= {verdict.criterion: verdict.answer.value for verdict in answered.verdicts}
    return Judging(plan.transcript.id, plan.transcript.path, plan.judge.reference, written.modified, answers, None, None)


def _judged(store: Store) -> list[Judging]:
    folders = [rubric for domain in store.names("assessments") for rubric in store.names(domain)]
    states = store.states([name for folder in folders for name in store.names(folder, ".json")])
    last = sorted(states, key=lambda name: -states[name].modified)[:RECENT]
    finished = []
    for one in read_all(store, last, Assessment):
        domain, assessment = one.name.split("/")[1], one.record
        path = f"transcripts/{domain}/{assessment.transcript_id}.json"
        answers = {verdict.criterion: verdict.answer.value for verdict in assessment.verdicts}
        conversation = path if store.states([path]) else None
        score = assessment.score
        finished.append(Judging(assessment.transcript_id, conversation, assessment.judge, one.modified, answers, score.outcome.value, score.score, one.name))
    return finished

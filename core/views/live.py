"""What is being made at the moment, read from the logs that runs keep for themselves: nothing is asked of a run, and nothing of it is touched."""

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
from core.rehearsal.turn_log import FOLDER as TURNS
from core.rehearsal.turn_log import SIDES, Rejection, Turn
from core.rehearsal.turns import steering_inputs
from core.reports.under_way import SILENT_SECONDS, UnderWay, records_under_way
from core.storage.file_states import FileState
from core.storage.json_lines import read_objects
from core.storage.store import Store
from core.views.personas import Card, card_of
from core.views.records import read_all

RECENT = 20
"""Verdicts that are listed."""
LAST = 400
"""Characters of a message in the list."""


@dataclass(frozen=True)
class Line:
    """A message of a conversation under way, or one that was refused.

    Args:
        fault: why it was refused; none of a message that stands.
    """

    number: int
    side: str
    text: str
    fault: str | None = None
    found: str = ""


@dataclass(frozen=True)
class Speaking:
    """A conversation that is being made.

    Args:
        id: the transcript's; path: where it will be.
        changed: when the last message came, in seconds since 1970; stalled: whether that is long ago.
        target: exchanges that are planned; none where nobody has said.
        lines: oldest first.
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
        """The messages that stand."""
        return [line for line in self.lines if line.fault is None]

    @property
    def answered(self) -> int:
        """Exchanges that are complete."""
        return len(self.said) // 2


@dataclass(frozen=True)
class Judging:
    """A verdict, or an assessment that is being made.

    Args:
        conversation: path of the transcript, where it is known.
        answers: so far, by criterion; outcome: none while it is being made.
        assessment: its path, once it is made.
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
    """A stage of a run under way; silent: nobody knows whether it still works."""

    record: UnderWay
    silent: bool

    @property
    def share_spent(self) -> float | None:
        """Of the budget, or none without one."""
        record = self.record
        pairs = [(record.usd, record.budget_usd), (record.tokens, record.budget_tokens)]
        return max((spent / limit for spent, limit in pairs if limit), default=None)


# --- runs -----------------------------------------------------------------------------------------------------------------


def running(store: Store, now: float) -> list[Running]:
    """Return the stages that work at the moment; one whose process is known to be gone is left out.

    Args:
        now: seconds since 1970.
    """
    found = read_all(store, list(records_under_way(store)), UnderWay)
    return [Running(one.record, now - one.record.at > SILENT_SECONDS) for one in found if not one.record.ended]


# --- conversations ----------------------------------------------------------------------------------------------------------


def speaking(store: Store, now: float) -> list[Speaking]:
    """Return the conversations under way, the last changed first."""
    states = store.states(store.names(TURNS, ".jsonl"))
    found = [one for name, state in states.items() if (one := _speaking(store, name, state, now))]
    return sorted(found, key=lambda one: -one.changed)


def open_speaking(store: Store, name: str, now: float) -> Speaking | None:
    """Return a conversation under way by the transcript's id; none where it has ended, or never was."""
    path = f"{TURNS}/{name}.jsonl"
    state = store.states([path]).get(path)
    return _speaking(store, path, state, now) if state else None


def _speaking(store: Store, path: str, state: FileState, now: float) -> Speaking | None:
    name = path.removeprefix(f"{TURNS}/").removesuffix(".jsonl")
    try:
        lines = read_objects(store.read_bytes(path))
    except StoreError:  # it has ended meanwhile
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


def _lines(found: Sequence[Mapping[str, Any]], name: str) -> list[Line]:
    """Return the messages of a log up to the first line that does not follow, as the run itself will read it."""
    made: list[Line] = []
    count = 0
    for line in found:
        fields = {key: value for key, value in line.items() if key not in ("of", "number")}
        try:
            if line.get("of") != name:
                break
            if "fault" in fields:
                refused = Rejection.model_validate(fields)
                made.append(Line(refused.exchange_number, refused.side, refused.text, refused.fault.value, refused.found))
            else:
                turn = Turn.model_validate(fields)
                if line.get("number") != count or turn.side != SIDES[count % 2]:
                    break
                made.append(Line(count // 2 + 1, turn.side, turn.text))
                count += 1
        except ValidationError:
            break
    return made


def card_of_speaking(it: Speaking) -> tuple[Card | None, Pack | None]:
    """Return the persona's card of a conversation under way, and its pack."""
    pack = _pack(it.domain)
    if it.persona is None:
        return None, pack
    empty = Transcript.model_construct(id=it.id, persona=it.persona.model_dump(), exchanges=[], provenance={})
    return card_of(empty, pack), pack


def steering_notes(store: Store, it: Speaking) -> dict[int, str]:
    """Return the note that the simulated user read, or will read, for each message so far and the next one; nothing where the pack has changed since."""
    plans = read_all(store, [f"{TURNS}/{it.id}.json"], RehearsalPlan)
    pack = _pack(it.domain)
    if not plans or pack is None or pack.hash != plans[0].record.pack_hash:
        return {}
    plan = plans[0].record
    numbers = range(1, min(it.answered + 1, plan.persona.exchanges) + 1)
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
    """Return the assessments that are being made, and those that were made last."""
    under_way = [one for name, state in store.states(store.names(JUDGEMENTS, ".json")).items() if (one := _judging(store, name, state))]
    return sorted(under_way, key=lambda one: -one.changed) + _judged(store)


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
            given = Answered.model_validate({key: value for key, value in line.items() if key != "of"})
        except ValidationError:
            continue
        answers |= {verdict.criterion: verdict.answer.value for verdict in given.verdicts}
    return Judging(plan.transcript.id, plan.transcript.path, plan.judge.reference, written.modified, answers, None, None)


def _judged(store: Store) -> list[Judging]:
    folders = [rubric for domain in store.names("assessments") for rubric in store.names(domain)]
    states = store.states([name for folder in folders for name in store.names(folder, ".json")])
    last = sorted(states, key=lambda name: -states[name].modified)[:RECENT]
    made = []
    for one in read_all(store, last, Assessment):
        domain, held = one.name.split("/")[1], one.record
        path = f"transcripts/{domain}/{held.transcript_id}.json"
        answers = {verdict.criterion: verdict.answer.value for verdict in held.verdicts}
        known = path if store.states([path]) else None
        made.append(Judging(held.transcript_id, known, held.judge, one.modified, answers, held.score.outcome.value, held.score.score, one.name))
    return made

"""The pages of an evaluation: verdicts and next steps, safety gates by exposure, pairs of conversations, and preferences."""

from dataclasses import dataclass, replace

from core.escaping import Markdown
from core.evaluation.attempts import FILE, FOLDER
from core.evaluation.battery_play import battery_words
from core.evaluation.comparison import ArmComparison
from core.evaluation.exposure import Exposure, exposure_of
from core.evaluation.facts import Conversation, EvaluationFacts
from core.evaluation.page import Pair, conversation_pairs
from core.evaluation.person_preferences import Reading, person_preferences, preferred, readings_of, who_preferred
from core.evaluation.preference_words import length_sentence, position_sentence, rate_sentence
from core.evaluation.preferences import Preferences
from core.evaluation.record import EvaluationRecord, facts_of, next_step_of
from core.evaluation.report import evaluation_markdown
from core.evaluation.sentences import claims_of, why
from core.packs.pack import Pack, load_pack
from core.records import Assessment, Outcome, Transcript
from core.storage.store import Store


@dataclass(frozen=True)
class ArmHead:
    """The verdict on an arm.

    Args:
        arm: name of the arm.
        one: its comparison with the base.
        why: the reason for the decision.
        passes: number of passed and of complete conversations, for the arm and the base.
        claims: sentences that limit what the decision shows.
        preferences: sentences about the preferences of the judge and then of people.
        following: the next step, with a command in backticks.
    """

    arm: str
    one: ArmComparison
    why: str
    passes: dict[str, tuple[int, int]]
    claims: list[str]
    preferences: list[str]
    following: str


@dataclass(frozen=True)
class GateRow:
    """A safety gate: how often it applied and failed, by arm."""

    gate: str
    name: str
    arms: dict[str, Exposure]


@dataclass(frozen=True)
class EvaluationPage:
    """An evaluation.

    Args:
        name: name of its folder.
        figures: the complete report, as Markdown.
    """

    name: str
    facts: EvaluationFacts
    arms: list[ArmHead]
    gates: list[GateRow]
    pairs: list[Pair]
    figures: Markdown


@dataclass(frozen=True)
class PreferPage:
    """Two conversations for a person to compare.

    Args:
        number: number of the reading in this round, from 1.
        of: number of readings in this round.
        round: 1, or 2 for the reversed order.
        both: the conversations that are called A and B.
        said: the person's answer, A, B or tie; empty if there is none.
        reason: the person's reason; may be empty.
    """

    name: str
    arm: str
    person: str
    reading: Reading
    number: int
    of: int
    round: int
    both: tuple[Transcript, Transcript]
    said: str
    reason: str


def read_evaluation(store: Store, name: str) -> tuple[EvaluationRecord, Pack]:
    """Return the record of an evaluation, and its domain's pack.

    Raises:
        StoreError: there is no evaluation of this name.
    """
    record = store.load(f"{FOLDER}/{name}/{FILE}", EvaluationRecord)
    return record, load_pack(record.domain)


def evaluation_page(store: Store, name: str) -> EvaluationPage:
    """Return the content of an evaluation's page.

    Args:
        name: name of the evaluation's folder.

    Raises:
        StoreError: there is no evaluation of this name.
    """
    record, pack = read_evaluation(store, name)
    conversations = [
        Conversation(one.arm, one.persona, one.trial, store.load(one.transcript, Transcript), store.load(one.assessment, Assessment))
        for one in record.conversations
    ]
    facts = replace(facts_of(record, pack, conversations, {}), battery_words=battery_words(store, record.battery) if record.battery else [])
    by_arm = {arm: [item for item in record.played if item.arm == arm] for arm in record.comparison.arms}
    gates = [GateRow(gate, facts.criteria[gate], {arm: exposure_of(items, gate) for arm, items in by_arm.items()}) for gate in facts.gates]
    arms = [_head(store, facts, record, f"{FOLDER}/{name}", arm, one) for arm, one in facts.compared.items()]
    return EvaluationPage(name, facts, arms, gates, conversation_pairs(facts), evaluation_markdown(facts))


def _head(store: Store, facts: EvaluationFacts, record: EvaluationRecord, folder: str, arm: str, one: ArmComparison) -> ArmHead:
    passes = {}
    for name in (one.base, arm):
        completed = [item for item in record.played if item.arm == name and item.complete]
        passes[name] = (sum(item.score is not None and item.score.outcome is Outcome.PASS for item in completed), len(completed))
    preferences = [rate_sentence(facts.pairwise[arm], arm)] if arm in facts.pairwise else []
    preferences += [people_sentence(by_person, arm) for _, by_person in people_preferences(store, record, folder, arm)]
    return ArmHead(arm, one, why(one.decided), passes, claims_of(facts, arm), preferences, next_step_of(record, arm))


def people_preferences(store: Store, record: EvaluationRecord, folder: str, arm: str) -> list[tuple[str, Preferences]]:
    """Return each person's name and preferences between an arm and the base."""
    people = who_preferred(store, folder, arm)
    return [(person, person_preferences(store, folder, arm, person, readings_of(record, folder, arm, person))) for person in people]


def people_sentence(preferences: Preferences, arm: str) -> str:
    """Return a sentence that says how often a person preferred the arm."""
    left = f" Not read yet: {preferences.unanswered}." if preferences.unanswered else ""
    return f"{preferences.judge[0].upper()}{preferences.judge[1:]}. {rate_sentence(preferences, arm)}{left}"


def notes_of(preferences: Preferences, base: str, arm: str) -> list[str]:
    """Return sentences about possible biases of a person: by the order, if pairs were read in both orders, and by the length."""
    order = [position_sentence(preferences)] if any(None not in pair.answers for pair in preferences.pairs) else []
    return [sentence for sentence in (*order, length_sentence(preferences, base, arm)) if sentence]


def prefer_page(store: Store, name: str, arm: str, person: str, number: int) -> PreferPage:
    """Return a pair for a person to compare.

    Args:
        number: number of the reading over both rounds, from 1.

    Raises:
        ReviewError: there is no such arm, or nothing to compare.
        IndexError: there is no such reading.
    """
    record, _ = read_evaluation(store, name)
    readings = readings_of(record, f"{FOLDER}/{name}", arm, person)
    reading, each = readings[number - 1], len(readings) // 2
    answer = preferred(store, f"{FOLDER}/{name}", arm, person, reading)
    both = (store.load(reading.first, Transcript), store.load(reading.second, Transcript))
    return PreferPage(
        name,
        arm,
        person,
        reading,
        number - each if reading.again else number,
        each,
        2 if reading.again else 1,
        both,
        answer.better if answer else "",
        answer.reason if answer else "",
    )


def next_reading(store: Store, name: str, arm: str, person: str, after: int = 0, second: bool = False) -> int | None:
    """Return the number of a person's next reading without an answer in a round; None if the round is complete.

    Args:
        after: number of the reading that was answered last; 0 to begin.
        second: whether to begin the second round.
    """
    record, _ = read_evaluation(store, name)
    readings = readings_of(record, f"{FOLDER}/{name}", arm, person)
    each = len(readings) // 2
    chosen = readings[each:] if second or after > each else readings[:each]
    left = [one.number for one in chosen if preferred(store, f"{FOLDER}/{name}", arm, person, one) is None]
    return next((number for number in left if number > after), left[0] if left else None)

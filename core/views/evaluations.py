"""What the pages of an evaluation show: the verdict and what follows, safety by exposure, conversations side by side, and preferences."""

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
from core.evaluation.sentences import battery_sentences, exposure_sentences, why
from core.packs.pack import Pack, load_pack
from core.records import Assessment, Outcome, Transcript
from core.storage.store import Store


@dataclass(frozen=True)
class ArmHead:
    """An arm's verdict.

    Args:
        passes: by arm, the base's too: how many conversations pass, and of how many.
        safety: sentences on what its gates met.
        preferences: sentences on who preferred it, the judge first.
        following: what to do now, with a command in backticks.
    """

    arm: str
    one: ArmComparison
    why: str
    passes: dict[str, tuple[int, int]]
    safety: list[str]
    preferences: list[str]
    following: str


@dataclass(frozen=True)
class GateRow:
    """A safety gate, by arm: how often it applied and failed."""

    gate: str
    name: str
    arms: dict[str, Exposure]


@dataclass(frozen=True)
class EvaluationPage:
    """An evaluation.

    Args:
        name: of its folder.
        figures: the whole report, as Markdown.
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
        of: readings of this round; round: 1, or 2 for the other order.
        said: what the person said of it, A, B or tie; empty where nothing was said.
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
    """Return an evaluation and its domain.

    Raises:
        StoreError: there is none of this name.
    """
    record = store.load(f"{FOLDER}/{name}/{FILE}", EvaluationRecord)
    return record, load_pack(record.domain)


def evaluation_page(store: Store, name: str) -> EvaluationPage:
    """Return all that the page of an evaluation shows."""
    record, pack = read_evaluation(store, name)
    said = [
        Conversation(one.arm, one.persona, one.trial, store.load(one.transcript, Transcript), store.load(one.assessment, Assessment))
        for one in record.conversations
    ]
    facts = replace(facts_of(record, pack, said, {}), battery_words=battery_words(store, record.battery) if record.battery else [])
    by_arm = {arm: [item for item in record.played if item.arm == arm] for arm in record.comparison.arms}
    gates = [GateRow(gate, facts.criteria[gate], {arm: exposure_of(items, gate) for arm, items in by_arm.items()}) for gate in facts.gates]
    arms = [_head(store, facts, record, f"{FOLDER}/{name}", arm, one) for arm, one in facts.compared.items()]
    return EvaluationPage(name, facts, arms, gates, conversation_pairs(facts), evaluation_markdown(facts))


def _head(store: Store, facts: EvaluationFacts, record: EvaluationRecord, folder: str, arm: str, one: ArmComparison) -> ArmHead:
    passes = {}
    for name in (one.base, arm):
        completed = [item for item in record.played if item.arm == name and item.complete]
        passes[name] = (sum(item.score is not None and item.score.outcome is Outcome.PASS for item in completed), len(completed))
    said = [rate_sentence(facts.pairwise[arm], arm)] if arm in facts.pairwise else []
    said += [people_sentence(found, arm) for _, found in people_preferences(store, record, folder, arm)]
    return ArmHead(arm, one, why(one.decided), passes, [*exposure_sentences(one.safety, arm), *battery_sentences(facts, arm)], said, next_step_of(record, arm))


def people_preferences(store: Store, record: EvaluationRecord, folder: str, arm: str) -> list[tuple[str, Preferences]]:
    """Return what each person prefers of an arm and the base."""
    people = who_preferred(store, folder, arm)
    return [(person, person_preferences(store, folder, arm, person, readings_of(record, folder, arm, person))) for person in people]


def people_sentence(found: Preferences, arm: str) -> str:
    """Say how often a person preferred the arm."""
    left = f" {found.unanswered} pairs are not read yet." if found.unanswered else ""
    return f"{found.judge[0].upper()}{found.judge[1:]}. {rate_sentence(found, arm)}{left}"


def notes_of(found: Preferences, base: str, arm: str) -> list[str]:
    """Say what in a person may have made the preference: the order, where both were read, and the length."""
    both = [position_sentence(found)] if any(None not in pair.answers for pair in found.pairs) else []
    return [said for said in (*both, length_sentence(found, base, arm)) if said]


def prefer_page(store: Store, name: str, arm: str, person: str, number: int) -> PreferPage:
    """Return a pair for a person to compare, by the number of the reading.

    Raises:
        ReviewError: there is no such arm, or nothing to compare.
        IndexError: there is no such reading.
    """
    record, _ = read_evaluation(store, name)
    readings = readings_of(record, f"{FOLDER}/{name}", arm, person)
    reading, each = readings[number - 1], len(readings) // 2
    said = preferred(store, f"{FOLDER}/{name}", arm, person, reading)
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
        said.better if said else "",
        said.reason if said else "",
    )


def next_reading(store: Store, name: str, arm: str, person: str, after: int = 0, second: bool = False) -> int | None:
    """Return the number of a person's next reading without an answer in a round; none where all of it are answered.

    Args:
        after: number of the reading that was answered last; 0 begins.
        second: whether to begin with the second round.
    """
    record, _ = read_evaluation(store, name)
    readings = readings_of(record, f"{FOLDER}/{name}", arm, person)
    each = len(readings) // 2
    chosen = readings[each:] if second or after > each else readings[:each]
    left = [one.number for one in chosen if preferred(store, f"{FOLDER}/{name}", arm, person, one) is None]
    return next((number for number in left if number > after), left[0] if left else None)

"""Pairwise judging by a person, who says which of two conversations served the user better without knowing the arms.

The person reads each pair once, in random order, with the base first in half of the pairs. A second reading in the other order is optional.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import ReviewError
from core.evaluation.pairwise import BETTER, PairAnswer
from core.evaluation.preferences import PairOutcome, Preferences, preferences, words_of
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.fingerprint import seed_of
from core.judging.labels import MAX_REASON, check_person, person_key
from core.records import Transcript
from core.storage.store import Store

FOLDER = "preferences"
"""Folder below the data root, with a small file for each answer."""
PERSON = "a person: "
"""Prefix of a person's name in fields that name a judge."""


@dataclass(frozen=True)
class Reading:
    """One reading of a pair of conversations.

    Args:
        number: number of the reading, from 1.
        base_first: whether the base's conversation is A.
        first, second: paths of the transcripts of A and B.
        again: whether it is the second reading of the pair.
    """

    number: int
    persona: int
    trial: int
    base_first: bool
    first: str
    second: str
    again: bool


def readings_of(record: EvaluationRecord, folder: str, arm: str, person: str) -> list[Reading]:
    """Return a person's readings: every pair once, then every pair in the other order. The order of the pairs depends on the person.

    As in pairwise judging by a model, there is one pair per persona, from the first trial that both arms have.

    Args:
        record: the evaluation.
        folder: its folder, which the order also depends on.
        arm: the arm that is compared with the base.
        person: the person's name.

    Raises:
        ReviewError: the arm does not exist, or there is no pair.
    """
    base = record.comparison.base
    if arm not in record.comparison.comparisons:
        raise ReviewError(f"{arm[:40]!r} is not an arm of this evaluation. Allowed: {', '.join(record.comparison.comparisons)}.")
    played: dict[tuple[int, int], dict[str, PlayedFiles]] = {}
    for one in record.conversations:
        played.setdefault((one.persona, one.trial), {})[one.arm] = one
    pairs: dict[int, tuple[int, str, str]] = {}
    for (persona, trial), by_arm in sorted(played.items()):
        if base in by_arm and arm in by_arm:
            pairs.setdefault(persona, (trial, by_arm[base].transcript, by_arm[arm].transcript))
    if not pairs:
        raise ReviewError(f"No persona has a conversation with both {base} and {arm} to read. Review an evaluation that was played here.")
    draw = random.Random(seed_of("prefer", folder, arm, person_key(person)))
    order = draw.sample(sorted(pairs), len(pairs))
    first = {persona: place % 2 == 0 for place, persona in enumerate(draw.sample(order, len(order)))}
    readings = []
    for number, persona in enumerate([*order, *draw.sample(order, len(order))], 1):
        again = number > len(order)
        base_first = first[persona] != again
        trial, by_base, by_arm = pairs[persona]
        transcripts = (by_base, by_arm) if base_first else (by_arm, by_base)
        readings.append(Reading(number, persona, trial, base_first, *transcripts, again))
    return readings


def prefer(store: Store, folder: str, arm: str, person: str, reading: Reading, better: str, reason: str) -> None:
    """Store a person's answer to a reading.

    Args:
        better: A, B or tie.
        reason: the person's reason; may be empty.

    Raises:
        ReviewError: the answer is not A, B or tie, or the reason is too long.
        StoreError: the answer cannot be written.
    """
    if better.upper() not in BETTER or len(reason) > MAX_REASON:
        raise ReviewError(f"{better[:20]!r} was given. Allowed: A, B or tie, with a reason of at most {MAX_REASON:,} characters.")
    answer = PairAnswer(
        judge=f"{PERSON}{check_person(person)}", first=reading.first, second=reading.second, reason=reason.strip(), better=BETTER[better.upper()]
    )
    store.write_json(_place(folder, arm, person, reading), answer)


def preferred(store: Store, folder: str, arm: str, person: str, reading: Reading) -> PairAnswer | None:
    """Return a person's answer to a reading; None if there is none."""
    place = _place(folder, arm, person, reading)
    return store.load(place, PairAnswer) if store.exists(place) else None


def who_preferred(store: Store, folder: str, arm: str) -> list[str]:
    """Return the names of the people who have compared an arm with the base, sorted."""
    people = set()
    for person_folder in store.names(_folder(folder, arm)):
        if names := store.names(person_folder, ".json"):
            people.add(store.load(names[0], PairAnswer).judge.removeprefix(PERSON))
    return sorted(people)


def person_preferences(store: Store, folder: str, arm: str, person: str, readings: Sequence[Reading]) -> Preferences:
    """Return the summary of a person's answers, in the form of a judge's.

    Args:
        folder: folder of the evaluation.
        arm: the arm that is compared with the base.
        person: the person's name.
        readings: all of the person's readings, answered or not.
    """
    by_persona: dict[int, list[Reading]] = {}
    for reading in readings:
        by_persona.setdefault(reading.persona, []).append(reading)
    outcomes = []
    for persona, both in by_persona.items():
        answers = {reading.base_first: preferred(store, folder, arm, person, reading) for reading in both}
        if any(answers.values()):
            one = next(reading for reading in both if reading.base_first)
            words = [words_of(store.load(path, Transcript)) for path in (one.first, one.second)]
            outcomes.append(PairOutcome(persona=persona, trial=one.trial, answers=(answers[True], answers[False]), base_words=words[0], arm_words=words[1]))
    return preferences(f"{PERSON}{check_person(person)}", outcomes, unanswered=len(by_persona) - len(outcomes))


def _folder(folder: str, arm: str) -> str:
    return f"{FOLDER}/{folder.rpartition('/')[2]}/{person_key(arm)}"


def _place(folder: str, arm: str, person: str, reading: Reading) -> str:
    order = "base-first" if reading.base_first else "arm-first"
    return f"{_folder(folder, arm)}/{person_key(person)}/{reading.persona}-{reading.trial}-{order}.json"

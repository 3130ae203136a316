"""A person says which of two conversations served the user better, without knowing the arms: an outcome of its own, beside what a judge says.

Each pair is read once, at random the base's or the arm's first, each as often as the other; then, if the person likes, once more in the other order.
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
"""Below the data root; a small file for each answer."""
PERSON = "a person: "
"""With which the name of a person begins where a judge is named."""


@dataclass(frozen=True)
class Reading:
    """A pair as a person reads it.

    Args:
        number: from 1.
        first, second: transcripts of the conversation that is called A, and of B.
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
    """Return the readings in their order: every pair once, then every pair the other way round. Each person has an order of their own.

    As the judge, a person reads one pair of each persona: that of the first trial that both arms have.

    Raises:
        ReviewError: there is no such arm, or no pair.
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
    found = []
    for number, persona in enumerate([*order, *draw.sample(order, len(order))], 1):
        again = number > len(order)
        base_first = first[persona] != again
        trial, of_base, of_arm = pairs[persona]
        shown = (of_base, of_arm) if base_first else (of_arm, of_base)
        found.append(Reading(number, persona, trial, base_first, *shown, again))
    return found


def prefer(store: Store, folder: str, arm: str, person: str, reading: Reading, better: str, reason: str) -> None:
    """Keep what a person prefers.

    Raises:
        ReviewError: it is neither A, B nor a tie, or the reason is too long.
        StoreError: it cannot be kept.
    """
    if better.upper() not in BETTER or len(reason) > MAX_REASON:
        raise ReviewError(f"{better[:20]!r} was given. Allowed: A, B or tie, with a reason of at most {MAX_REASON:,} characters.")
    answer = PairAnswer(
        judge=f"{PERSON}{check_person(person)}", first=reading.first, second=reading.second, reason=reason.strip(), better=BETTER[better.upper()]
    )
    store.write_json(_place(folder, arm, person, reading), answer)


def preferred(store: Store, folder: str, arm: str, person: str, reading: Reading) -> PairAnswer | None:
    """Return what a person said of a reading; none where nothing was said."""
    place = _place(folder, arm, person, reading)
    return store.load(place, PairAnswer) if store.exists(place) else None


def who_preferred(store: Store, folder: str, arm: str) -> list[str]:
    """Return who has compared an arm, by name, sorted."""
    found = set()
    for own in store.names(_folder(folder, arm)):
        if names := store.names(own, ".json"):
            found.add(store.load(names[0], PairAnswer).judge.removeprefix(PERSON))
    return sorted(found)


def person_preferences(store: Store, folder: str, arm: str, person: str, readings: Sequence[Reading]) -> Preferences:
    """Return what a person's answers amount to, with the figures that a judge's have."""
    by_persona: dict[int, list[Reading]] = {}
    for reading in readings:
        by_persona.setdefault(reading.persona, []).append(reading)
    outcomes = []
    for persona, both in by_persona.items():
        said = {reading.base_first: preferred(store, folder, arm, person, reading) for reading in both}
        if any(said.values()):
            one = next(reading for reading in both if reading.base_first)
            words = [words_of(store.load(path, Transcript)) for path in (one.first, one.second)]
            outcomes.append(PairOutcome(persona=persona, trial=one.trial, answers=(said[True], said[False]), base_words=words[0], arm_words=words[1]))
    return preferences(f"{PERSON}{check_person(person)}", outcomes, unanswered=len(by_persona) - len(outcomes))


def _folder(folder: str, arm: str) -> str:
    return f"{FOLDER}/{folder.rpartition('/')[2]}/{person_key(arm)}"


def _place(folder: str, arm: str, person: str, reading: Reading) -> str:
    order = "base-first" if reading.base_first else "arm-first"
    return f"{_folder(folder, arm)}/{person_key(person)}/{reading.persona}-{reading.trial}-{order}.json"

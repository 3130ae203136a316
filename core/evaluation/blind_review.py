"""A blind sample of an evaluation's conversations for a person to judge.

The transcripts get codes as names and lose their provenance, so that the person does not know the arm. The sample is matched: for a persona and trial it
has the conversations of all arms.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import ReviewError
from core.evaluation.attempts import FILE, FOLDER
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.fingerprint import fingerprint
from core.records import Assessment, Judged, Transcript
from core.storage.store import Store

LATEST = "latest"


@dataclass(frozen=True)
class Coded:
    """A conversation of an evaluation.

    Args:
        played: its arm, persona and trial.
        judged: the same conversation under its code, without the arm.
    """

    played: PlayedFiles
    judged: Judged


def latest_evaluation(domain: str) -> str:
    """Return the path of the file that contains the folder of a domain's latest evaluation."""
    return f"{FOLDER}/latest-{domain}"


def evaluation_folder(store: Store, domain: str, named: str) -> str:
    """Return the folder of an evaluation below the data root.

    Args:
        named: `latest`, or the folder's name or path.

    Raises:
        ReviewError: there is no such evaluation.
    """
    if named == LATEST:
        if not store.exists(latest_evaluation(domain)):
            raise ReviewError(f"No evaluation of {domain!r} is in {store.root}. Make one first (understudy evaluate), or name its folder.")
        return store.read(latest_evaluation(domain))
    folder = f"{FOLDER}/{named.rstrip('/').rpartition('/')[2]}"
    if not store.exists(f"{folder}/{FILE}"):
        raise ReviewError(f"{named} is not an evaluation in {store.root}/{FOLDER}. Name a folder that holds a {FILE}, or write latest.")
    return folder


def read_coded(store: Store, folder: str) -> tuple[EvaluationRecord, dict[str, Coded]]:
    """Return an evaluation and its judged conversations by code.

    Raises:
        ReviewError: the evaluation has no transcripts, because it was recorded elsewhere.
    """
    record = store.load(f"{folder}/{FILE}", EvaluationRecord)
    coded = {}
    for played in record.conversations:
        code = f"c-{fingerprint([folder, played.transcript])[:10]}"
        transcript, final = store.load(played.transcript, Transcript), store.load(played.assessment, Assessment)
        blind = Transcript(id=code, exchanges=transcript.exchanges, opening=transcript.opening)
        coded[code] = Coded(played, Judged(transcript=blind, final=final, by_judge={final.judge: final}))
    if not coded:
        raise ReviewError(f"{folder} holds no conversation to read: a recorded evaluation keeps only its figures. Review one that was played here.")
    return record, coded


def blind_sample(coded: Sequence[Coded], size: int, seed: int) -> list[Judged]:
    """Draw sets of conversations, one of each arm with the same persona and trial, and return the conversations in random order.

    Each persona is drawn once before any persona is drawn again.

    Args:
        coded: the conversations to draw from.
        size: number of conversations, rounded down to complete sets; at least one set is drawn.
        seed: the same seed gives the same sample.

    Raises:
        ReviewError: no persona and trial was judged in every arm.
    """
    sets: dict[tuple[int, int], list[Coded]] = {}
    for one in sorted(coded, key=lambda one: one.judged.transcript.id):
        sets.setdefault((one.played.persona, one.played.trial), []).append(one)
    arms = len({one.played.arm for one in coded})
    complete = {key: members for key, members in sets.items() if len(members) == arms}
    if not complete:
        raise ReviewError(
            "No persona has a judged conversation in every arm, so there is nothing to compare. Run the evaluation again to play what is missing."
        )
    draw = random.Random(seed)
    order = draw.sample(sorted(complete), len(complete))
    turns: dict[int, int] = {}
    ranked = sorted(order, key=lambda key: (turns.update({key[0]: turns.get(key[0], 0) + 1}), turns[key[0]])[1])
    chosen = [one.judged for key in ranked[: max(1, size // arms)] for one in complete[key]]
    draw.shuffle(chosen)
    return chosen

"""Gathers the transcripts to train on: those that passed, each once. For every other one it records why it is left out."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from core.dataset.corrections import source_of
from core.errors import DatasetError, PersonaError
from core.fingerprint import fingerprint
from core.records import Outcome, Persona, Record, Transcript
from core.storage.store import Store

NOT_GATHERED = "passed, not gathered"
"""Start of the reason for a transcript that passed but does not meet the gathering rule."""


class Candidate(Record):
    """A transcript that was judged.

    Args:
        path: the transcript's file, below the data root; None if the file is missing.
        source: the batch or checkpoint that holds the verdict.
        assessment: the file of the assessment, or the place of the verdict in a checkpoint.
        score: None if there is no verdict on the complete conversation.
        unmet: parts of the gathering rule (core/judging/gather_rule.py) that it does not meet.
        repaired_from: id of the transcript that it was repaired from (core/dataset/repair.py); None if it was not repaired.
        reason: why it cannot be trained on regardless of the verdict; None if nothing prevents it.
        round: the round of improvement, for a correction; 0 for all others.
    """

    id: str
    path: str | None
    source: str
    assessment: str
    outcome: Outcome
    score: float | None
    judge: str
    rubric_hash: str
    failed_gates: list[str]
    unmet: list[str] = Field(default_factory=list)
    repaired_from: str | None = None
    reason: str | None = None
    round: int = 0


@dataclass(frozen=True)
class Gathered:
    """The candidates to train on, sorted by id, and those left out, each with the reason."""

    passing: list[Candidate]
    left_out: list[dict[str, str]]

    def without(self, dropped: dict[str, str]) -> "Gathered":
        """Return a copy that leaves out more candidates.

        Args:
            dropped: by id, the reason.
        """
        more = [{"id": item.id, "reason": dropped[item.id], "source": item.source} for item in self.passing if item.id in dropped]
        return Gathered([item for item in self.passing if item.id not in dropped], sorted([*self.left_out, *more], key=lambda entry: entry["id"]))

    def manifest(self) -> dict[str, Any]:
        """Return the transcripts of the dataset as plain data: `count`, `transcripts` and `left_out`."""
        transcripts = [
            {"id": item.id, "source_file": item.path, "score": item.score, "judge": item.judge, "rubric_hash": item.rubric_hash, "assessment": item.assessment}
            | ({"mended_from": item.repaired_from} if item.repaired_from else {})
            | ({"round": item.round} if item.round else {})
            for item in self.passing
        ]
        return {"count": len(transcripts), "transcripts": transcripts, "left_out": self.left_out}


def gather(candidates: Iterable[Candidate]) -> Gathered:
    """Choose the transcripts to train on. The first verdict on an id counts; later ones are ignored.

    A transcript that passed is left out if it does not meet the gathering rule. An incomplete assessment is no verdict, nor is one whose transcript is
    missing.

    Raises:
        DatasetError: fewer than two transcripts passed, so none is left for training once one is kept for validation.
    """
    first: dict[str, Candidate] = {}
    left_out: list[dict[str, str]] = []
    for item in candidates:
        earlier = first.get(item.id)
        if earlier is None:
            first[item.id] = item
        elif _has_no_verdict(earlier) and not _has_no_verdict(item):
            first[item.id] = item
            left_out.append(
                {"id": item.id, "reason": f"duplicate id: a later verdict is used; this is not a verdict ({_reason(earlier)})", "source": earlier.source}
            )
        else:
            left_out.append({"id": item.id, "reason": "duplicate id: an earlier verdict is used", "source": item.source})
    reasons = {item.id: _reason(item) for item in first.values()}
    left_out += [{"id": item.id, "reason": reason, "source": item.source} for item in first.values() if (reason := reasons[item.id])]
    passing = sorted((item for item in first.values() if not reasons[item.id]), key=lambda item: item.id)
    check_enough(len(passing), len(first))
    return Gathered(passing, sorted(left_out, key=lambda entry: (entry["id"], entry["reason"])))


def missed_by(reason: str) -> list[str]:
    """Return the unmet parts of the gathering rule that a reason names; empty for another reason."""
    kind, _, missed = reason.partition(": ")
    return missed.split("; ") if kind == NOT_GATHERED else []


def limit_repaired(gathered: Gathered, allowed: bool, share: float) -> Gathered:
    """Leave out all repaired transcripts, or those with the lowest scores that exceed a share of the dataset.

    Args:
        allowed: whether repaired transcripts may be in the dataset at all.
        share: largest share of repaired transcripts among all that remain.
    """
    repaired = sorted((item for item in gathered.passing if item.repaired_from), key=lambda item: (-(item.score or 0.0), item.id))
    others = len(gathered.passing) - len(repaired)
    most = 0 if not allowed else len(repaired) if share >= 1 else int(share * others / (1 - share) + 1e-9)
    reason = f"repaired: beyond {100 * share:.0f} % of the dataset" if allowed else "repaired: left out by the settings"
    return gathered.without({item.id: reason for item in repaired[most:]})


def check_enough(passing: int, judged: int) -> None:
    """Check that one transcript can be trained on and another validated with.

    Raises:
        DatasetError: fewer than two passed.
    """
    if passing < 2:
        raise DatasetError(
            f"Too few transcripts passed: {passing} of {judged}; at least 2 are needed, one to train on and one to validate with. "
            "Generate more conversations, or look at the failed checks in the assessment's report."
        )


def _has_no_verdict(item: Candidate) -> bool:
    """Return whether a candidate has no verdict that counts, or its transcript is missing."""
    return item.outcome is Outcome.INCOMPLETE or item.path is None or item.reason is not None


def _reason(item: Candidate) -> str | None:
    if item.reason:
        return item.reason
    if item.outcome is Outcome.INCOMPLETE:
        return "incomplete: some criteria have no usable answer"
    if item.failed_gates:
        return f"gate: {', '.join(item.failed_gates)}"
    if item.outcome is Outcome.FAIL:
        return f"failed: {item.score:.3f}" if item.score is not None else "failed"
    if item.unmet:
        return f"{NOT_GATHERED}: {'; '.join(item.unmet)}"
    return "missing file" if item.path is None else None


def check_not_evaluated(transcripts: Iterable[Transcript], evaluation: Sequence[Persona], first_seed: int) -> None:
    """Check that no transcript has a persona that is kept for the evaluation.

    For a transcript made by this product the seed decides: all seeds from `first_seed` on are kept for the evaluation. Other transcripts number their
    personas in their own way, so such a transcript is refused if its seed is one that the evaluation will play, or if its persona equals one of those. (The
    personas of this product are not compared: in a small domain two different seeds may well give equal personas.)

    Args:
        transcripts: those to train on.
        evaluation: the personas that the evaluation will play.
        first_seed: the first seed of the evaluation.

    Raises:
        PersonaError: names the transcripts.
    """
    seeds, personas = {persona.seed for persona in evaluation}, {_person(persona.model_dump()) for persona in evaluation}
    kept_apart = []
    for item in transcripts:
        seed = item.provenance.get("seed")
        ours = _is_ours(item)
        later = ours and isinstance(seed, int) and seed >= first_seed
        if later or seed in seeds or (not ours and item.persona and _person(item.persona) in personas):
            kept_apart.append(f"{item.id} (seed {seed})")
    if kept_apart:
        names = ", ".join(kept_apart[:5]) + (f" and {len(kept_apart) - 5} more" if len(kept_apart) > 5 else "")
        raise PersonaError(
            f"{len(kept_apart)} transcripts have personas that are kept for the evaluation: {names}. Seeds from {first_seed} on are never trained on. "
            "Leave them out, or raise evaluation.first_seed."
        )


def _person(persona: dict[str, Any]) -> str:
    return fingerprint({name: value for name, value in persona.items() if name not in ("id", "seed", "name", "exchanges")})


def person_of(transcript: Transcript) -> str:
    """Return the key by which the split groups conversations: the simulated person, or for other conversations the id of `source_of`.

    Conversations with one person share that person's story. If they were on both sides of the split, the validation loss would reward memorising it.
    """
    seed, persona = transcript.provenance.get("seed"), transcript.persona
    return fingerprint([seed, _person(persona)]) if _is_ours(transcript) and isinstance(seed, int) and persona else source_of(transcript)


def _is_ours(transcript: Transcript) -> bool:
    return "pack_hash" in transcript.provenance or "pack_hash" in transcript.provenance.get("claimed", ())


def judges_of(gathered: Gathered) -> list[str]:
    """Return the judges of the transcripts to train on, the most frequent first."""
    judges = (item.judge if item.assessment.endswith(".json") else f"{item.judge} (as its checkpoint says)" for item in gathered.passing)
    return [judge for judge, _ in Counter(judges).most_common()]


def read_passing(store: Store, gathered: Gathered) -> Iterator[Transcript]:
    """Yield the transcripts that passed, each read when it is needed."""
    return (store.load(str(item.path), Transcript) for item in gathered.passing)

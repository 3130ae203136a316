"""Which transcripts are trained on: those that passed, once each, and for every other one the reason."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from core.dataset.corrections import source_of
from core.errors import DatasetError, PersonaError
from core.fingerprint import fingerprint
from core.records import Outcome, Persona, Record, Transcript

NOT_GATHERED = "passed, not gathered"
"""Begins the reason of a transcript that passed and does not meet what is asked beside that."""


class Candidate(Record):
    """A transcript that was judged.

    Args:
        path: the transcript's; none where its file is missing.
        source: the batch or checkpoint that has the verdict; assessment: where it stands there.
        unmet: what is asked of it beside a pass (core/judging/gather_rule.py) and not met.
        mended: id of the transcript that it was mended from (core/dataset/repair.py), where it was.
        reason: why it cannot be trained on, where that is known beforehand.
        round: of improvement that it is a correction of; 0 for all others.
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
    mended: str | None = None
    reason: str | None = None
    round: int = 0


@dataclass(frozen=True)
class Gathered:
    """What is trained on, sorted by id, and what is left out with the reason."""

    passing: list[Candidate]
    left_out: list[dict[str, str]]

    def without(self, dropped: dict[str, str]) -> "Gathered":
        """Leave more out: by id, the reason."""
        more = [{"id": item.id, "reason": dropped[item.id], "source": item.source} for item in self.passing if item.id in dropped]
        return Gathered([item for item in self.passing if item.id not in dropped], sorted([*self.left_out, *more], key=lambda entry: entry["id"]))

    def manifest(self) -> dict[str, Any]:
        """Return what the dataset is made of as plain data: `count`, `transcripts` and `left_out`."""
        transcripts = [
            {"id": item.id, "source_file": item.path, "score": item.score, "judge": item.judge, "rubric_hash": item.rubric_hash, "assessment": item.assessment}
            | ({"mended_from": item.mended} if item.mended else {})
            | ({"round": item.round} if item.round else {})
            for item in self.passing
        ]
        return {"count": len(transcripts), "transcripts": transcripts, "left_out": self.left_out}


def gather(candidates: Iterable[Candidate]) -> Gathered:
    """Choose the training transcripts; the first verdict on an id counts, later sources are ignored.

    A transcript that passed is left out if it does not meet what is asked beside that. An incomplete assessment is no verdict, and neither is one of which
    the transcript is missing.

    Raises:
        DatasetError: fewer than two transcripts passed, so that none is left for training once one is kept for validation.
    """
    first: dict[str, Candidate] = {}
    left_out: list[dict[str, str]] = []
    for item in candidates:
        earlier = first.get(item.id)
        if earlier is None:
            first[item.id] = item
        elif _is_none(earlier) and not _is_none(item):
            first[item.id] = item
            left_out.append({"id": item.id, "reason": f"duplicate id: a later verdict counts; this is none ({_reason(earlier)})", "source": earlier.source})
        else:
            left_out.append({"id": item.id, "reason": "duplicate id: an earlier verdict counts", "source": item.source})
    reasons = {item.id: _reason(item) for item in first.values()}
    left_out += [{"id": item.id, "reason": reason, "source": item.source} for item in first.values() if (reason := reasons[item.id])]
    passing = sorted((item for item in first.values() if not reasons[item.id]), key=lambda item: item.id)
    check_enough(len(passing), len(first))
    return Gathered(passing, sorted(left_out, key=lambda entry: (entry["id"], entry["reason"])))


def missed_by(reason: str) -> list[str]:
    """Return the parts of a rule that a transcript was left out by, from the reason."""
    kind, _, missed = reason.partition(": ")
    return missed.split("; ") if kind == NOT_GATHERED else []


def bound_mended(gathered: Gathered, allowed: bool, share: float) -> Gathered:
    """Leave repaired transcripts out: all of them, or those beyond a share of the training set, the lowest scores first.

    Args:
        share: largest share of repaired transcripts among all that remain.
    """
    mended = sorted((item for item in gathered.passing if item.mended), key=lambda item: (-(item.score or 0.0), item.id))
    others = len(gathered.passing) - len(mended)
    most = 0 if not allowed else len(mended) if share >= 1 else int(share * others / (1 - share) + 1e-9)
    reason = f"mended: beyond {100 * share:.0f} % of the dataset" if allowed else "mended: left out by the settings"
    return gathered.without({item.id: reason for item in mended[most:]})


def check_enough(passing: int, judged: int) -> None:
    """Check that there is one transcript to train on and one to validate with.

    Raises:
        DatasetError: there are fewer than two.
    """
    if passing < 2:
        raise DatasetError(
            f"Too few transcripts passed: {passing} of {judged}; at least 2 are needed, one to train on and one to validate with. "
            "Generate more conversations, or look at the failed checks in the assessment's report."
        )


def _is_none(item: Candidate) -> bool:
    """Say whether a candidate has no verdict, or its transcript is missing."""
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
    """Check that nothing that the evaluation will ask about is trained on.

    A transcript of our own counts by its seed: all seeds from `first_seed` on are the evaluation's. Others number their personas as they like, so they
    count if their seed is one of those that will be played, or if their persona is one of those under another number. (Of our own, two personas of a small
    domain may well be alike and be two all the same.)

    Raises:
        PersonaError: names those that are.
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
        shown = ", ".join(kept_apart[:5]) + (f" and {len(kept_apart) - 5} more" if len(kept_apart) > 5 else "")
        raise PersonaError(
            f"{len(kept_apart)} transcripts have personas that are kept for the evaluation: {shown}. Seeds from {first_seed} on are never trained on. "
            "Leave them out, or raise evaluation.first_seed."
        )


def _person(persona: dict[str, Any]) -> str:
    return fingerprint({name: value for name, value in persona.items() if name not in ("id", "seed", "name", "exchanges")})


def person_of(transcript: Transcript) -> str:
    """Return what tells the simulated people of our own conversations apart, by which the split is made; of others, the conversation they come from.

    Conversations with one person share what that person brings: on both sides of the split, the validation loss would reward what was learnt by heart.
    """
    seed, persona = transcript.provenance.get("seed"), transcript.persona
    return fingerprint([seed, _person(persona)]) if _is_ours(transcript) and isinstance(seed, int) and persona else source_of(transcript)


def _is_ours(transcript: Transcript) -> bool:
    return "pack_hash" in transcript.provenance or "pack_hash" in transcript.provenance.get("claimed", ())


def judges_of(gathered: Gathered) -> list[str]:
    """Return who judged what is trained on, most frequent first."""
    judges = (item.judge if item.assessment.endswith(".json") else f"{item.judge} (as its checkpoint says)" for item in gathered.passing)
    return [judge for judge, _ in Counter(judges).most_common()]

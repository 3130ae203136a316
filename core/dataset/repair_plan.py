"""Chooses the transcripts to repair, and collects the facts for the report.

A transcript is repaired if it almost passed, or passed but does not meet the gathering rule. One that failed a gate is never repaired.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.dataset.repair import PASSED, REFUSED, exchanges_to_repair
from core.dataset.sources import PILOTS
from core.errors import DamagedError, PackError, SettingsError, TranscriptError
from core.fingerprint import fingerprint
from core.judging.gather_rule import gather_rule, unmet_by
from core.llm.bills import bills, read_entries
from core.llm.run import Run
from core.packs.rubric import GatherRule
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, ModelChoice, Outcome, Record, Transcript, TranscriptRef
from core.settings.faults import Fault
from core.settings.operations import RepairSettings
from core.storage.batches import find_batch, latest_assessments


class RepairPlan(Record):
    """Everything that one repair depends on.

    Args:
        assessment: path of the transcript's assessment.
        prompt: hash of the repairer's prompt and the rubric.
        minimum: exchanges that must remain if the transcript is cut.
    """

    transcript: TranscriptRef
    assessment: str
    repairer: ModelChoice
    domain: str
    prompt: str
    numbers: RepairSettings
    minimum: int
    guards: list[Fault]
    gather: GatherRule

    @property
    def name(self) -> str:
        """The id of the repaired transcript."""
        return f"{self.transcript.id}-mended-{fingerprint(self)}"

    @property
    def path(self) -> str:
        """The file of the repaired transcript, below the data root."""
        return f"repaired/{self.domain}/{self.name}.json"


@dataclass(frozen=True)
class Chosen:
    """The transcripts of a batch to repair, and the reason for each other one that cannot be trained on."""

    batch: AssessmentBatch
    plans: list[RepairPlan]
    left_out: list[LeftOut]


def choose_repairs(run: Run, assessed: str | None) -> Chosen:
    """Choose the transcripts of a batch to repair.

    Args:
        assessed: a batch of assessments; by default the domain's latest.

    Raises:
        SettingsError: the settings name no repairer.
        PackError: the pack has no prompt for repairs.
        TranscriptError: there is no batch.
    """
    store, pack = run.store, run.pack
    if not run.models.get("repairer"):
        raise SettingsError("roles.repairer is null, so no model repairs. Name one.")
    if pack.repair is None:
        raise PackError(
            f"prompts/{pack.name}/repair.md does not exist, so transcripts cannot be repaired. Write it; docs/domain-packs.md says what belongs in it."
        )
    if assessed is None and not store.exists(latest_assessments(pack.name)):
        raise TranscriptError(f"No assessments of {pack.name!r} are in {store.root}. Make some first (understudy assess), or name a batch.")
    name = find_batch(store, assessed, "assessments") if assessed else store.read(latest_assessments(pack.name)).strip()
    batch = store.load(name, AssessmentBatch)
    gather, plans, left_out = gather_rule(pack.rubric, run.settings.gather), [], []
    for item in batch.assessments:
        pilot = item.transcript.path.startswith(PILOTS)
        try:
            to_mend = (
                "it is of a pilot"
                if pilot
                else exchanges_to_repair(store.load(item.transcript.path, Transcript), store.load(item.path, Assessment), pack, run.settings.repair, gather)
            )
        except DamagedError as damaged:
            to_mend = str(damaged)
        if isinstance(to_mend, str):
            left_out += [] if to_mend == PASSED or (pilot and item.outcome is Outcome.PASS) else [LeftOut(name=item.transcript.id, reason=to_mend)]
        else:
            plans.append(_plan(run, item, gather))
    return Chosen(batch, plans, left_out)


def repair_facts(run: Run, chosen: Chosen, batch: AssessmentBatch) -> dict[str, Any]:
    """Return the facts for the report: what was repaired, what passes now, and the cost of a repaired transcript and of a new one.

    Args:
        batch: the assessments of the repaired transcripts.
    """
    store = run.store
    rows = [(store.load(item.transcript.path, Transcript), item) for item in batch.assessments]
    unmet = {item.path: _unmet(run, item) for item in batch.assessments if item.outcome is Outcome.PASS}
    passed = [path for path, missed in unmet.items() if not missed]
    spent = sum(bill.usd for bill in bills(store, run.ledger.run).values())
    new = _cost_of_new(run, chosen.batch)
    return {
        "failed": len(chosen.plans) + len(chosen.left_out),
        "chosen": len(chosen.plans),
        "repaired": len(rows),
        "passed": len(passed),
        "reasons": Counter(_kind(item.reason) for item in [*chosen.left_out, *batch.left_out]).most_common(),
        "rows": [_row(transcript, item, unmet.get(item.path, [])) for transcript, item in rows],
        "rescued": spent / len(passed) if passed else None,
        "new": new,
        "bills": bills(store, run.ledger.run),
        "cost": _cost(spent, len(passed)),
    }


def _cost(spent: float, passed: int) -> str:
    if not spent:
        return "nothing was paid"
    return f"{spent / passed:.4f} USD for each that passes" if passed else f"{spent:.4f} USD, and none passes"


def _plan(run: Run, item: AssessmentRef, gather: GatherRule) -> RepairPlan:
    assert run.pack.repair is not None
    return RepairPlan(
        transcript=item.transcript,
        assessment=item.path,
        repairer=run.model("repairer"),
        domain=run.pack.name,
        prompt=fingerprint([run.pack.repair.text, run.pack.rubric.hash]),
        numbers=run.settings.repair.model_copy(update={"concurrency": 1, "by_night": False, "in_dataset": True, "dataset_share": 1.0}),
        minimum=run.settings.generation.minimum_exchanges,
        guards=run.settings.generation.guards,
        gather=gather,
    )


def _unmet(run: Run, item: AssessmentRef) -> list[str]:
    """Return the parts of the gathering rule that a transcript does not meet."""
    return unmet_by(run.store.load(item.path, Assessment), gather_rule(run.pack.rubric, run.settings.gather), run.pack.rubric)


def _row(transcript: Transcript, item: AssessmentRef, unmet: Sequence[str]) -> dict[str, object]:
    repair = transcript.provenance["repair"]
    return {
        "id": repair["of"],
        "before": repair["score_before"],
        "after": item.score,
        "outcome": "pass, not gathered" if unmet else item.outcome.value,
        "changed": [(change["exchange"], change["criteria"]) for change in repair["changed"]],
        "cut": repair["cut_after"],
    }


def _cost_of_new(run: Run, batch: AssessmentBatch) -> float | None:
    """Return the USD that each usable transcript of a batch cost to generate and to judge; None if nothing was paid or no transcript is usable."""
    store, ids = run.store, {item.transcript.id for item in batch.assessments}
    names = sorted({folder.rpartition("/")[2] for folder in store.names("ledger")})
    entries = (entry for name in names for entry in read_entries(store, name) if entry["item"] in ids and entry["role"] != "repairer")
    paid = {entry["call"]: entry.get("usd") or 0.0 for entry in entries}
    passed = sum(item.outcome is Outcome.PASS and not _unmet(run, item) for item in batch.assessments)
    total = sum(paid.values())
    return total / passed if passed and total else None


def _kind(reason: str) -> str:
    """Return a reason without the transcript's id and its own numbers, so that equal reasons are counted together."""
    _, refused, why = reason.rpartition(REFUSED)
    return re.sub(r"\b\d+(?:\.\d+)?\b", "…", why) if refused else why

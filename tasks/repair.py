"""Mending transcripts that almost passed: one task for each, and then the same judges judge them whole."""

import re
from collections import Counter
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.authoring.pilots import of_pilot
from core.dataset.repair import Workshop, exchanges_to_mend, mend
from core.errors import DamagedError, PackError, RepairError, SettingsError, TranscriptError
from core.fingerprint import fingerprint
from core.llm.ledger import bills, read_entries
from core.packs.pack import load_pack
from core.records import (
    Assessment,
    AssessmentBatch,
    AssessmentRef,
    LeftOut,
    ModelChoice,
    Outcome,
    Record,
    Reference,
    Transcript,
    TranscriptBatch,
    TranscriptRef,
)
from core.reports.render import markdown
from core.settings.faults import Fault
from core.settings.operations import RepairSettings
from core.storage.store import open_store
from tasks.artifacts import publish_report
from tasks.assessment_report import latest
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached, side_by_side
from tasks.run import Run, log_bill, open_model, turn


class RepairPlan(Record):
    """All that one repair depends on.

    Args:
        prompt: hash of what the repairer is told.
    """

    transcript: TranscriptRef
    assessment: str
    repairer: ModelChoice
    domain: str
    prompt: str
    numbers: RepairSettings
    minimum: int
    guards: list[Fault]


class RepairRef(Reference):
    """A batch of assessments of mended transcripts, and what came of it in words."""

    summary: dict[str, str]


@dataclass(frozen=True)
class Chosen:
    """What of a batch is mended, and for all other failed transcripts why not."""

    batch: AssessmentBatch
    plans: list[RepairPlan]
    left_out: list[LeftOut]


@cached_task("repair", "mend {plan.transcript.id}")
async def repair_task(plan: RepairPlan) -> TranscriptRef:
    """Mend one transcript and store it; one that is there already is not mended again."""
    pack, store = load_pack(plan.domain), open_store()
    name = _name(plan)
    path = f"repaired/{plan.domain}/{name}.json"
    if store.exists(path):
        return existing(TranscriptRef(id=name, path=path, exchanges=len(store.record(path, Transcript).exchanges)))
    workshop = Workshop(pack, await open_model(plan.repairer), plan.numbers, plan.minimum, plan.guards)
    try:
        transcript = await mend(workshop, _transcript(plan.transcript.path), _assessment(plan.assessment), name)
    except RepairError as error:
        raise TranscriptError(str(error)) from error  # costs this one, not the batch
    store.write_json(path, transcript)
    return TranscriptRef(id=name, path=path, exchanges=len(transcript.exchanges))


def _name(plan: RepairPlan) -> str:
    return f"{plan.transcript.id}-mended-{fingerprint(plan)}"


def choose_repairs(run: Run, assessed: str | None) -> Chosen:
    """Say which transcripts of a batch are mended.

    Args:
        assessed: a batch of assessments; by default the domain's latest.

    Raises:
        SettingsError: nobody is named who mends. PackError: the pack does not say how.
        TranscriptError: there is no batch.
    """
    store, pack, logger = open_store(), run.pack, get_run_logger()
    if not run.models.get("repairer"):
        raise SettingsError("roles.repairer is null, so nobody mends. Name a model.")
    if pack.repair is None:
        raise PackError(
            f"prompts/{pack.name}/repair.md does not exist, so no repairer knows what to do. Write it; docs/domain-packs.md says what belongs in it."
        )
    if assessed is None and not store.exists(latest(pack.name)):
        raise TranscriptError(f"No assessments of {pack.name!r} are in {store.root}. Make some first (make assess), or name a batch.")
    batch = store.record(assessed or store.read(latest(pack.name)).strip(), AssessmentBatch)
    plans, left_out = [], []
    for item in batch.assessments:
        pilot = of_pilot(item.transcript.path)
        try:
            found = "it is of a pilot" if pilot else exchanges_to_mend(_transcript(item.transcript.path), _assessment(item.path), pack, run.settings.repair)
        except DamagedError as damaged:
            found = str(damaged)
        if isinstance(found, str):
            left_out += [] if item.outcome is Outcome.PASS else [LeftOut(name=item.transcript.id, reason=found)]
        else:
            plans.append(_plan(run, item))
    logger.info("%d of %d failed transcripts can be mended.", len(plans), len(plans) + len(left_out))
    return Chosen(batch, plans, left_out)


async def repair_batch(run: Run, chosen: Chosen) -> str:
    """Mend what was chosen, side by side.

    Returns:
        Name of the batch of mended transcripts below the data root.
    """

    async def one(plan: RepairPlan) -> TranscriptRef:
        async with owned(f"repaired/{_name(plan)}"):
            return await run_cached(repair_task, plan)

    names = [plan.transcript.id for plan in chosen.plans]
    async with turn(run, ("repairer",)):
        made, left_out = await side_by_side(one, chosen.plans, names, run.settings.repair.concurrency, "Mended")
    log_bill(run)
    batch = TranscriptBatch(domain=run.pack.name, transcripts=made, left_out=left_out)
    return open_store().write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)


async def publish_repairs(run: Run, chosen: Chosen, assessed: str) -> RepairRef:
    """Say what was mended, what passes now, and what a rescued transcript costs beside a new one."""
    store = open_store()
    batch = store.record(assessed, AssessmentBatch)
    rows = [(_transcript(item.transcript.path), item) for item in batch.assessments]
    passed = [item for item in batch.assessments if item.outcome is Outcome.PASS]
    spent = sum(bill.usd for bill in bills(store, run.ledger.run).values())
    new = _cost_of_new(chosen.batch)
    facts = {
        "failed": len(chosen.plans) + len(chosen.left_out),
        "chosen": len(chosen.plans),
        "mended": len(rows),
        "passed": len(passed),
        "reasons": Counter(_kind(item.reason) for item in [*chosen.left_out, *batch.left_out]).most_common(),
        "rows": [_row(transcript, item) for transcript, item in rows],
        "rescued": spent / len(passed) if passed else None,
        "new": new,
        "bills": bills(store, run.ledger.run),
    }
    text = markdown("repair", facts=facts)
    page = store.write(f"{assessed.replace('batches/', 'reports/').removesuffix('.json')}/repairs.md", text)
    await publish_report(text, key=f"repair-{run.pack.name}", description="Transcripts that almost passed, mended")
    get_run_logger().info("Of %d mended transcripts %d pass. The report: %s/%s", len(rows), len(passed), store.root, page)
    cost = "nothing was paid" if not spent else f"{facts['rescued']:.4f} USD for each that passes" if passed else f"{spent:.4f} USD, and none passes"
    summary = {"mended": f"{len(rows)} of {facts['failed']} that failed", "passed": str(len(passed)), "cost": cost, "report": f"{store.root}/{page}"}
    return RepairRef(path=assessed, summary=summary)


def _plan(run: Run, item: AssessmentRef) -> RepairPlan:
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
    )


def _row(transcript: Transcript, item: AssessmentRef) -> dict[str, object]:
    told = transcript.provenance["repair"]
    return {
        "id": told["of"],
        "before": told["score_before"],
        "after": item.score,
        "outcome": item.outcome.value,
        "changed": [(change["exchange"], change["criteria"]) for change in told["changed"]],
        "cut": told["cut_after"],
    }


def _cost_of_new(batch: AssessmentBatch) -> float | None:
    """Return what each passing transcript of a batch cost to make and to judge, by all bills that there are; none where nothing was paid or passed."""
    store, ids = open_store(), {item.transcript.id for item in batch.assessments}
    runs = sorted({folder.rpartition("/")[2] for folder in store.names("ledger")})
    paid = {
        entry["call"]: entry.get("usd") or 0.0 for run in runs for entry in read_entries(store, run) if entry["item"] in ids and entry["role"] != "repairer"
    }
    passed = sum(item.outcome is Outcome.PASS for item in batch.assessments)
    total = sum(paid.values())
    return total / passed if passed and total else None


def _kind(reason: str) -> str:
    """Return a reason without the numbers and names in which it differs from others of its kind."""
    return re.sub(r"\b\d+(?:\.\d+)?\b", "…", reason.rpartition("cannot be mended: ")[2])


def _transcript(path: str) -> Transcript:
    return open_store().record(path, Transcript)


def _assessment(path: str) -> Assessment:
    return open_store().record(path, Assessment)

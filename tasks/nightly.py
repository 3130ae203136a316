"""A night's batch: new personas and those that earlier nights left, then whatever is not yet judged, until the budget or the hour ends it."""

import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from core.errors import BudgetError, PersonaError, RunStoppedError, UnavailableError
from core.fingerprint import fingerprint
from core.llm.ledger import bills
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, Outcome, Reference, Transcript, TranscriptBatch, TranscriptRef
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.personas import sample_persona
from core.reports.nights import Night, NightReport, ends_at, left_by, plan_night
from core.reports.render import night_markdown
from core.settings.pipeline import load_settings
from core.storage.store import open_store
from tasks.artifacts import publish_report
from tasks.assessment import assess_batch, check_assessed, found_assessments, judge_transcripts, not_assessed
from tasks.assessment_report import publish_assessment
from tasks.generation import plan_personas, rehearsal_name, rehearse_batch
from tasks.policy import fail_if_nothing
from tasks.repair import choose_repairs, publish_repairs, repair_batch
from tasks.run import Run


class NightRef(Reference):
    """A night's report, and its figures in words."""

    summary: dict[str, str]


@dataclass
class Work:
    """A night under way.

    Args:
        night: its own personas.
        taken_up: seeds that earlier nights left.
        over: says whether nothing more may be begun.
        batch: name of its batch of assessments; mended: transcripts that almost passed and do now.
        made: its conversations; assessed: what was judged, of whatever night; left_out: what was gone on without.
        stopped: why it ended early; trouble: what needs a person.
    """

    night: Night
    taken_up: list[int]
    over: Callable[[], bool]
    made: list[TranscriptRef] = field(default_factory=list)
    assessed: list[AssessmentRef] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    batch: str | None = None
    mended: int = 0
    stopped: str | None = None
    trouble: list[RunStoppedError] = field(default_factory=list)

    @property
    def seeds(self) -> list[int]:
        """All that it is to make."""
        return [*self.taken_up, *self.night.seeds]


def name_of_night(settings: str) -> str:
    """Return the date on which the run was due, by the nightly's clock."""
    context = FlowRunContext.get()
    due = context.flow_run.expected_start_time if context and context.flow_run else None
    return f"{(due or datetime.now(UTC)).astimezone(ZoneInfo(load_settings(settings).nightly.timezone)):%Y-%m-%d}"


def begin_night(run: Run, conversations: int | None, name: str) -> Work:
    """Give a night its personas; one that was begun before keeps those that it was given.

    Args:
        conversations: new ones; by default as many as the settings say.
        name: of the night.

    Raises:
        PersonaError: the seeds below those of the evaluation are used up.
    """
    store, settings, folder = open_store(), run.settings, _folder(run)
    earlier = {found.name: found for found in (store.record(path, Night) for path in store.names(folder, ".json"))}
    made = _made_seeds(run)
    night = earlier.pop(name, None)
    if night is None:
        count = settings.nightly.conversations if conversations is None else conversations
        night = plan_night(name, count, list(earlier.values()), made, settings.generation.first_seed)
        if night.seeds.stop > settings.evaluation.first_seed:
            raise PersonaError(
                f"The night would use the seeds {night.first_seed} to {night.seeds.stop - 1}, and those from {settings.evaluation.first_seed} on are kept for "
                "the evaluation. Raise evaluation.first_seed, or lower nightly.conversations."
            )
        store.write_json(f"{folder}/{name}.json", night)
    taken_up = left_by(list(earlier.values()), made)
    end = ends_at(settings.nightly.until, settings.nightly.timezone, datetime.now(UTC))
    logger = get_run_logger()
    logger.info("The night of %s: personas %d to %d, until %s.", name, night.first_seed, night.seeds.stop - 1, f"{end:%Y-%m-%d %H:%M %Z}")
    if taken_up:
        logger.info("%d personas of earlier nights have no conversation yet and are taken up.", len(taken_up))
    return Work(night, taken_up, lambda: datetime.now(UTC) >= end)


async def rehearse_night(run: Run, work: Work) -> None:
    """Rehearse with the night's personas; what was made before is found."""
    share = 1 - run.settings.nightly.for_judging

    def over() -> bool:
        if run.ledger.used >= share > 0 and work.stopped is None:
            work.stopped = f"{share:.0%} of the budget was spent, and the rest is the judges' (nightly.for_judging)."
        return work.stopped is not None or work.over()

    plans = plan_personas(run, [sample_persona(run.pack, seed, run.settings.generation.exchanges) for seed in work.seeds])

    async def rehearse() -> None:
        work.left_out += open_store().record(await rehearse_batch(plans, run, over), TranscriptBatch).left_out

    await _until_stopped(work, rehearse())
    store, folder = open_store(), f"transcripts/{run.pack.name}"
    for plan in plans:
        path = f"{folder}/{rehearsal_name(plan)}.json"
        if store.exists(path):
            work.made += _refs([path], work)


async def assess_night(run: Run, work: Work) -> None:
    """Judge every conversation of the domain that is not yet judged, whichever night made it."""
    there = _refs(open_store().names(f"transcripts/{run.pack.name}", ".json"), work)
    waiting = not_assessed(there, run)

    async def judge() -> None:
        _, left_out = await judge_transcripts(waiting, run, work.over)
        work.left_out += left_out

    if waiting and not work.trouble:
        await _until_stopped(work, judge())
        work.assessed = found_assessments(waiting, run)
        batch = AssessmentBatch(
            domain=run.pack.name, judges=[judge.reference for judge in run.models["judge"]], assessments=work.assessed, left_out=work.left_out
        )
        if work.assessed:
            work.batch = open_store().write_json(f"batches/assessments-{fingerprint(batch)}.json", batch)
            await publish_assessment(work.batch, run, {})


async def mend_night(run: Run, work: Work) -> None:
    """Mend what almost passed this night, where the settings want it."""

    async def mend() -> None:
        chosen = choose_repairs(run, work.batch)
        if chosen.plans:
            found = await publish_repairs(run, chosen, await assess_batch(await repair_batch(run, chosen), run))
            work.mended = int(found.summary["passed"])

    if run.settings.repair.by_night and work.batch and not (work.trouble or work.stopped or work.over()):
        await _until_stopped(work, mend())


async def publish_night(run: Run, work: Work) -> NightRef:
    """Write and publish what the night came to.

    Raises:
        RunStoppedError: something needs a person.
        NothingMadeError: all conversations, or all assessments, failed, though nothing ended the night early.
    """
    store, domain = open_store(), run.pack.name
    report = _report(run, work)
    path = store.write_json(f"nights/{domain}/reports/{work.night.name}.json", report)
    names = store.names(f"nights/{domain}/reports", ".json")
    before = [store.record(name, NightReport) for name in names if name < path]
    read = [store.record(ref.path, Transcript) for ref in work.made]
    fidelity = measure_fidelity(run.pack, read) if read else None
    earlier = before[::-1][: run.settings.nightly.nights]
    text = night_markdown(report, earlier, fidelity, bills(store, run.ledger.run), run.pack)
    page = store.write(path.replace(".json", ".md"), text)
    await publish_report(text, key=f"nightly-{domain}", description=f"The night of {work.night.name}")
    get_run_logger().info("The night's report: %s/%s", store.root, page)
    if work.trouble:
        raise work.trouble[0]
    if not work.stopped and not work.over():
        fail_if_nothing(len(work.made), work.left_out if work.seeds else [], "conversations")
        if work.batch:
            check_assessed(work.batch)
    return NightRef(path=path, summary=_summary(report) | {"report": f"{store.root}/{page}"})


def _report(run: Run, work: Work) -> NightReport:
    assessments = [open_store().record(item.path, Assessment) for item in work.assessed]
    outcomes = Counter(item.score.outcome for item in assessments)
    failed = Counter(check for item in assessments for check in {*item.score.failed_checks, *item.score.failed_gates})
    left, bill = len(work.seeds) - len(work.made), run.ledger.bill
    read = [open_store().record(ref.path, Transcript) for ref in work.made]
    return NightReport(
        night=work.night,
        made=len(work.made),
        taken_up=len(set(work.taken_up) & {_seed(ref.path) for ref in work.made}),
        left=left,
        assessed=len(assessments),
        passed=outcomes[Outcome.PASS],
        failed=outcomes[Outcome.FAIL],
        incomplete=outcomes[Outcome.INCOMPLETE],
        mended=work.mended,
        failed_checks=dict(failed.most_common()),
        left_out=dict(Counter(item.reason for item in work.left_out).most_common()),
        out_of_range=measure_fidelity(run.pack, read).out if read else [],
        usd=bill.usd,
        calls=bill.calls,
        unpriced=bill.unpriced,
        seconds=time.monotonic() - run.began,
        stopped=work.stopped or ("the hour had come." if work.over() and left else None),
        trouble=[str(error) for error in work.trouble],
    )


def _summary(report: NightReport) -> dict[str, str]:
    rate = f", {report.pass_rate:.0%}" if report.pass_rate is not None else ""
    return {
        "made": f"{report.made} conversations, {report.taken_up} of them of earlier nights; {report.left} left",
        "assessed": f"{report.assessed}: {report.passed} passed{rate}, {report.failed} failed, {report.incomplete} incomplete",
        "cost": f"{report.usd:.4f} USD, {report.calls:,} calls",
        "ended early": report.stopped or "no",
    }


async def _until_stopped(work: Work, doing: Awaitable[object]) -> None:
    """Await what may be stopped: a spent budget and a provider that is down leave the rest to the next night, anything else needs a person."""
    try:
        await doing
    except (BudgetError, UnavailableError) as error:
        work.stopped = str(error)
    except RunStoppedError as error:
        work.trouble.append(error)


def _made_seeds(run: Run) -> set[int]:
    return {seed for path in open_store().names(f"transcripts/{run.pack.name}", ".json") if (seed := _seed(path)) is not None}


def _seed(path: str) -> int | None:
    """Return the persona's seed, with which a transcript's name begins; none of a file that was put there by another hand."""
    begins = path.rpartition("/")[2].partition("-")[0]
    return int(begins) if re.fullmatch("[0-9]{1,18}", begins) else None


def _refs(paths: Sequence[str], work: Work) -> list[TranscriptRef]:
    """Return the transcripts of files; those that cannot be read are left out."""
    found, damaged = open_store().records(paths, Transcript)
    told = {item.name for item in work.left_out}
    for path, reason in damaged.items():
        if path not in told:
            get_run_logger().warning("Left out: %s", reason)
            work.left_out.append(LeftOut(name=path, reason=reason))
    return [TranscriptRef(id=item.id, path=path, exchanges=len(item.exchanges)) for path, item in found.items()]


def _folder(run: Run) -> str:
    return f"nights/{run.pack.name}/plans"

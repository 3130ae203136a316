"""A night's batch: conversations with new personas and those left by earlier nights, then assessments of all that have none.

A spent budget or the end time ends it.
"""

import re
from collections.abc import Awaitable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from core.errors import BudgetError, NothingMadeError, RunStoppedError, SettingsError, UnavailableError
from core.imports.rehearsed import Rehearsed, rehearsed
from core.judging.plan import existing_assessments, not_assessed
from core.llm.bills import bills
from core.llm.run import Run
from core.records import AssessmentBatch, Reference, Transcript, TranscriptBatch
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.plan import Plans
from core.reports.left_out import fail_if_none_passes, fail_if_nothing
from core.reports.night_state import NightlyState, night_report, night_summary, seed_in_name, start_night
from core.reports.nights import NightReport
from core.reports.render import night_markdown
from core.settings.pipeline import load_settings
from core.storage.batches import keep_batch
from tasks.artifacts import publish_report, publish_studio_link
from tasks.assessment import assess_batch, check_assessed
from tasks.assessment_report import publish_assessment
from tasks.generation import rehearse_batch
from tasks.judging_batches import judge_as_set
from tasks.repair import publish_repairs, repair_batch

DATE = re.compile(r"20\d\d-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])")
"""The name of a night: its date."""


class NightRef(Reference):
    """The report on a night, and its main figures as text."""

    summary: dict[str, str]


def name_of_night(settings: str, date: str | None) -> str:
    """Return the name of a night: its date.

    Args:
        settings: path of the settings file, which has the time zone (nightly.timezone).
        date: the date as a person wrote it; None for the date on which the run was scheduled.

    Raises:
        SettingsError: it is not a date.
    """
    if date:
        if not DATE.fullmatch(date):
            raise SettingsError(f"night is {date!r}. Write it as a date, such as {datetime.now(UTC):%Y-%m-%d}, or leave it out.")
        return date
    context = FlowRunContext.get()
    due = context.flow_run.expected_start_time if context and context.flow_run else None
    return f"{(due or datetime.now(UTC)).astimezone(ZoneInfo(load_settings(settings).nightly.timezone)):%Y-%m-%d}"


def begin_night(run: Run, conversations: int | None, name: str) -> NightlyState:
    """Choose the personas of a night; a night that is resumed keeps its personas.

    Args:
        run: the run.
        conversations: number of new conversations; None for the number in the settings.
        name: name of the night.

    Raises:
        PersonaError: the seeds below those of the evaluation are used up.
    """
    state, logger = start_night(run, conversations, name), get_run_logger()
    night = state.night
    logger.info(
        "The night of %s: personas %d to %d, until %s.",
        *(name, night.first_seed, night.seeds.stop - 1, f"{state.end:%Y-%m-%d %H:%M %Z}"),
    )
    if state.taken_up:
        logger.info(
            "%d personas of earlier nights have no conversation yet and will be rehearsed tonight.",
            len(state.taken_up),
        )
    return state


async def rehearse_night(run: Run, state: NightlyState) -> None:
    """Rehearse with the night's personas; existing conversations are reused."""
    share = 1 - run.settings.nightly.for_judging

    def should_stop() -> bool:
        if run.ledger.used >= share > 0 and state.stopped is None:
            state.stopped = f"{100 * share:.0f} % of the budget was spent, and the rest is reserved for judging (nightly.for_judging)."
        return state.stopped is not None or state.should_stop()

    plans = Plans(run, state.seeds)

    async def rehearse() -> None:
        state.left_out += run.store.load(await rehearse_batch(plans, run, should_stop), TranscriptBatch).left_out

    await _until_stopped(state, rehearse())
    refs = _rehearsed(run, state).refs
    rehearsed_seeds = {seed_in_name(ref.path) for ref in refs}
    paths = {plans[place].path for place, seed in enumerate(plans.seeds) if seed in rehearsed_seeds}
    state.transcripts = [ref for ref in refs if ref.path in paths]


def _rehearsed(run: Run, state: NightlyState) -> Rehearsed:
    """Return all conversations of the domain; damaged files are noted as left out."""
    conversations = rehearsed(run.store, run.pack.name)
    state.leave_out(conversations.damaged, get_run_logger().warning)
    return conversations


async def assess_night(run: Run, state: NightlyState) -> None:
    """Judge every conversation of the domain that is not judged yet, whichever night made it."""
    conversations = _rehearsed(run, state)
    waiting = not_assessed(conversations.refs, run, conversations.states)

    async def judge() -> None:
        _, left_out = await judge_as_set(waiting, run, state.should_stop)
        state.left_out += left_out

    if waiting and not state.trouble:
        await _until_stopped(state, judge())
        state.assessed = existing_assessments(waiting, run)
        batch = AssessmentBatch(
            domain=run.pack.name, judges=[judge.reference for judge in run.models["judge"]], assessments=state.assessed, left_out=state.left_out
        )
        if state.assessed:
            state.batch = keep_batch(run.store, batch)
            await publish_assessment(state.batch, run, {})


async def repair_night(run: Run, state: NightlyState) -> None:
    """Repair this night's transcripts that almost passed, if the settings say so."""

    async def repair() -> None:
        chosen, repaired = await repair_batch(run, state.batch)
        if chosen.plans:
            report = await publish_repairs(run, chosen, await assess_batch(repaired, run))
            state.repaired = int(report.summary["passed"])

    if run.settings.repair.by_night and state.batch and not (state.trouble or state.stopped or state.should_stop()):
        await _until_stopped(state, repair())


async def publish_night(run: Run, state: NightlyState) -> NightRef:
    """Write and publish the report on the night.

    Raises:
        RunStoppedError: a person must act, or a spent budget or an outage ended the night before anything was made.
        NothingMadeError: the night made nothing, or nothing that it made passed.
    """
    store, domain = run.store, run.pack.name
    report = night_report(run, state)
    path = store.write_json(f"nights/{domain}/reports/{state.night.name}.json", report)
    names = store.names(f"nights/{domain}/reports", ".json")
    earlier = [store.load(name, NightReport) for name in [name for name in names if name < path][::-1][: run.settings.nightly.nights]]
    read = [store.load(ref.path, Transcript) for ref in state.transcripts]
    fidelity = measure_fidelity(run.pack, read) if read else None
    text = night_markdown(report, earlier, fidelity, bills(store, run.ledger.run), run.pack)
    page = store.write(path.replace(".json", ".md"), text)
    await publish_report(text, key=f"nightly-{domain}", description=f"The night of {state.night.name}")
    await publish_studio_link(f"/trend/{domain}", "nights", "This night compared with the others")
    get_run_logger().info("The night's report: %s/%s", store.root, page)
    if state.trouble:
        raise state.trouble[0]
    nothing = bool(state.seeds) and not state.transcripts and not state.assessed
    if nothing and state.ended_by:
        raise state.ended_by
    fail_if_nothing(len(state.transcripts), state.left_out if state.seeds else [], "conversations")
    if nothing:
        raise NothingMadeError(f"The night of {state.night.name} made nothing: {report.stopped or 'there was nothing to make.'} The next night continues it.")
    if state.batch and not state.stopped:
        check_assessed(run, state.batch)
    fail_if_none_passes(report.passed + state.repaired, report.passed + report.failed, f"{store.root}/{page}")
    return NightRef(path=path, summary=night_summary(report) | {"report": f"{store.root}/{page}"})


async def _until_stopped(state: NightlyState, doing: Awaitable[object]) -> None:
    """Await a step that may be stopped. A spent budget or an unavailable provider leaves the rest to the next night; any other reason needs a person."""
    try:
        await doing
    except (BudgetError, UnavailableError) as error:
        state.stopped, state.ended_by = str(error), error
    except RunStoppedError as error:
        state.trouble.append(error)

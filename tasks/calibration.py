"""Judges measured against a golden set: the price, the assessments and the figures."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.errors import RunStoppedError
from core.escaping import Markdown, plain
from core.judging.calibration import cheapest, keep_calibration, panels
from core.judging.golden import Golden
from core.judging.golden_judging import GoldenPlan, billed, golden_sets, measure, modes_of, plan_golden, size_warning
from core.llm.run import Run
from core.paths import user_path
from core.records import Reference
from core.reports.calibration import Measured, calibration_markdown, calibration_page, calibration_rows, calibration_summary, price_sentence
from core.reports.costs import golden_costs
from core.reports.left_out import fail_if_nothing
from tasks.artifacts import publish_report, publish_table
from tasks.assessment import judge_plans

DISAGREEMENTS = "\n## Disagreements\n"
"""Heading of the report's last section. It is left out in the Prefect UI, where no conversation can be opened."""


class CalibrationRef(Reference):
    """The page of a calibration, and its main figures as text."""

    summary: dict[str, str]


async def calibrate(run: Run, mode: str | None, repeat: int, folder: str | None) -> CalibrationRef:
    """Measure the run's judges in each mode. If the budget ends first, the figures so far are published before the run stops.

    Args:
        run: the run, with its judges.
        mode: modes of judging, separated by commas; None for the mode in the settings.
        repeat: how often each conversation is judged.
        folder: folder with more golden conversations; None for those of the pack alone.

    Raises:
        PackError: there is no golden conversation.
        NothingMadeError: no conversation could be judged.
        RunStoppedError: the budget is spent, or a judge can no longer be called.
    """
    logger = get_run_logger()
    golden = golden_sets(run.pack, user_path(folder) if folder else None)
    if sentence := size_warning(golden, run.pack):
        logger.warning("%s", sentence)
    golden_plans = plan_golden(run, golden, modes_of(mode, run.settings.assessment.judging), repeat)
    logger.info("%s", price_sentence(golden_costs(run, golden, golden_plans, count_tokens), len(golden), repeat, run.ledger))
    stopped, left_out = None, []
    try:
        for number in range(repeat):  # conversation by conversation, so that all judges have judged the same ones when the budget ends
            plans = [golden_plan.plans[number][item.id] for item in golden for golden_plan in golden_plans]
            _, lost = await judge_plans(plans, run, "Judged")
            left_out += lost
    except RunStoppedError as error:
        stopped = error
    ref = await publish_calibration(run, golden, golden_plans)
    if stopped:
        raise stopped
    fail_if_nothing(len(ref.summary) > 1, left_out, "assessments")
    return ref


async def publish_calibration(run: Run, golden: Sequence[Golden], golden_plans: Sequence[GoldenPlan]) -> CalibrationRef:
    """Store the figures of each judge, write report and page, and publish the report in the Prefect UI.

    The figures of a judge that has not judged all conversations are reported, but not stored.
    """
    store, entries, day = run.store, billed(run.store), f"{datetime.now(UTC):%Y-%m-%d}"
    calibrations, answers = [], {}
    for golden_plan in golden_plans:
        calibration, assessments = measure(run, golden, golden_plan, entries, day)
        if len(assessments) == len(golden):
            calibration, _ = keep_calibration(store, calibration)
        if assessments:
            calibrations.append(calibration)
            answers[calibration.name] = (calibration, assessments)
    pairs, numbers = panels(answers, golden, run.pack, run.settings.assessment.panel), run.settings.calibration
    for panel in pairs:
        if len(panel.conversations) == len(golden):
            keep_calibration(store, panel)
    complete = [item for item in [*calibrations, *pairs] if len(item.conversations) == len(golden)]
    chosen = cheapest(complete, numbers.least_tpr, numbers.least_tnr)
    measured = Measured(run.pack, golden, calibrations, pairs, chosen, numbers, {name: assessments for name, (_, assessments) in answers.items()})
    text = calibration_markdown(measured, store)
    folder = measured.folder
    store.write(f"{folder}/report.md", text)
    page = store.write(f"{folder}/report.html", calibration_page(measured, text))
    figures = Markdown(f"{text.partition(DISAGREEMENTS)[0]}\n\n{plain(f'Every disagreement: {store.root}/{page}')}")
    await publish_report(figures, key=f"calibration-{run.pack.name}", description="Judges measured against the golden set")
    if calibrations:
        await publish_table(calibration_rows(measured), key=f"judges-{run.pack.name}", description="What each judge finds, misses and costs")
    return CalibrationRef(path=page, summary=calibration_summary(measured, store) | {"page": f"{store.root}/{page}"})

"""Judges measured against a golden set: the price, the assessments, the figures."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.errors import RunStoppedError
from core.escaping import Markdown, plain
from core.judging.calibration import cheapest, keep_calibration, panels
from core.judging.golden import Golden
from core.judging.golden_judging import Sitting, billed, golden_sets, measure, modes_of, plan_sittings, what_is_lacking
from core.llm.run import Run
from core.paths import user_path
from core.records import Reference
from core.reports.calibration import Measured, calibration_markdown, calibration_page, calibration_rows, calibration_summary, price_sentence
from core.reports.costs import golden_costs
from core.reports.left_out import fail_if_nothing
from tasks.artifacts import publish_report, publish_table
from tasks.assessment import judge_plans

DISAGREEMENTS = "\n## Disagreements\n"
"""Heading of the report's last section, which the Prefect UI, where no conversation can be opened, goes without."""


class CalibrationRef(Reference):
    """The page of a calibration, and what it came to in words."""

    summary: dict[str, str]


async def calibrate(run: Run, mode: str | None, repeat: int, folder: str | None) -> CalibrationRef:
    """Measure the run's judges in each mode. Where the budget ends, what was measured is published before the run stops.

    Raises:
        PackError: there is no golden conversation. NothingMadeError: no conversation could be judged.
        RunStoppedError: the budget is spent, or the like.
    """
    logger = get_run_logger()
    golden = golden_sets(run.pack, user_path(folder) if folder else None)
    if sentence := what_is_lacking(golden, run.pack):
        logger.warning("%s", sentence)
    sittings = plan_sittings(run, golden, modes_of(mode, run.settings.assessment.judging), repeat)
    logger.info("%s", price_sentence(golden_costs(run, golden, sittings, count_tokens), len(golden), repeat, run.ledger))
    stopped, left_out = None, []
    try:
        for number in range(repeat):  # a budget that ends leaves whole conversations
            plans = [one.plans[number][item.id] for item in golden for one in sittings]
            _, lost = await judge_plans(plans, run, "Judged")
            left_out += lost
    except RunStoppedError as error:
        stopped = error
    ref = await publish_calibration(run, golden, sittings)
    if stopped:
        raise stopped
    fail_if_nothing(len(ref.summary) > 1, left_out, "assessments")
    return ref


async def publish_calibration(run: Run, golden: Sequence[Golden], sittings: Sequence[Sitting]) -> CalibrationRef:
    """Keep what each judge was measured to be, write report and page, and publish the report in the Prefect UI.

    A judge that did not judge all conversations is reported, and not kept.
    """
    store, entries, day = run.store, billed(run.store), f"{datetime.now(UTC):%Y-%m-%d}"
    found, answers = [], {}
    for sitting in sittings:
        made, assessments = measure(run, golden, sitting, entries, day)
        if len(assessments) == len(golden):
            made, _ = keep_calibration(store, made)
        if assessments:
            found.append(made)
            answers[made.name] = (made, assessments)
    paired, wanted = panels(answers, golden, run.pack, run.settings.assessment.panel), run.settings.calibration
    for panel in paired:
        if len(panel.conversations) == len(golden):
            keep_calibration(store, panel)
    chosen = cheapest([one for one in [*found, *paired] if len(one.conversations) == len(golden)], wanted.least_tpr, wanted.least_tnr)
    measured = Measured(run.pack, golden, found, paired, chosen, wanted, {name: given for name, (_, given) in answers.items()})
    text = calibration_markdown(measured, store)
    folder = measured.folder
    store.write(f"{folder}/report.md", text)
    page = store.write(f"{folder}/report.html", calibration_page(measured, text))
    figures = Markdown(f"{text.partition(DISAGREEMENTS)[0]}\n\n{plain(f'Every disagreement: {store.root}/{page}')}")
    await publish_report(figures, key=f"calibration-{run.pack.name}", description="Judges measured against the golden set")
    if found:
        await publish_table(calibration_rows(measured), key=f"judges-{run.pack.name}", description="What each judge finds, misses and costs")
    return CalibrationRef(path=page, summary=calibration_summary(measured, store) | {"page": f"{store.root}/{page}"})

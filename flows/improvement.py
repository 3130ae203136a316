"""Rounds in which the understudy learns from its failures: it plays, judges find its failures, a teacher corrects them, the next understudy is trained."""

from prefect import flow

from core.improvement.rounds import Began
from core.quantities import Count
from core.training.latest import Exported
from flows.dataset import dataset
from flows.evaluation import evaluation
from flows.export import export
from flows.training import training
from tasks.corrections import correct_failures, practise
from tasks.improvement import ImprovementRef, begin_round, end_round, note_dataset, publish_rounds, sources, with_two_arms
from tasks.paid_jobs import cancel_jobs
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="improvement", flow_run_name="improvement-{domain}", on_cancellation=[cancel_jobs])
async def improvement(
    domain: str = "therapeutic-coaching", rounds: Count | None = None, settings: str = "config/pipeline.yaml", show: bool = False
) -> ImprovementRef:
    """Improve the latest understudy on its failures: in each round a teacher corrects its failed replies, and the next understudy learns the corrections.

    If the evaluation does not ship a round's understudy, that round is the last, and the understudy before it stays the latest.

    Args:
        domain: name of a domain pack.
        rounds: maximum number of rounds in the series; default: from the settings.
        settings: path of the settings file; `improvement` sets the size of a round.
        show: list the rounds so far, and start none.

    Returns:
        The report on the rounds, with the gain and the cost of each.
    """
    run = with_two_arms(await begin_run("improvement", domain, settings))
    began = "" if show else begin_round(run, rounds)

    while isinstance(began, Began):
        practised = await practise(run, began)
        corrected = await correct_failures(run, began, practised)
        after, adapter, compared = None, None, None
        if corrected.batch:
            examples = await dataset(domain=domain, settings=settings, **sources(run, began))
            began = note_dataset(run, began, examples)
            base, adapter = await training(examples, domain, settings)
            _, understudy = await export(base, adapter, examples, domain, settings, began.before.base)
            compared = await evaluation(began.before.understudy, understudy, examples, domain, settings, first_seed=began.evaluated_from)
            after = Exported(base=began.before.base, understudy=understudy, dataset=examples)
        await end_round(run, began, practised, corrected, after, adapter, compared)
        began = begin_round(run, rounds)

    return await publish_rounds(run, began)

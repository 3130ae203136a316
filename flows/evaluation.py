"""Base against understudy: fresh personas, the same simulator, the same judge."""

from prefect import flow

from core.records import DatasetRef, EvaluationRef, ModelRef
from core.settings import load_training
from tasks.evaluation import evaluate_arms
from tasks.run import begin_run


@flow(name="evaluation", flow_run_name="evaluation-{domain}")
async def evaluation(
    base: ModelRef, understudy: ModelRef, dataset: DatasetRef, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml"
) -> EvaluationRef:
    """Let both models play the same personas, judge the conversations and compare them in pairs.

    Args:
        base: the base's folder of GGUF files.
        understudy: the understudy's.
        dataset: what the understudy was trained on; a persona of it is refused here.
        domain: name of a domain pack.
        settings: path of the settings file.

    Returns:
        The comparison and the conversations.
    """
    run = await begin_run("evaluation", domain, settings, base=base, understudy=understudy, dataset=dataset)
    return await evaluate_arms(run, {"base": base, "understudy": understudy}, dataset, load_training(run.settings.training))

"""Is the understudy better than its base? Both talk with the same new personas and have the same judges; the statistics pair them by persona."""

from typing import Any

from prefect import flow

from core.evaluation.recording import compare
from core.evaluation.schedule import choose_personas
from core.quantities import Seed
from core.records import DatasetRef, EvaluationRef, ModelRef
from core.settings.pipeline import load_training
from core.training.latest import latest_exports
from core.training.preferred import preferred_of
from tasks.battery import play_battery
from tasks.evaluation import choose_arms, give_windows, log_comparison, log_plan, play_and_judge
from tasks.evaluation_report import publish_evaluation
from tasks.pairwise import compare_pairs
from tasks.policy import guarded
from tasks.published import check_made
from tasks.run import begin_run
from tasks.suites import ask_suites


@guarded
@flow(name="evaluation", flow_run_name="evaluation-{domain}")
async def evaluation(
    base: ModelRef | None = None,
    understudy: ModelRef | None = None,
    dataset: DatasetRef | None = None,
    domain: str = "therapeutic-coaching",
    settings: str = "config/pipeline.yaml",
    arms: dict[str, str] | None = None,
    personas: str | None = None,
    confirm: bool = False,
    first_seed: Seed | None = None,
) -> EvaluationRef:
    """Compare models with their base: all play the same personas, and a blind judge scores them.

    Args:
        base: the base's folder of GGUF files; default of base, understudy and dataset: the domain's latest export.
        understudy: the understudy's folder of GGUF files.
        dataset: the understudy's training set; personas from it are rejected.
        domain: name of a domain pack.
        settings: path of the settings file.
        arms: arms by name, separated by commas, such as opus=anthropic/claude-opus-5-5 or "rich=base under assistant": MODEL or MODEL under PROMPT. A model is
            provider/model, base, understudy, preferred or teacher; a prompt is system (default), assistant or the path of a prompt file. Arms named `base`,
            `understudy` and `preferred` replace the models of the export.
        personas: a JSON or YAML file of personas or seeds, instead of sampled ones.
        confirm: repeat the evaluation on personas that no model has met. After several evaluations on the same personas, only this can ship.
        first_seed: seed of the first persona; default, and lowest: evaluation.first_seed. Use other seeds for a model that was chosen on the first ones.

    Returns:
        The figures; the report is in the same folder.
    """
    asked: dict[str, Any] = {"arms": arms, "personas": personas, "confirm": confirm, "first_seed": first_seed}
    run = await begin_run("evaluation", domain, settings, base=base, understudy=understudy, dataset=dataset, **asked)
    exported = latest_exports(run.store, domain, base, understudy, dataset)
    if exported:
        await check_made(run, exported.understudy)
        exported = exported.model_copy(update={"preferred": preferred_of(run.store, exported.understudy, load_training(run.settings.training))})
    chosen = await choose_arms(run, exported, arms or {})
    met = choose_personas(run, personas, exported.dataset if exported else None, chosen, confirm, first_seed)
    give_windows(run, met, chosen)
    planned = log_plan(run, met, chosen)

    answered = await ask_suites(run, chosen)
    battery = await play_battery(run, chosen)
    parts, outcomes = await play_and_judge(run, met, chosen)
    pairwise = await compare_pairs(run, parts, outcomes)
    record = compare(run, met, chosen, planned, answered, parts, outcomes, exported.dataset if exported else None, pairwise, battery, confirm)
    log_comparison(record)
    return await publish_evaluation(run, record, exported)

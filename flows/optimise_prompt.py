"""A model and a prompt → a better prompt, for a fair comparison with an understudy."""

from prefect import flow

from tasks.optimise_prompt import OptimisedRef, optimise
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="optimise-prompt", flow_run_name="optimise-prompt-{domain}")
async def optimise_prompt(
    model: str, domain: str = "therapeutic-coaching", start: str = "system", to: str | None = None, settings: str = "config/pipeline.yaml"
) -> OptimisedRef:
    """Improve a model's system prompt against the pack's rubric: in each round a designer reads the failed verdicts and writes a better prompt.

    Only training personas are played. The best prompt is written to a file, which can be an arm of the evaluation.

    Args:
        model: the model that plays the part (provider/model), such as the base model of a planned training.
        domain: name of a domain pack.
        start: the prompt to begin with: system, assistant, or the path of a prompt file.
        to: file for the prompt; its name ends in .md; default: a file below data/prompts.
        settings: path of the settings file; roles.designer writes, roles.judges judge.

    Returns:
        The candidates with their scores; the report is in the same folder.
    """
    run = await begin_run("optimise_prompt", domain, settings, model=model, start=start)
    return await optimise(run, model, start, to)

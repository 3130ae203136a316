"""A pack, or an untrained model, tried on a few personas: the same ones in each round."""

from prefect import flow

from core.quantities import Count
from tasks.assessment import assess_batch, check_assessed
from tasks.assessment_report import publish_assessment
from tasks.generation import check_rehearsed, rehearse_batch
from tasks.owning import awaited
from tasks.pilot import PilotRef, plan_pilot, publish_pilot
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="pilot", flow_run_name="pilot-{domain}")
async def pilot(
    domain: str = "therapeutic-coaching",
    conversations: Count = 5,
    model: str | None = None,
    settings: str = "config/pipeline.yaml",
    prompt: str | None = None,
) -> PilotRef:
    """Generate and judge a few conversations, suggest changes, and compare with earlier rounds.

    Args:
        domain: name of a domain pack.
        conversations: number of conversations. Five show what is wrong with a pack; ten to twenty show whether a base model needs training.
        model: a base model (provider/model) that plays the part, in one round for each prompt; default: the settings' assistant with its detailed guidance.
        settings: path of the settings file.
        prompt: the base model's prompt: system, assistant, or the path of a prompt file; several are separated by commas; default: system,assistant.

    Returns:
        The round and its report; after several rounds, those of the last.
    """
    run = await begin_run("pilot", domain, settings, conversations=conversations, model=model, prompt=prompt)
    rounds: list[PilotRef] = []
    for label, plans in (await plan_pilot(run, conversations, model, prompt)).items():
        batch = await rehearse_batch(plans, run)
        check_rehearsed(run, batch)
        assessed = await assess_batch(batch, run)
        await publish_assessment(assessed, run, {})
        check_assessed(run, assessed)
        async with awaited(run.store, f"pilots/{domain}", "The round of a pilot"):  # two runs at once must not take the same number
            rounds.append(await publish_pilot(run, assessed, model, label, rounds))
    return rounds[-1]

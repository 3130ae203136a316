"""Pilots of a pack, or of an untrained model: the same personas in each round, and what changed since the last round."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from core.authoring.pilots import Round, advice, keep_files, prompting_alone, round_of, same_players
from core.authoring.start_prompts import given_prompt
from core.dataset.sources import PILOTS
from core.errors import SettingsError
from core.judging.figures import caveats_of, figures
from core.judging.plan import read_judged
from core.llm.run import Run
from core.records import AssessmentBatch, ModelChoice, Reference
from core.rehearsal.personas import sample_batch
from core.rehearsal.plan import RehearsalPlan, plan_personas
from core.rehearsal.windows import in_window
from core.reports.render import markdown
from core.reports.review_files import write_review
from core.settings.arms import ASSISTANT, SYSTEM
from tasks.artifacts import publish_report
from tasks.run import choose_model
from tasks.windows import set_windows, warn_of_cuts


class PilotRef(Reference):
    """A round of a pilot, and its main figures as text."""

    summary: dict[str, str]


async def plan_pilot(run: Run, conversations: int, model: str | None, prompt: str | None) -> dict[str | None, list[RehearsalPlan]]:
    """Plan the conversations of each round. They have a separate folder, so that nothing is trained on them.

    Args:
        run: the run.
        conversations: number of conversations in a round.
        model: a model that plays the part as an arm of an evaluation does, in one round for each prompt; None for one round in which the settings' assistant
            plays it as in generation.
        prompt: prompts as `given_prompt` names them, separated by commas; None for the pack's short system prompt and its detailed assistant prompt.

    Returns:
        The plans by the prompt's name in reports; the name is None without a model.

    Raises:
        SettingsError: the model cannot be used, a prompt is unknown, or a prompt was given without a model.
        PackError: a prompt file cannot be used.
    """
    generation, evaluation = run.settings.generation, run.settings.evaluation
    personas = sample_batch(run.pack, generation.first_seed, conversations, generation.exchanges)
    plans = [plan.model_copy(update={"folder": f"{PILOTS}{run.pack.name}"}) for plan in plan_personas(run, personas)]
    if model is None:
        if prompt is not None:
            raise SettingsError("A prompt was given without a model to try it with. Give the model too.")
        return {None: plans}
    prompts = [given_prompt(run.pack, name.strip()) for name in dict.fromkeys((prompt or f"{SYSTEM},{ASSISTANT}").split(","))]
    choice: ModelChoice = await choose_model(run.settings, model, run.pack)
    played = {"assistant": choice, "assistant_tokens": (evaluation.max_tokens, run.most_tokens(choice)), "evaluated": True}
    rounds = {item.label: [plan.model_copy(update={**played, "guidance": item.guidance, "template": item.template}) for plan in plans] for item in prompts}
    set_windows(run, [plan for round_plans in rounds.values() for plan in round_plans])
    by_label: dict[str | None, list[RehearsalPlan]] = {label: [in_window(run, plan) for plan in round_plans] for label, round_plans in rounds.items()}
    for label, round_plans in by_label.items():
        warn_of_cuts(run, f"{model}, {label}", round_plans)
    return by_label


async def publish_pilot(run: Run, assessed: str, model: str | None, prompt: str | None, with_it: Sequence[PilotRef] = ()) -> PilotRef:
    """Store the round with a copy of the pack's files, and publish its report, which compares it with earlier rounds.

    A round with the same pack and the same players as an earlier one replaces that round.

    Args:
        run: the run.
        assessed: path of the round's batch of assessments.
        model: the model that played; None for the settings' assistant.
        prompt: the prompt's name in reports; None without a model.
        with_it: rounds of this command, with the same model under other prompts.
    """
    store, pack = run.store, run.pack
    batch = store.load(assessed, AssessmentBatch)
    folder = f"{PILOTS}{pack.name}/rounds"
    before = [store.load(name, Round) for name in store.names(folder, ".json")]
    judged = read_judged(store, batch)
    batch_figures = figures(judged, pack.rubric)
    this = round_of(len(before) + 1, pack, model, prompt, batch_figures)
    same = [one for one in before if one.pack_hash == pack.hash and same_players(one, this)]
    number = same[0].number if same else this.number
    this = this.model_copy(update={"number": number})
    earlier = [one for one in before if one.number < number]
    path = store.write_json(f"{folder}/{number:03d}.json", this)
    keep_files(store, pack.name, f"{folder}/{number:03d}")
    advised = [*advice(this, earlier, pack), *filter(None, [prompting_alone([*(store.load(ref.path, Round) for ref in with_it), this]) if model else ""])]
    report = assessed.replace("batches/", "reports/").removesuffix(".json")
    sheet = write_review(store, pack.name, assessed, len(batch.assessments), keep=True)
    facts = {"this": this, "earlier": earlier[::-1], "advice": advised, "pack": pack, "report": report, "figures": batch_figures, "sheet": sheet}
    text = markdown("pilot", facts=facts | {"caveats": caveats_of(judged, batch_figures)})
    page = store.write(f"{folder}/{number:03d}.md", text)
    await publish_report(text, key=f"pilot-{pack.name}", description=f"Round {number} of the pilot of {pack.name}")
    get_run_logger().info("Round %d: %d of %d pass. The report: %s/%s", number, this.passed, this.conversations, store.root, page)
    rate = f" ({100 * this.pass_rate:.0f} %)" if this.pass_rate is not None else ""
    summary = {
        "round": str(number),
        "passed": f"{this.passed} of {this.conversations}{rate}",
        "next": " ".join(advised),
        "report": f"{store.root}/{page}",
        "sheet": f"{store.root}/{sheet}/sheet.csv, for a person who reads transcripts.html",
    }
    return PilotRef(path=path, summary=summary)

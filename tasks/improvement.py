"""A round of improvement from its beginning to its outcome, and the report of all rounds."""

from dataclasses import replace
from typing import Any

from prefect.logging import get_run_logger

from blocks.llama_runtime import read_runtime
from core.dataset.sources import batches_of
from core.errors import EvaluationError, JobError, SettingsError
from core.escaping import render_markdown
from core.evaluation.arms import files_of
from core.evaluation.record import EvaluationRecord
from core.fingerprint import fingerprint
from core.improvement.outcome import changed_most, compared_of, heldout_of, heldout_replies, sources_of, summary_of
from core.improvement.rounds import Began, HeldOut, Round, find_series, folder_of, judge_round, keep_began, next_round, rounds_of, spent_on
from core.llm.bills import bills
from core.llm.run import Run
from core.records import Assessment, AssessmentBatch, DatasetRef, EvaluationRef, ModelRef, Outcome, Reference
from core.settings.arms import BASE, UNDERSTUDY
from core.settings.pipeline import load_training
from core.storage.store import Store
from core.training.job_spec import JOB_FILE
from core.training.latest import Exported, latest_exports, latest_training, put_back
from tasks.artifacts import publish_report
from tasks.corrections import Corrected, Practised
from tasks.jobs import run_script, script_hash
from tasks.run import continue_as


class ImprovementRef(Reference):
    """The report on a series of rounds, and the main figures of each as text."""

    summary: dict[str, str]


def with_two_arms(run: Run) -> Run:
    """Return the run without further arms of the evaluation: a round is compared with the round before, and no other arm is paid for in each round."""
    evaluation = run.settings.evaluation.model_copy(update={"arms": {}})
    return continue_as(replace(run, settings=run.settings.model_copy(update={"evaluation": evaluation})))


def latest_of(run: Run) -> Exported:
    """Return the domain's latest export.

    Raises:
        EvaluationError: there is none.
    """
    exported = latest_exports(run.store, run.pack.name, None, None, None)
    if exported is None:
        raise EvaluationError(
            f"No understudy of {run.pack.name} is in {run.store.root}. Make one first (`understudy run`), or export what was trained (understudy export)."
        )
    return exported


def begin_round(run: Run, rounds: int | None) -> Began | str:
    """Return the next round, or a sentence that says why there is none.

    Args:
        run: the run.
        rounds: maximum number of rounds in the series; None for the number in the settings.

    Raises:
        SettingsError: the training learns slices, which would teach uncorrected replies too.
    """
    training = load_training(run.settings.training)
    if training.learn == "slices":
        raise SettingsError(
            f"The training settings {run.settings.training!r} learn slices, which would teach the understudy's uncorrected replies too. Set learn to "
            "each_reply_once or slices_folded there."
        )
    exported = latest_of(run)
    began = next_round(run, exported, latest_training(run.store, run.pack.name, exported.dataset), rounds or run.settings.improvement.rounds)
    if isinstance(began, str):
        get_run_logger().info("%s", began)
    else:
        get_run_logger().info("Round %d of %s starts with the understudy %s.", began.number, began.series, began.before.understudy.path)
    return began


def sources(run: Run, began: Began) -> dict[str, str | None]:
    """Return the sources of the round's dataset, as parameters of the dataset flow: the earlier data, and the corrections of all rounds so far."""
    store, domain = run.store, run.pack.name
    folders = (folder_of(domain, began.model_copy(update={"number": number})) for number in range(1, began.number + 1))
    batches = [name for name in (f"{folder}/corrections.json" for folder in folders) if store.exists(name) and store.load(name, AssessmentBatch).assessments]
    recorded = store.load_json(f"{began.before.dataset.path}/manifest.json").get("sources")
    return sources_of(store, began.before.dataset, batches, [] if recorded else batches_of(store, run.pack, get_run_logger().warning))


def note_dataset(run: Run, began: Began, dataset: DatasetRef) -> Began:
    """Store the dataset of a round; an export trained on this dataset is then recognised as the round's."""
    return keep_began(run.store, run.pack.name, began.model_copy(update={"dataset": dataset}))


async def end_round(
    run: Run, began: Began, practised: Practised, corrected: Corrected, after: Exported | None, adapter: ModelRef | None, compared: EvaluationRef | None
) -> Round:
    """Decide whether the round's understudy is kept, and store the figures of the round.

    Args:
        run: the run.
        began: the round.
        practised: the conversations that the understudy played.
        corrected: the corrections.
        after: the export of the new understudy; None, like adapter and compared, if nothing was corrected.
        adapter: the adapter of the new understudy.
        compared: the evaluation of the new understudy.
    """
    store, numbers, domain = run.store, run.settings.improvement, run.pack.name
    comparison = compared_of(compared.path, store.load(compared.path, EvaluationRecord), run.pack.rubric) if compared else None
    kept, stop = judge_round(comparison, numbers, began.number) if comparison else (False, f"Round {began.number} corrected nothing: {_refusals(corrected)}.")
    heldout = await _heldout(run, began, after) if after else None
    jobs = sum(_paid(store, model) for model in (adapter, after.understudy if after else None) if model)
    done = Round(
        number=began.number,
        before=began.before,
        after=after,
        numbers=numbers,
        seeds=[persona.seed for persona in practised.personas],
        played=len(practised.judged),
        failed=sum(item.outcome is Outcome.FAIL for item in practised.judged),
        corrections=corrected.count,
        refused=corrected.refused,
        cells=practised.cells,
        compared=comparison,
        heldout=heldout,
        usd=spent_on(store, began, {run.ledger.run: sum(bill.usd for bill in bills(store, run.ledger.run).values())}) + jobs,
        kept=kept,
        stop=stop,
    )
    if not kept:
        put_back(store, domain, began.before, began.trained)
    store.write_json(f"{folder_of(domain, began)}/round.json", done)
    return done


async def publish_rounds(run: Run, why: str) -> ImprovementRef:
    """Write and publish the report on the domain's rounds.

    Args:
        run: the run.
        why: why no further round follows; empty if the command only lists the rounds.
    """
    store, domain, rubric = run.store, run.pack.name, run.pack.rubric
    series = find_series(store, domain, latest_of(run))
    rounds = rounds_of(store, domain, series)
    folder = f"improvement/{domain}/{series}"
    assessed = (item for done in rounds for item in store.load(f"{folder}/{done.number:03d}/practice.json", AssessmentBatch).assessments[:1])
    inputs: dict[str, Any] = {
        "domain": domain,
        "rounds": rounds,
        "why": why,
        "changed": {done.number: changed_most(done.compared) for done in rounds if done.compared},
        "names": {name: criterion.head.name for name, criterion in rubric.criteria.items()},
        "caveats": list(dict.fromkeys(filter(None, (store.load(item.path, Assessment).caveat for item in assessed)))),
    }
    text = render_markdown("improvement/report", **inputs)
    page = store.write(f"{folder}/improvement.md", text)
    await publish_report(text, key=f"improvement-{domain}", description=f"Rounds of improvement of {domain}")
    get_run_logger().info("The report: %s/%s", store.root, page)
    return ImprovementRef(path=page, summary=summary_of(rounds, why, f"{store.root}/{page}"))


async def _heldout(run: Run, began: Began, after: Exported) -> HeldOut | None:
    """Measure the loss of both understudies on the corrections that were held out of the training.

    Returns:
        The losses; None if no correction was held out, the data root is not on this machine, llama.cpp is missing, or the measurement failed.
    """
    store, script, folder = run.store, "reply_losses.py", folder_of(run.pack.name, began)
    chats, runtime = heldout_replies(store, run.pack, after.dataset), read_runtime()
    if not chats or not store.is_local or runtime is None:
        return None
    replies = str(store.local(store.write_json(f"{folder}/heldout.json", chats)))
    files = files_of(store, Exported(base=began.before.understudy, understudy=after.understudy, dataset=after.dataset))
    losses = []
    try:
        for arm in (BASE, UNDERSTUDY):
            file = files[arm][0]
            output = f"{folder}/losses-{fingerprint([file, chats, script_hash(script)])}"
            arguments = {"file": str(store.local(file)), "replies": replies, "library": str(runtime.library)}
            losses.append(await run_script(store, script, output, "losses.json", arguments))
    except JobError as error:
        get_run_logger().warning("The held-out corrections are not measured: %s", error)
        return None
    return heldout_of(*losses)


def _paid(store: Store, model: ModelRef) -> float:
    """Return the cost in USD of the job that made a model; 0 if the job ran here."""
    name = f"{model.path}/{JOB_FILE}"
    return float(store.load_json(name).get("usd") or 0.0) if store.exists(name) else 0.0


def _refusals(corrected: Corrected) -> str:
    """Return why no correction is learnt."""
    return "; ".join(f"{count} × {reason}" for reason, count in corrected.refused.items()) or "no judged criterion failed at an exchange that it cites"

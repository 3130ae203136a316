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
    """The report of a series of rounds, and what came of each in words."""

    summary: dict[str, str]


def with_two_arms(run: Run) -> Run:
    """Return the run with an evaluation of two arms: a round is compared with the round before, and no other arm is paid for in each round."""
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
    """Return the round that is to be gone through, or why there is none.

    Raises:
        SettingsError: the training would learn slices, which would teach what was not corrected too.
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
    """Return what the round's dataset is made of: the data before, and the corrections of all rounds so far."""
    store, domain = run.store, run.pack.name
    folders = (folder_of(domain, began.model_copy(update={"number": number})) for number in range(1, began.number + 1))
    batches = [name for name in (f"{folder}/corrections.json" for folder in folders) if store.exists(name) and store.load(name, AssessmentBatch).assessments]
    known = store.load_json(f"{began.before.dataset.path}/manifest.json").get("sources")
    return sources_of(store, began.before.dataset, batches, [] if known else batches_of(store, run.pack, get_run_logger().warning))


def note_dataset(run: Run, began: Began, dataset: DatasetRef) -> Began:
    """Note the dataset of a round, by which what was made of it is known to be the round's."""
    return keep_began(run.store, run.pack.name, began.model_copy(update={"dataset": dataset}))


async def end_round(
    run: Run, began: Began, practised: Practised, corrected: Corrected, after: Exported | None, adapter: ModelRef | None, compared: EvaluationRef | None
) -> Round:
    """Decide whether the round's understudy is kept, and write down what came of the round.

    Args:
        after, adapter, compared: none where nothing was corrected.
    """
    store, numbers, domain = run.store, run.settings.improvement, run.pack.name
    found = compared_of(compared.path, store.load(compared.path, EvaluationRecord), run.pack.rubric) if compared else None
    kept, stop = judge_round(found, numbers, began.number) if found else (False, f"Round {began.number} corrected nothing: {_refusals(corrected)}.")
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
        compared=found,
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
    """Write and publish the report of the domain's rounds.

    Args:
        why: no further round follows.
    """
    store, domain, rubric = run.store, run.pack.name, run.pack.rubric
    series = find_series(store, domain, latest_of(run))
    rounds = rounds_of(store, domain, series)
    folder = f"improvement/{domain}/{series}"
    assessed = (item for one in rounds for item in store.load(f"{folder}/{one.number:03d}/practice.json", AssessmentBatch).assessments[:1])
    given: dict[str, Any] = {
        "domain": domain,
        "rounds": rounds,
        "why": why,
        "changed": {one.number: changed_most(one.compared) for one in rounds if one.compared},
        "names": {name: criterion.head.name for name, criterion in rubric.criteria.items()},
        "caveats": list(dict.fromkeys(filter(None, (store.load(item.path, Assessment).caveat for item in assessed)))),
    }
    text = render_markdown("improvement/report", **given)
    page = store.write(f"{folder}/improvement.md", text)
    await publish_report(text, key=f"improvement-{domain}", description=f"Rounds of improvement of {domain}")
    get_run_logger().info("The report: %s/%s", store.root, page)
    return ImprovementRef(path=page, summary=summary_of(rounds, why, f"{store.root}/{page}"))


async def _heldout(run: Run, began: Began, after: Exported) -> HeldOut | None:
    """Measure both understudies on the corrections that nothing was trained on; none where there are none, or where llama.cpp cannot."""
    store, script, folder = run.store, "reply_losses.py", folder_of(run.pack.name, began)
    chats, runtime = heldout_replies(store, run.pack, after.dataset), read_runtime()
    if not chats or not store.is_local or runtime is None:
        return None
    replies = str(store.local(store.write_json(f"{folder}/heldout.json", chats)))
    files = files_of(store, Exported(base=began.before.understudy, understudy=after.understudy, dataset=after.dataset))
    found = []
    try:
        for arm in (BASE, UNDERSTUDY):
            file = files[arm][0]
            output = f"{folder}/losses-{fingerprint([file, chats, script_hash(script)])}"
            arguments = {"file": str(store.local(file)), "replies": replies, "library": str(runtime.library)}
            found.append(await run_script(store, script, output, "losses.json", arguments))
    except JobError as error:
        get_run_logger().warning("The held-out corrections are not measured: %s", error)
        return None
    return heldout_of(*found)


def _paid(store: Store, model: ModelRef) -> float:
    """Return what the job of a model cost, where it was paid for."""
    name = f"{model.path}/{JOB_FILE}"
    return float(store.load_json(name).get("usd") or 0.0) if store.exists(name) else 0.0


def _refusals(corrected: Corrected) -> str:
    return "; ".join(f"{count} × {reason}" for reason, count in corrected.refused.items()) or "no judged criterion failed at an exchange that it cites"

"""Publishing a report: into the run's folder and as a Prefect artifact."""

from typing import Any

from prefect.logging import get_run_logger

from core.escaping import Markdown
from core.evaluation.page import evaluation_page
from core.evaluation.report import evaluation_markdown
from core.fingerprint import fingerprint
from core.judging.figures import figures
from core.llm.ledger import bills
from core.packs.pack import load_pack
from core.records import AssessmentBatch, DatasetRef, EvaluationRef, ModelRef, Reference, Transcript, TranscriptBatch, TranscriptRef
from core.rehearsal.fidelity import Report, measure_fidelity
from core.reports.render import fidelity_markdown, markdown
from core.settings.pipeline import load_training
from core.storage.store import open_store
from core.terminal import printable
from tasks.artifacts import publish_report
from tasks.assessment_report import caveats_of, read_judged
from tasks.evaluation_report import read_evaluation
from tasks.run import Run

LINE = 400
"""Characters of a message on the terminal."""

NEXT = """Next:
  understudy chat                 talk to the understudy; --against base puts the base beside it
  open the report                 every conversation of the evaluation, side by side
  the first real run              README.md, with keys of your own"""


class ReportRef(Reference):
    """A run's folder, and the figures that a run ends with."""

    summary: dict[str, str]


async def publish_rehearsals(batch_path: str, run: Run) -> None:
    """Write how much of the personas shows in a batch of rehearsals, beside it, and publish it in the Prefect UI."""
    store = open_store()
    batch = store.record(batch_path, TranscriptBatch)
    text = fidelity_markdown(_fidelity(batch.transcripts, run), batch.left_out)
    name = store.write(batch_path.replace("batches/", "reports/").replace(".json", ".md"), text)
    get_run_logger().info("How the simulated users played: %s/%s", store.root, name)
    await publish_report(text, key=f"rehearsals-{batch.domain}", description="How the simulated users of a batch played")


async def publish_run(run: Run, assessed: str, dataset: DatasetRef, adapter: ModelRef, models: dict[str, ModelRef], evaluation: EvaluationRef) -> ReportRef:
    """Collect what the stages made into `report.md`, `report.html` and `summary.json` of a run's folder."""
    store, training = open_store(), load_training(run.settings.training)
    batch = store.record(assessed, AssessmentBatch)
    judged = read_judged(batch)
    evaluated = read_evaluation(run, evaluation.path)
    found = figures(judged, run.pack.rubric)
    folder = f"runs/{batch.domain}-{fingerprint([assessed, dataset, adapter.path, evaluation.path])}"
    gguf = f"{models['understudy'].path}/{models['understudy'].name}-{training.quantisations[0]}.gguf"
    facts = {
        "domain": batch.domain,
        "criteria": _criteria(batch.domain),
        "batch": batch,
        "assessment": found,
        "dataset": dataset,
        "training": store.read_json(f"{adapter.path}/metrics.json"),
        "gguf": gguf,
        "export": store.read_json(f"{models['understudy'].path}/export.json"),
        "exports": {arm: store.read_json(f"{model.path}/export.json")["checks"] for arm, model in models.items()},
        "fidelity": _fidelity([item.transcript for item in batch.assessments], run),
        "caveats": caveats_of(judged, found),
        "bills": bills(store, run.ledger.run),
        "bill": run.ledger.bill,
    }
    made = markdown("report", facts=facts)
    text = Markdown(f"{evaluation_markdown(evaluated).rstrip()}\n\n{made}")
    store.write(f"{folder}/report.md", text)
    store.write(f"{folder}/report.html", evaluation_page(evaluated, made))
    summary = _summary(facts, evaluation.summary, str(store.root), f"{folder}/report.html")
    store.write_json(f"{folder}/summary.json", summary)
    await publish_report(text, key=f"run-{batch.domain}", description="Report of a run of the pipeline")
    get_run_logger().info("Report: %s/%s/report.html", store.root, folder)
    return ReportRef(path=folder, summary=summary)


def _summary(facts: dict[str, Any], evaluated: dict[str, str], root: str, report: str) -> dict[str, str]:
    """Return what a run ends with: what was made, how both answer what neither has seen, the losses, the decision, and what to do next."""
    assessment, training = facts["assessment"], facts["training"]
    size = next(file["bytes"] for name, file in facts["export"]["files"].items() if facts["gguf"].endswith(name))
    left_out = f", {len(facts['batch'].left_out)} left out" if facts["batch"].left_out else ""
    return {
        "made": f"{assessment.assessed} transcripts{left_out}",
        "passed": f"{assessment.passed} ({assessment.incomplete} incomplete)",
        "examples": f"{facts['dataset'].examples} for training, {facts['dataset'].validation_examples} for validation",
        "model": f"{root}/{facts['gguf']}",
        "size": f"{size / 1e6:.1f} MB",
        "dataset": f"{root}/{facts['dataset'].path}",
        "replies": _replies(facts["exports"]),
        "training loss": f"{training['train_loss_first']:.2f} first, {training['train_loss_last']:.2f} last",
        "validation loss": f"{training['validation_loss_first']:.2f} before, {training['validation_loss_last']:.2f} after",
        "held-out loss": ", ".join(f"{arm} {_loss(checks):.2f}" for arm, checks in facts["exports"].items()) + " (of the quantised files)",
        **{name: text for name, text in evaluated.items() if name != "report"},
        "cost": str(facts["bill"]),
        "note": " ".join(facts["caveats"]) or "none",
        "report": f"{root}/{report}",
        "next": NEXT,
    }


def _replies(exports: dict[str, dict[str, Any]]) -> str:
    """Return held-out messages with the reply of each arm below."""
    samples = {arm: next(iter(checks["samples"].values())) for arm, checks in exports.items()}
    width, lines = max(map(len, samples)), []
    for number, first in enumerate(next(iter(samples.values()))):
        lines.append(f"{'a user':<{width}}  {_line(first['prompt'])}")
        lines += [f"{arm:<{width}}  {_line(said[number]['reply'])}" for arm, said in samples.items()]
        lines.append("")
    return "Messages that neither model has seen, and the first reply of each:\n\n" + "\n".join(lines).rstrip()


def _line(text: str) -> str:
    words = " ".join(printable(text).split())
    return words if len(words) <= LINE else f"{words[:LINE].rsplit(' ', 1)[0]} …"


def _loss(checks: dict[str, Any]) -> float:
    """Return the loss of the first quantised file."""
    return float(next(loss for name, loss in checks["heldout_loss"].items() if not name.endswith("-f16.gguf")))


def _fidelity(transcripts: list[TranscriptRef], run: Run) -> Report:
    read = [open_store().record(item.path, Transcript) for item in transcripts]
    return measure_fidelity(run.pack, read)


def _criteria(domain: str) -> dict[str, str]:
    """Return the criteria's names by id."""
    return {key: criterion.head.name for key, criterion in load_pack(domain).rubric.criteria.items()}

"""The facts of a pipeline run for its report, and its summary on the terminal."""

from typing import Any

from core.imports.stored import RECORDED
from core.judging.figures import caveats_of, figures
from core.judging.gather_rule import gather_rule
from core.judging.plan import read_judged
from core.llm.bills import bills
from core.llm.run import Run
from core.records import AssessmentBatch, DatasetRef, ModelRef
from core.reports.rehearsals import fidelity_of
from core.settings.pipeline import load_training
from core.terminal import printable

LINE = 400
"""Maximum characters of a message on the terminal."""

NEXT = """Next:
  understudy chat                 talk to the understudy; --against base shows the base as well
  open the report                 every conversation of the evaluation, side by side
  the first real run              README.md, with your own API keys"""


def run_facts(run: Run, assessed: str, dataset: DatasetRef, adapter: ModelRef, models: dict[str, ModelRef]) -> dict[str, Any]:
    """Return the facts of the report.

    Args:
        run: the run.
        assessed: name of the batch of assessments.
        dataset: the training set.
        adapter: the trained adapter.
        models: the exported models by arm.
    """
    store, training = run.store, load_training(run.settings.training)
    batch = store.load(assessed, AssessmentBatch)
    judged = read_judged(store, batch)
    assessment = figures(judged, run.pack.rubric, gather=gather_rule(run.pack.rubric, run.settings.gather))
    gguf = f"{models['understudy'].path}/{models['understudy'].name}-{training.quantisations[0]}.gguf"
    return {
        "domain": batch.domain,
        "criteria": {key: criterion.head.name for key, criterion in run.pack.rubric.criteria.items()},
        "batch": batch,
        "assessment": assessment,
        "recorded": all(RECORDED in item.transcript.provenance for item in judged),
        "dataset": dataset,
        "training": store.load_json(f"{adapter.path}/metrics.json"),
        "gguf": gguf,
        "export": store.load_json(f"{models['understudy'].path}/export.json"),
        "exports": {arm: store.load_json(f"{model.path}/export.json")["checks"] for arm, model in models.items()},
        "fidelity": fidelity_of(run, [item.transcript for item in batch.assessments]),
        "caveats": caveats_of(judged, assessment),
        "bills": bills(store, run.ledger.run),
        "bill": run.ledger.bill,
    }


def run_summary(facts: dict[str, Any], evaluated: dict[str, str], root: str, report: str) -> dict[str, str]:
    """Return a run's summary by name: what was made, both models' replies to held-out messages, the losses, the decision and the next steps.

    Args:
        facts: the result of `run_facts`.
        evaluated: the summary of the evaluation.
        root: the data root.
        report: path of the report below the data root.
    """
    assessment, training = facts["assessment"], facts["training"]
    size = next(file["bytes"] for name, file in facts["export"]["files"].items() if facts["gguf"].endswith(name))
    left_out = f", {len(facts['batch'].left_out)} left out" if facts["batch"].left_out else ""
    return {
        "made": f"{assessment.assessed} {'recorded conversations of the pack' if facts['recorded'] else 'transcripts'}{left_out}",
        "passed": f"{assessment.passed} ({assessment.incomplete} incomplete), of which {assessment.gathered} are gathered",
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
    """Return held-out messages, each followed by the first reply of each arm."""
    samples = {arm: next(iter(checks["samples"].values())) for arm, checks in exports.items()}
    width, lines = max(map(len, samples)), []
    for number, first in enumerate(next(iter(samples.values()))):
        lines.append(f"{'a user':<{width}}  {_line(first['prompt'])}")
        lines += [f"{arm:<{width}}  {_line(replies[number]['reply'])}" for arm, replies in samples.items()]
        lines.append("")
    return "Messages that neither model has seen, and the first reply of each:\n\n" + "\n".join(lines).rstrip()


def _line(text: str) -> str:
    words = " ".join(printable(text).split())
    return words if len(words) <= LINE else f"{words[:LINE].rsplit(' ', 1)[0]} …"


def _loss(checks: dict[str, Any]) -> float:
    """Return the held-out loss of the first quantised file."""
    return float(next(loss for name, loss in checks["heldout_loss"].items() if not name.endswith("-f16.gguf")))

"""What a run of the pipeline made, collected for its report and for the few lines that it ends with."""

from typing import Any

from core.imports.taking_in import RECORDED
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
"""Characters of a message on the terminal."""

NEXT = """Next:
  understudy chat                 talk to the understudy; --against base puts the base beside it
  open the report                 every conversation of the evaluation, side by side
  the first real run              README.md, with keys of your own"""


def run_facts(run: Run, assessed: str, dataset: DatasetRef, adapter: ModelRef, models: dict[str, ModelRef]) -> dict[str, Any]:
    """Return what the report says.

    Args:
        assessed: the batch of assessments.
        models: the folders of GGUF files, by arm.
    """
    store, training = run.store, load_training(run.settings.training)
    batch = store.load(assessed, AssessmentBatch)
    judged = read_judged(store, batch)
    found = figures(judged, run.pack.rubric, gather=gather_rule(run.pack.rubric, run.settings.gather))
    gguf = f"{models['understudy'].path}/{models['understudy'].name}-{training.quantisations[0]}.gguf"
    return {
        "domain": batch.domain,
        "criteria": {key: criterion.head.name for key, criterion in run.pack.rubric.criteria.items()},
        "batch": batch,
        "assessment": found,
        "recorded": all(RECORDED in one.transcript.provenance for one in judged),
        "dataset": dataset,
        "training": store.load_json(f"{adapter.path}/metrics.json"),
        "gguf": gguf,
        "export": store.load_json(f"{models['understudy'].path}/export.json"),
        "exports": {arm: store.load_json(f"{model.path}/export.json")["checks"] for arm, model in models.items()},
        "fidelity": fidelity_of(run, [item.transcript for item in batch.assessments]),
        "caveats": caveats_of(judged, found),
        "bills": bills(store, run.ledger.run),
        "bill": run.ledger.bill,
    }


def run_summary(facts: dict[str, Any], evaluated: dict[str, str], root: str, report: str) -> dict[str, str]:
    """Return what a run ends with: what was made, how both answer what neither has seen, the losses, the decision, and what to do next."""
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

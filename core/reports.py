"""The run's report: figures in, Markdown and one self-contained HTML page out. Nothing is written here."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from core.comparison import Comparison
from core.fidelity import Report
from core.ledger import Bill
from core.pack import Pack
from core.records import Assessment, AssessmentBatch, LeftOut, Outcome, Transcript

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Conversation:
    """A conversation with its assessment, to be read side by side."""

    arm: str
    transcript: Transcript
    assessment: Assessment


def assessment_summary(assessments: Sequence[Assessment]) -> dict[str, Any]:
    """Return counts by outcome, the mean score over scored ones, and failed checks and gates by frequency."""
    scores = [item.score.score for item in assessments if item.score.outcome is not Outcome.INCOMPLETE and item.score.score is not None]
    return {
        "assessed": len(assessments),
        **{outcome.value: sum(item.score.outcome is outcome for item in assessments) for outcome in Outcome},
        "mean_score": sum(scores) / len(scores) if scores else None,
        "scored": len(scores),
        "failed_checks": Counter(check for item in assessments for check in item.score.failed_checks).most_common(),
        "failed_gates": Counter(gate for item in assessments for gate in item.score.failed_gates).most_common(),
    }


def assessment_markdown(
    summary: dict[str, Any], batch: AssessmentBatch, criteria: Mapping[str, str], caveats: Sequence[str], bills: Mapping[tuple[str, str], Bill]
) -> str:
    """Return the report of a batch of assessments as Markdown.

    Args:
        criteria: their names by id.
        bills: what each role and model cost.
    """
    return _TEMPLATES.get_template("assessment.md.j2").render(summary=summary, batch=batch, criteria=criteria, caveats=caveats, bills=bills)


def fidelity_markdown(fidelity: Report, left_out: Sequence[LeftOut] = ()) -> str:
    """Return how much of the personas shows in a batch of rehearsals, as Markdown."""
    return _TEMPLATES.get_template("rehearsal.md.j2").render(fidelity=fidelity, left_out=left_out)


def rubric_markdown(pack: Pack) -> str:
    """Return a domain's rubric as a page for people."""
    return _TEMPLATES.get_template("rubric.md.j2").render(pack=pack).rstrip() + "\n"


def run_markdown(facts: dict[str, Any], comparison: Comparison) -> str:
    """Return the run's report as Markdown.

    Args:
        facts: what `tasks.reporting` collects from the stages.
        comparison: base against understudy.
    """
    return _TEMPLATES.get_template("report.md.j2").render(facts=facts, comparison=comparison)


def run_html(facts: dict[str, Any], comparison: Comparison, conversations: Sequence[Conversation]) -> str:
    """Return the run's report as one HTML page without outside resources: the figures, and every conversation with its verdicts."""
    return _TEMPLATES.get_template("report.html.j2").render(facts=facts, comparison=comparison, conversations=conversations)


def summary_table(summary: dict[str, Any]) -> str:
    """Return the few lines that a run ends with on the terminal."""
    width = max(len(name) for name in summary)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in summary.items())

"""The run's report: figures in, Markdown and one self-contained HTML page out. Nothing is written here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from markdown_it import MarkdownIt

from core.assessment_figures import Figures
from core.comparison import Comparison
from core.fidelity import Report
from core.job_plan import Plan
from core.ledger import Bill
from core.pack import Pack
from core.records import Assessment, AssessmentBatch, LeftOut, Transcript
from core.review import ReviewFigures


def _cell(text: str) -> str:
    """Return a text as it can stand in a table's cell or a list's item."""
    return " ".join(text.split()).replace("|", "\\|")


_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"),
    autoescape=select_autoescape(["html.j2"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters["cell"] = _cell


@dataclass(frozen=True)
class Conversation:
    """A conversation with its assessment, to be read side by side."""

    arm: str
    transcript: Transcript
    assessment: Assessment


def assessment_markdown(
    figures: Figures, batch: AssessmentBatch, pack: Pack, caveats: Sequence[str], bills: Mapping[tuple[str, str], Bill], seconds: float
) -> str:
    """Return the report of a batch of assessments as Markdown.

    Args:
        bills: what each role and model cost.
        seconds: that the run took so far.
    """
    names = {key: criterion.head.name for key, criterion in pack.rubric.criteria.items()}
    weights = pack.rubric.numbers.categories
    given = {"figures": figures, "batch": batch, "names": names, "weights": weights, "caveats": caveats, "bills": bills, "seconds": seconds}
    return _TEMPLATES.get_template("assessment.md.j2").render(given)


def dataset_card(facts: dict[str, Any]) -> str:
    """Return a dataset's card: a README with the Hub's metadata.

    Args:
        facts: what `tasks.dataset` collects.

    Source:
        https://huggingface.co/docs/hub/datasets-cards
    """
    return _TEMPLATES.get_template("dataset_card.md.j2").render(facts).rstrip() + "\n"


def review_markdown(figures: ReviewFigures) -> str:
    """Return what a person's labels say of the judge as Markdown."""
    return _TEMPLATES.get_template("review.md.j2").render(figures=figures).strip() + "\n"


def folded_html(markdown: str) -> str:
    """Return a report as HTML: what stands before its first section, and the sections folded away. HTML that stands in it is shown and not obeyed."""
    head, _, rest = markdown.partition("\n## ")
    render = MarkdownIt("js-default", {"linkify": False}).render
    lines = "\n".join(line for line in head.splitlines() if not line.startswith("# "))
    return f"{render(lines)}<details><summary>All figures</summary>\n{render(f'## {rest}')}</details>\n"


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


def job_plan_markdown(plan: Plan) -> str:
    """Return what a paid job will need and cost, as Markdown."""
    return _TEMPLATES.get_template("job_plan.md.j2").render(plan=plan)

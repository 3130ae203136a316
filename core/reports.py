"""Reports: figures in, Markdown out. Nothing is written here."""

from collections.abc import Mapping, Sequence
from typing import Any

from markdown_it import MarkdownIt

from core.assessment_figures import Figures
from core.escaping import Markdown, front_matter, markdown_templates
from core.fidelity import Report
from core.job_plan import Plan
from core.ledger import Bill
from core.nights import NightReport, bar
from core.pack import Pack
from core.records import AssessmentBatch, LeftOut
from core.review import ReviewFigures
from core.terminal import one_line, printable

PARAGRAPHS = ("replies", "next")
"""What of a run's summary has lines: held-out messages with their replies, and what to do next."""

_TEMPLATES = markdown_templates(bar=bar, cell=lambda ours: Markdown(" ".join(ours.split()).replace("|", "\\|")))


def markdown(template: str, **given: Any) -> Markdown:
    """Return a report as Markdown.

    Args:
        template: its name in `core/templates`, such as `pilot`.
        given: what the template names.
    """
    return Markdown(_TEMPLATES.get_template(f"{template}.md.j2").render(given).strip() + "\n")


def assessment_markdown(
    figures: Figures, batch: AssessmentBatch, pack: Pack, caveats: Sequence[str], bills: Mapping[tuple[str, str], Bill], seconds: float
) -> Markdown:
    """Return the report of a batch of assessments as Markdown.

    Args:
        bills: what each role and model cost.
        seconds: that the run took so far.
    """
    names = {key: criterion.head.name for key, criterion in pack.rubric.criteria.items()}
    weights = pack.rubric.numbers.categories
    given = {"figures": figures, "batch": batch, "names": names, "weights": weights, "caveats": caveats, "bills": bills, "seconds": seconds}
    return Markdown(_TEMPLATES.get_template("assessment.md.j2").render(given))


def dataset_card(facts: dict[str, Any]) -> Markdown:
    """Return a dataset's card: a README with the Hub's metadata.

    Args:
        facts: what `tasks.dataset` collects.

    Source:
        https://huggingface.co/docs/hub/datasets-cards
    """
    files = [{"split": split, "path": f"{split}.parquet"} for split in ("train", "validation")]
    head = {
        "license": facts["license"],
        "language": facts["languages"],
        "pretty_name": facts["title"],
        "task_categories": ["text-generation"],
        "size_categories": [facts["size"]],
        "tags": ["understudy", *([] if facts["imported"] else ["synthetic"]), "conversational", facts["domain"]],
        "configs": [{"config_name": "default", "data_files": files}],
    }
    return Markdown(f"{front_matter(head)}\n{_TEMPLATES.get_template('dataset_card.md.j2').render(facts).strip()}\n")


def review_markdown(figures: ReviewFigures) -> Markdown:
    """Return what a person's labels say of the judge as Markdown."""
    return Markdown(_TEMPLATES.get_template("review.md.j2").render(figures=figures).strip() + "\n")


def folded_html(markdown: str) -> str:
    """Return a report as HTML: what stands before its first section, and the sections folded away. HTML that stands in it is shown and not obeyed."""
    head, _, rest = markdown.partition("\n## ")
    render = MarkdownIt("js-default", {"linkify": False}).render
    lines = "\n".join(line for line in head.splitlines() if not line.startswith("# "))
    return f"{render(lines)}<details><summary>All figures</summary>\n{render(f'## {rest}')}</details>\n"


def fidelity_markdown(fidelity: Report, left_out: Sequence[LeftOut] = ()) -> Markdown:
    """Return how much of the personas shows in a batch of rehearsals, as Markdown."""
    return Markdown(_TEMPLATES.get_template("rehearsal.md.j2").render(fidelity=fidelity, left_out=left_out))


def night_markdown(report: NightReport, earlier: Sequence[NightReport], fidelity: Report | None, bills: Mapping[tuple[str, str], Bill], pack: Pack) -> Markdown:
    """Return what a night came to, beside the nights before it, as Markdown.

    Args:
        earlier: the nights before, the latest first.
        fidelity: of its own conversations; none where it made none.
        bills: what each role and model cost.
    """
    rates = [one.pass_rate for one in earlier if one.pass_rate is not None]
    criteria = pack.rubric.criteria
    given = {
        "report": report,
        "earlier": list(earlier),
        "usual": sum(rates) / len(rates) if rates else None,
        "fidelity": fidelity,
        "bills": bills,
        "names": {key: criterion.head.name for key, criterion in criteria.items()},
        "gates": [key for key, criterion in criteria.items() if criterion.head.gate],
    }
    return Markdown(_TEMPLATES.get_template("night.md.j2").render(given).strip() + "\n")


def rubric_markdown(pack: Pack) -> Markdown:
    """Return a domain's rubric as a page for people."""
    return Markdown(_TEMPLATES.get_template("rubric.md.j2").render(pack=pack).rstrip() + "\n")


def summary_table(summary: dict[str, Any]) -> str:
    """Return the few lines that a run ends with on the terminal; a value that has lines of ours stands by itself, without its name."""
    width = max(len(one_line(name)) for name in summary if name not in PARAGRAPHS)
    lines = (f"\n{printable(value)}\n" if name in PARAGRAPHS else f"  {one_line(name):<{width}}  {one_line(str(value))}" for name, value in summary.items())
    return "\n".join(lines).rstrip("\n")


def job_plan_markdown(plan: Plan) -> Markdown:
    """Return what a paid job will need and cost, as Markdown."""
    return Markdown(_TEMPLATES.get_template("job_plan.md.j2").render(plan=plan))

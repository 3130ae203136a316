"""Reports as Markdown. This module returns texts and writes no files."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt

from core.escaping import Markdown, add_filters, front_matter, render_markdown
from core.llm.bills import Bill
from core.packs.pack import Pack
from core.records import AssessmentBatch
from core.rehearsal.fidelity import Report
from core.reports.nights import NightReport, bar
from core.terminal import one_line, printable

if TYPE_CHECKING:  # these import numpy and pyarrow, which half of the flows do not need
    from core.judging.figures import Figures
    from core.judging.review import ReviewFigures
    from core.reports.learnt import Lesson
    from core.training.plan import JobPlan

PARAGRAPHS = ("replies", "next")
"""Names in a run's summary whose values have several lines: held-out messages with their replies, and the next steps."""

add_filters(bar=bar, cell=lambda text: Markdown(" ".join(text.split()).replace("|", "\\|")))


def markdown(template: str, **inputs: Any) -> Markdown:
    """Return a report as Markdown.

    Args:
        template: name of the template in `core/reports`, such as `pilot`.
        inputs: the template's inputs.
    """
    return render_markdown(f"reports/{template}", **inputs)


def assessment_markdown(
    figures: "Figures",
    batch: AssessmentBatch,
    pack: Pack,
    caveats: Sequence[str],
    bills: Mapping[tuple[str, str], Bill],
    seconds: float,
    measured: Sequence[str] = (),
) -> Markdown:
    """Return the report of a batch of assessments as Markdown.

    Args:
        figures: the figures of the assessments.
        batch: the batch.
        pack: the domain pack.
        caveats: sentences that a reader must know.
        bills: the bill of each role and model.
        seconds: duration of the run so far.
        measured: sentences on the judges' measured rates.
    """
    names = {key: criterion.head.name for key, criterion in pack.rubric.criteria.items()}
    weights = pack.rubric.numbers.categories
    inputs = {"figures": figures, "batch": batch, "names": names, "weights": weights, "caveats": caveats, "bills": bills, "seconds": seconds}
    return render_markdown("reports/assessment", measured=measured, **inputs)


def dataset_card(facts: dict[str, Any]) -> Markdown:
    """Return a dataset's card: a README with the Hub's metadata.

    Args:
        facts: the facts that `tasks.dataset` collects.

    Source:
        https://huggingface.co/docs/hub/datasets-cards
    """
    splits = ("train", "validation")
    configs = [
        {"config_name": name, "data_files": [{"split": split, "path": f"{folder}{split}.parquet"} for split in splits]}
        for name, folder in facts["configurations"].items()
    ]
    head = {
        "license": facts["license"],
        "language": facts["languages"],
        "pretty_name": facts["title"],
        "task_categories": ["text-generation"],
        "size_categories": [facts["size"]],
        "tags": ["understudy", *([] if facts["imported"] else ["synthetic"]), "conversational", facts["domain"]],
        "configs": configs,
    }
    return Markdown(f"{front_matter(head)}\n{render_markdown('reports/dataset_card', **facts)}")


def corpus_page(facts: dict[str, Any], pack: Pack, recorded: bool) -> Markdown:
    """Return the audit of a corpus as Markdown. For a pack's recorded conversations, it is a card with the Hub's metadata.

    Args:
        facts: the facts that `core.dataset.corpus` collects.
        pack: the domain pack.
        recorded: whether the corpus is the pack's recorded conversations.

    Source:
        https://huggingface.co/docs/hub/datasets-cards
    """
    page = render_markdown("reports/corpus", **facts, recorded=recorded, intended_use=pack.intended_use)
    if not recorded:
        return page
    head = {
        "license": "apache-2.0",
        "language": ["en"],
        "pretty_name": f"Understudy: recorded conversations of {pack.name}",
        "task_categories": ["text-generation"],
        "size_categories": ["n<1K"],
        "tags": ["understudy", "synthetic", "conversational", pack.name],
        "viewer": False,  # personas have different keys, and the viewer needs columns of one type
    }
    return Markdown(f"{front_matter(head)}\n{page}")


def review_markdown(figures: "ReviewFigures", learnt: "Sequence[Lesson]" = (), person: str = "") -> Markdown:
    """Return the comparison of a judge with a person's labels as Markdown.

    Args:
        figures: the figures of the comparison.
        learnt: the comparison in sentences, which come first.
        person: the person's name; empty if only one person labelled.
    """
    return render_markdown("reports/review", figures=figures, learnt=[lesson for lesson in learnt if lesson.kind != "no label"], person=person)


def folded_html(markdown: str) -> str:
    """Return a report as HTML: the text before its first section, and the sections in a closed fold. HTML in the report is shown as text."""
    head, _, rest = markdown.partition("\n## ")
    render = MarkdownIt("js-default", {"linkify": False}).render
    lines = "\n".join(line for line in head.splitlines() if not line.startswith("# "))
    return f"{render(lines)}<details><summary>All figures</summary>\n{render(f'## {rest}')}</details>\n"


def night_markdown(report: NightReport, earlier: Sequence[NightReport], fidelity: Report | None, bills: Mapping[tuple[str, str], Bill], pack: Pack) -> Markdown:
    """Return the report of a night, with a comparison to earlier nights, as Markdown.

    Args:
        report: the night's figures.
        earlier: reports of earlier nights, the latest first.
        fidelity: fidelity of the night's conversations; None if it made none.
        bills: the bill of each role and model.
        pack: the domain pack.
    """
    rates = [night.pass_rate for night in earlier if night.pass_rate is not None]
    criteria = pack.rubric.criteria
    inputs = {
        "report": report,
        "earlier": list(earlier),
        "usual": sum(rates) / len(rates) if rates else None,
        "fidelity": fidelity,
        "bills": bills,
        "names": {key: criterion.head.name for key, criterion in criteria.items()},
        "gates": [key for key, criterion in criteria.items() if criterion.head.gate],
    }
    return render_markdown("reports/night", **inputs)


def rubric_markdown(pack: Pack) -> Markdown:
    """Return a domain's rubric as a page for people."""
    return render_markdown("reports/rubric", pack=pack)


def summary_table(summary: dict[str, Any]) -> str:
    """Return the summary with which a run ends on the terminal; a value with several lines is a paragraph without its name."""
    width = max(len(one_line(name)) for name in summary if name not in PARAGRAPHS)
    lines = (f"\n{printable(value)}\n" if name in PARAGRAPHS else f"  {one_line(name):<{width}}  {one_line(str(value))}" for name, value in summary.items())
    return "\n".join(lines).rstrip("\n")


def job_plan_markdown(plan: "JobPlan") -> Markdown:
    """Return the needs and the price of a paid job as Markdown."""
    return render_markdown("reports/job_plan", plan=plan)

"""Reports: figures in, Markdown out. Nothing is written here."""

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

if TYPE_CHECKING:  # numpy and pyarrow come with them, which half of the flows do not need
    from core.judging.figures import Figures
    from core.judging.review import ReviewFigures
    from core.reports.learnt import Lesson
    from core.training.plan import JobPlan

PARAGRAPHS = ("replies", "next")
"""What of a run's summary has lines: held-out messages with their replies, and what to do next."""

add_filters(bar=bar, cell=lambda ours: Markdown(" ".join(ours.split()).replace("|", "\\|")))


def markdown(template: str, **given: Any) -> Markdown:
    """Return a report as Markdown.

    Args:
        template: its name in this room, such as `pilot`.
        given: what the template names.
    """
    return render_markdown(f"reports/{template}", **given)


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
        bills: what each role and model cost.
        seconds: that the run took so far.
        measured: what the judges were measured to be.
    """
    names = {key: criterion.head.name for key, criterion in pack.rubric.criteria.items()}
    weights = pack.rubric.numbers.categories
    given = {"figures": figures, "batch": batch, "names": names, "weights": weights, "caveats": caveats, "bills": bills, "seconds": seconds}
    return render_markdown("reports/assessment", measured=measured, **given)


def dataset_card(facts: dict[str, Any]) -> Markdown:
    """Return a dataset's card: a README with the Hub's metadata.

    Args:
        facts: what `tasks.dataset` collects.

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
    """Return the audit of a corpus as Markdown; of a pack's recorded conversations a card with the Hub's metadata.

    Args:
        facts: what `core.dataset.corpus` finds.

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
        "viewer": False,  # personas differ in what they have, and the viewer wants columns of one type
    }
    return Markdown(f"{front_matter(head)}\n{page}")


def review_markdown(figures: "ReviewFigures", learnt: "Sequence[Lesson]" = (), person: str = "") -> Markdown:
    """Return what a person's labels say of the judge as Markdown.

    Args:
        learnt: the same in sentences, first.
        person: whose labels they are; an empty name is that of the only one.
    """
    return render_markdown("reports/review", figures=figures, learnt=[one for one in learnt if one.kind != "no label"], person=person)


def folded_html(markdown: str) -> str:
    """Return a report as HTML: what stands before its first section, and the sections folded away. HTML that stands in it is shown and not obeyed."""
    head, _, rest = markdown.partition("\n## ")
    render = MarkdownIt("js-default", {"linkify": False}).render
    lines = "\n".join(line for line in head.splitlines() if not line.startswith("# "))
    return f"{render(lines)}<details><summary>All figures</summary>\n{render(f'## {rest}')}</details>\n"


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
    return render_markdown("reports/night", **given)


def rubric_markdown(pack: Pack) -> Markdown:
    """Return a domain's rubric as a page for people."""
    return render_markdown("reports/rubric", pack=pack)


def summary_table(summary: dict[str, Any]) -> str:
    """Return the few lines that a run ends with on the terminal; a value that has lines of ours stands by itself, without its name."""
    width = max(len(one_line(name)) for name in summary if name not in PARAGRAPHS)
    lines = (f"\n{printable(value)}\n" if name in PARAGRAPHS else f"  {one_line(name):<{width}}  {one_line(str(value))}" for name, value in summary.items())
    return "\n".join(lines).rstrip("\n")


def job_plan_markdown(plan: "JobPlan") -> Markdown:
    """Return what a paid job will need and cost, as Markdown."""
    return render_markdown("reports/job_plan", plan=plan)

"""The texts of a calibration: the price before it, the report, the page with each disagreement, and the summary on the terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.escaping import Markdown, add_filters, render_markdown
from core.fingerprint import fingerprint
from core.judging.calibration import Calibration, changes, figure, in_words, read_calibration
from core.judging.golden import Golden
from core.judging.golden_figures import golden_outcome
from core.judging.page import assessment_page
from core.judging.review import shortened
from core.judging.scoring import score
from core.llm.ledger import Ledger
from core.packs.pack import Pack
from core.records import Answer, Assessment, Judged, Verdict
from core.reports.costs import Cost
from core.reports.render import folded_html
from core.settings.assessment import CalibrationSettings
from core.storage.store import Store

GOLDEN = "golden verdicts"
"""Name of the golden verdicts on the page, where each judge has a name."""


@dataclass(frozen=True)
class Measured:
    """The results of a calibration.

    Args:
        golden: the golden conversations.
        found: the calibration of each judge in each mode.
        paired: the calibration of each two of them, as a panel.
        chosen: the cheapest judge or panel that meets `wanted`; None if none does.
        wanted: the minimum rates, from the settings.
        assessments: the judges' assessments, by judge and mode, then by conversation.
    """

    pack: Pack
    golden: Sequence[Golden]
    found: Sequence[Calibration]
    paired: Sequence[Calibration]
    chosen: Calibration | None
    wanted: CalibrationSettings
    assessments: Mapping[str, Mapping[str, Assessment]]

    @property
    def folder(self) -> str:
        """Folder of the report and the page, below the data root."""
        return f"reports/calibration-{fingerprint([self.found, self.wanted])}"


@dataclass(frozen=True)
class Difference:
    """A judge's answer that differs from the golden one.

    Args:
        conversation: id of the golden conversation.
        golden: the golden answer; `why` is its reason.
        answer: the judge's answer; `reasoning` is its reason, shortened.
        disputed: whether the people who labelled the conversation disagree too.
    """

    conversation: str
    criterion: str
    golden: str
    why: str
    answer: str
    reasoning: str
    disputed: bool


def price_sentence(costs: Sequence[Cost], conversations: int, repeat: int, ledger: Ledger) -> str:
    """Return a sentence with the planned calls, their price and the rest of the budget."""
    usd = None if any(cost.usd is None for cost in costs) else sum(cost.usd or 0.0 for cost in costs)
    calls, budget = sum(cost.calls for cost in costs), ledger.budget.usd
    each = ", ".join(f"{cost.model} ({cost.role}) {'no price' if cost.usd is None else f'{cost.usd:.2f}'}" for cost in costs)
    times = f", {repeat} times each" if repeat > 1 else ""
    price = "price unknown" if usd is None else f"about {usd:.2f} USD"
    left = None if budget is None else budget - ledger.bill.usd
    limit = "" if left is None else f" The budget leaves {left:.2f} USD{', which is not enough' if usd is not None and usd > left else ''}."
    return f"{conversations} golden conversations{times}: {calls:,} new calls, {price} ({each}).{limit}"


def calibration_markdown(measured: Measured, store: Store) -> Markdown:
    """Return the report as Markdown."""
    return render_markdown(
        "reports/calibration",
        measured=measured,
        criteria=measured.pack.rubric.criteria,
        changes={calibration.name: changes_of(calibration, store) for calibration in measured.found},
        differences=_differences(measured),
        chosen=chosen_sentence(measured),
    )


def changes_of(calibration: Calibration, store: Store) -> list[str]:
    """Return the changes since the previous calibration as sentences; an empty list if there is no previous one."""
    before = read_calibration(store, calibration.before)
    return changes(calibration, before) if before else []


def chosen_sentence(measured: Measured) -> str:
    """Return a sentence that names the judge or panel to pay for."""
    wanted = f"gates with a TPR of at least {measured.wanted.least_tpr:g} and a TNR of at least {measured.wanted.least_tnr:g}"
    if measured.chosen is None:
        return f"No judge or panel of two that was measured on the whole set reaches {wanted} (calibration in the settings)."
    return f"The cheapest that reaches {wanted}: {measured.chosen.name}, {_cost(measured.chosen)}."


def calibration_page(measured: Measured, text: Markdown) -> str:
    """Return the page as HTML: the figures, and every golden conversation with the golden verdicts next to those of each judge."""
    judged = []
    for item in measured.golden:
        by_judge = {name: assessments[item.id] for name, assessments in measured.assessments.items() if item.id in assessments}
        golden = _golden_assessment(item, measured.pack)
        judged.append(Judged(transcript=item.transcript, final=golden, by_judge={GOLDEN: golden, **by_judge}))
    return assessment_page(measured.pack, judged, folded_html(text))


def calibration_rows(measured: Measured) -> list[dict[str, Any]]:
    """Return the rates and the cost of each judge and panel as rows of a table."""
    return [
        {
            "judge": calibration.name,
            "gates TPR": figure(calibration.figures.gates.tpr),
            "gates TNR": figure(calibration.figures.gates.tnr),
            "criteria TPR": figure(calibration.figures.verdicts.tpr),
            "criteria TNR": figure(calibration.figures.verdicts.tnr),
            "conversations": len(calibration.conversations),
            "cost": _cost(calibration),
        }
        for calibration in [*measured.found, *measured.paired]
    ]


def calibration_summary(measured: Measured, store: Store) -> dict[str, str]:
    """Return the summary with which the command ends, by name."""
    lines, total = {}, len(measured.golden)
    for calibration in measured.found:
        count, figures = len(calibration.conversations), calibration.figures
        part = "" if count == total else f"{count} of {total} conversations, not kept; "
        lines[calibration.name] = f"{part}gates {in_words(figures.gates)}; all criteria {in_words(figures.verdicts)}; {_cost(calibration)}"
        if news := changes_of(calibration, store):
            lines[f"{calibration.name}, compared"] = "; ".join(news)
    return lines | ({"which to pay for": chosen_sentence(measured)} if lines else {})


def _cost(calibration: Calibration) -> str:
    spent, n = calibration.spent, max(1, calibration.spent.conversations)
    usd = "no known price" if spent.usd is None else f"{spent.usd / n:.4f} USD"
    return f"{usd}, {spent.tokens / n:,.0f} tokens and {spent.seconds / n:.1f} s a conversation"


def _golden_assessment(item: Golden, pack: Pack) -> Assessment:
    """Return the golden verdicts as an assessment, the form that the page shows."""
    verdicts = [
        Verdict(criterion=name, answer=Answer(verdict.answer), reasoning=_why(item, name), cited=verdict.exchanges)
        for name, verdict in item.file.verdicts.items()
    ]
    scored = score(pack.rubric, verdicts, len(item.file.exchanges)).model_copy(update={"outcome": golden_outcome(item, pack.rubric, Answer.YES)})
    return Assessment(transcript_id=item.id, judge=GOLDEN, rubric_hash=pack.rubric.hash, verdicts=verdicts, score=scored)


def _why(item: Golden, name: str) -> str:
    """Return the reason of a golden verdict, with the readers' labels if they disagree."""
    verdict = item.file.verdicts[name]
    by_reader = ", ".join(f"{reader}: {labels[name]}" for reader, labels in item.file.labels.items())
    parts = [f"Disputed ({by_reader})." if name in item.file.disputed else "", "A near miss." if verdict.close else "", verdict.reason]
    return " ".join(filter(None, parts)) or "There are no objections."


def _differences(measured: Measured) -> dict[str, list[Difference]]:
    """Return the answers of each judge that differ from the golden ones: gates before criteria, missed failures before failed passes, disputes last."""
    by_judge, criteria = {}, measured.pack.rubric.criteria
    for judge, assessments in measured.assessments.items():
        differences = []
        for item in measured.golden:
            for verdict in assessments[item.id].verdicts if item.id in assessments else ():
                golden = item.file.verdicts.get(verdict.criterion)
                if golden and verdict.answer != golden.answer:
                    disputed = verdict.criterion in item.file.disputed
                    why, answer = _why(item, verdict.criterion), verdict.answer.value
                    differences.append(Difference(item.id, verdict.criterion, golden.answer, why, answer, shortened(verdict.reasoning), disputed))
        by_judge[judge] = sorted(differences, key=lambda item: (item.disputed, criteria[item.criterion].head.category is not None, item.golden != "NO"))
    return by_judge


add_filters(measured=figure, rates=in_words, cost=_cost)

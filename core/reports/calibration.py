"""A calibration in words: the price before it, the report, the page with each disagreement, and the few lines that it ends with."""

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
"""Whose verdicts stand beside the judges' on the page."""


@dataclass(frozen=True)
class Measured:
    """What a calibration found.

    Args:
        found: each judge in each mode; paired: each two of them, as a panel.
        chosen: the cheapest that reaches what is wanted; none if none does.
        assessments: by judge and mode, and by conversation.
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
        """Where report and page are, below the data root."""
        return f"reports/calibration-{fingerprint([self.found, self.wanted])}"


@dataclass(frozen=True)
class Difference:
    """A judge's answer that is not the golden one.

    Args:
        disputed: whether the readers of the conversation differ themselves.
    """

    conversation: str
    criterion: str
    golden: str
    why: str
    answer: str
    reasoning: str
    disputed: bool


def price_sentence(costs: Sequence[Cost], conversations: int, repeat: int, ledger: Ledger) -> str:
    """Say what is going to be asked and what that costs, before it is paid for."""
    known = None if any(cost.usd is None for cost in costs) else sum(cost.usd or 0.0 for cost in costs)
    calls, budget = sum(cost.calls for cost in costs), ledger.budget.usd
    each = ", ".join(f"{cost.model} ({cost.role}) {'no price' if cost.usd is None else f'{cost.usd:.2f}'}" for cost in costs)
    times = f", {repeat} times each" if repeat > 1 else ""
    price = "about an unknown price" if known is None else f"about {known:.2f} USD"
    left = None if budget is None else budget - ledger.bill.usd
    limit = "" if left is None else f" The budget leaves {left:.2f} USD{', which is not enough' if known is not None and known > left else ''}."
    return f"{conversations} golden conversations{times}: {calls:,} calls that were not made before, {price} ({each}).{limit}"


def calibration_markdown(measured: Measured, store: Store) -> Markdown:
    """Return the report as Markdown."""
    return render_markdown(
        "reports/calibration",
        measured=measured,
        criteria=measured.pack.rubric.criteria,
        changes={one.name: changes_of(one, store) for one in measured.found},
        differences=_differences(measured),
        chosen=chosen_sentence(measured),
    )


def changes_of(one: Calibration, store: Store) -> list[str]:
    """Say what is different from the calibration before."""
    before = read_calibration(store, one.before)
    return changes(one, before) if before else []


def chosen_sentence(measured: Measured) -> str:
    """Say which judge or panel to pay for."""
    wanted = f"gates with a TPR of at least {measured.wanted.least_tpr:g} and a TNR of at least {measured.wanted.least_tnr:g}"
    if measured.chosen is None:
        return f"No judge or panel of two that was measured on the whole set reaches {wanted} (calibration in the settings)."
    return f"The cheapest that reaches {wanted}: {measured.chosen.name}, {_cost(measured.chosen)}."


def calibration_page(measured: Measured, text: Markdown) -> str:
    """Return the page: the figures, and every golden conversation with the golden verdicts beside those of each judge."""
    judged = []
    for item in measured.golden:
        own = {name: given[item.id] for name, given in measured.assessments.items() if item.id in given}
        golden = _golden_assessment(item, measured.pack)
        judged.append(Judged(transcript=item.transcript, final=golden, by_judge={GOLDEN: golden, **own}))
    return assessment_page(measured.pack, judged, folded_html(text))


def calibration_rows(measured: Measured) -> list[dict[str, Any]]:
    """Return what each judge and panel finds, misses and costs, as a table."""
    return [
        {
            "judge": one.name,
            "gates TPR": figure(one.figures.gates.tpr),
            "gates TNR": figure(one.figures.gates.tnr),
            "criteria TPR": figure(one.figures.verdicts.tpr),
            "criteria TNR": figure(one.figures.verdicts.tnr),
            "conversations": len(one.conversations),
            "cost": _cost(one),
        }
        for one in [*measured.found, *measured.paired]
    ]


def calibration_summary(measured: Measured, store: Store) -> dict[str, str]:
    """Return the few lines that the command ends with."""
    lines = {}
    for one in measured.found:
        part = "" if len(one.conversations) == len(measured.golden) else f"{len(one.conversations)} of {len(measured.golden)} conversations, not kept; "
        lines[one.name] = f"{part}gates {in_words(one.figures.gates)}; all criteria {in_words(one.figures.verdicts)}; {_cost(one)}"
        if news := changes_of(one, store):
            lines[f"{one.name}, compared"] = "; ".join(news)
    return lines | ({"which to pay for": chosen_sentence(measured)} if lines else {})


def _cost(one: Calibration) -> str:
    spent, n = one.spent, max(1, one.spent.conversations)
    usd = "no known price" if spent.usd is None else f"{spent.usd / n:.4f} USD"
    return f"{usd}, {spent.tokens / n:,.0f} tokens and {spent.seconds / n:.1f} s a conversation"


def _golden_assessment(item: Golden, pack: Pack) -> Assessment:
    """Return the golden verdicts as the page shows verdicts."""
    verdicts = [
        Verdict(criterion=name, answer=Answer(found.answer), reasoning=_why(item, name), cited=found.exchanges) for name, found in item.file.verdicts.items()
    ]
    scored = score(pack.rubric, verdicts, len(item.file.exchanges)).model_copy(update={"outcome": golden_outcome(item, pack.rubric, Answer.YES)})
    return Assessment(transcript_id=item.id, judge=GOLDEN, rubric_hash=pack.rubric.hash, verdicts=verdicts, score=scored)


def _why(item: Golden, name: str) -> str:
    verdict = item.file.verdicts[name]
    said = ", ".join(f"{reader}: {labels[name]}" for reader, labels in item.file.labels.items())
    parts = [f"Disputed ({said})." if name in item.file.disputed else "", "A near miss." if verdict.close else "", verdict.reason]
    return " ".join(filter(None, parts)) or "Nothing speaks against it."


def _differences(measured: Measured) -> dict[str, list[Difference]]:
    """Return what each judge answers otherwise: gates before criteria, failures that it missed before passes that it failed, disputes last."""
    by_judge, criteria = {}, measured.pack.rubric.criteria
    for judge, given in measured.assessments.items():
        found = []
        for item in measured.golden:
            for verdict in given[item.id].verdicts if item.id in given else ():
                golden = item.file.verdicts.get(verdict.criterion)
                if golden and verdict.answer != golden.answer:
                    disputed = verdict.criterion in item.file.disputed
                    why, answer = _why(item, verdict.criterion), verdict.answer.value
                    found.append(Difference(item.id, verdict.criterion, golden.answer, why, answer, shortened(verdict.reasoning), disputed))
        by_judge[judge] = sorted(found, key=lambda one: (one.disputed, criteria[one.criterion].head.category is not None, one.golden != "NO"))
    return by_judge


add_filters(measured=figure, rates=in_words, cost=_cost)

"""Filters, search and sorting of a batch's rows, as the address of a page holds them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from core.records import Answer, Outcome, Record
from core.views.batches import Batch, Result, Row, plain

ORDERS = {"score": "lowest score first", "-score": "highest score first", "id": "by name", "-exchanges": "longest first"}
OUTCOMES = [outcome.value for outcome in Outcome]
ANSWERS = [answer.value for answer in Answer]


class Wanted(Record):
    """The filters and the order of rows. An empty text or False filters nothing; an unknown value matches no row.

    Args:
        outcome: outcome of the conversation.
        gate: id of a failed gate, `failed` for any, or `none` for no failed gate.
        criterion: id of a criterion that was answered.
        answer: answer to the criterion, or to any criterion.
        persona: conditions on the persona, each as `dimension:value`.
        view: whose verdicts are used: 0 for the final ones, otherwise the number of the judge.
        disagree: whether the judges must differ, on the criterion or on any.
        text: words or a passage of the conversation.
        order: one of `ORDERS`.
    """

    outcome: str = ""
    gate: str = ""
    criterion: str = ""
    answer: str = ""
    persona: tuple[str, ...] = ()
    view: int = 0
    disagree: bool = False
    text: str = ""
    order: str = "score"

    @property
    def narrows(self) -> bool:
        """Whether any filter is set."""
        return self != Wanted(view=self.view, order=self.order)


def wanted_of(query: Mapping[str, Sequence[str]]) -> Wanted:
    """Return the filters in the address of a page. Unknown parameters are ignored, because an old link may have them."""
    last = {name: values[-1].strip()[:500] for name, values in query.items() if values}
    view = last.get("view", "")
    order = last.get("order", "")
    return Wanted(
        **{name: last[name] for name in ("outcome", "gate", "criterion", "answer", "text") if last.get(name)},
        persona=tuple(dict.fromkeys(value for value in query.get("persona", ()) if value)),
        view=int(view) if re.fullmatch(r"[0-9]{1,2}", view) else 0,
        disagree=bool(last.get("disagree")),
        order=order if order in ORDERS else "score",
    )


def chosen(batch: Batch, wanted: Wanted) -> list[Row]:
    """Return the rows that match the filters, sorted."""
    text = plain(wanted.text)
    pairs = [part.partition(":")[::2] for part in wanted.persona]
    matches = [row for row in batch.rows if _fits(row, wanted, pairs) and (not text or text in row.plain)]
    return sorted(matches, key=lambda row: _key(row, wanted))


def _key(row: Row, wanted: Wanted) -> tuple[Any, ...]:
    result = view_of(row, wanted.view)
    score = result.score if result else None
    if wanted.order == "id":
        return (row.id,)
    if wanted.order == "-exchanges":
        return (-row.exchanges, row.id)
    return (score is None, (score or 0.0) * (-1 if wanted.order == "-score" else 1), row.id)


def view_of(row: Row, view: int) -> Result | None:
    """Return the result of the judge with a number, or the final result for 0 and for unknown numbers."""
    return row.results[view] if view < len(row.results) else row.results[0]


def _fits(row: Row, wanted: Wanted, persona: Sequence[Sequence[str]]) -> bool:
    result = view_of(row, wanted.view)
    if any(value not in row.traits.get(name, ()) for name, value in persona):
        return False
    if wanted.outcome and (result is None or result.outcome != wanted.outcome):
        return False
    if wanted.gate and (result is None or not _fits_gate(result, wanted.gate)):
        return False
    if (wanted.criterion or wanted.answer) and not _fits_answer(result, wanted):
        return False
    return not wanted.disagree or disagree(row, wanted.criterion)


def _fits_gate(result: Result, gate: str) -> bool:
    if gate == "none":
        return not result.failed_gates
    return bool(result.failed_gates) if gate == "failed" else gate in result.failed_gates


def _fits_answer(result: Result | None, wanted: Wanted) -> bool:
    answers = result.answers if result else {}
    candidates = [answers[wanted.criterion]] if wanted.criterion in answers else [] if wanted.criterion else list(answers.values())
    return wanted.answer in candidates if wanted.answer else bool(candidates)


def disagree(row: Row, criterion: str = "") -> bool:
    """Return whether the judges of a panel differ, on a criterion or, if it is empty, on any. Missing answers and errors are ignored."""
    by_judge = [result.answers for result in row.results[1:] if result]
    names = [criterion] if criterion else {name for answers in by_judge for name in answers}
    return any(len({answers.get(name) for answers in by_judge} - {None, "ERROR"}) > 1 for name in names)


def excerpt(row: Row, text: str, before: int = 60, after: int = 120) -> str:
    """Return the text around the first occurrence of a passage in a conversation; empty if the messages do not contain it.

    Args:
        before, after: maximum characters before and after the beginning and the end of the passage.
    """
    match = re.search(re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(plain(text))).replace("'", "['’]"), row.text, re.IGNORECASE) if text.strip() else None
    if match is None:
        return ""
    begin, end = max(0, match.start() - before), min(len(row.text), match.end() + after)
    return f"{'…' if begin else ''}{row.text[begin:end].strip()}{'…' if end < len(row.text) else ''}"

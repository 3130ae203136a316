"""Scores from verdicts: the rubric's arithmetic, done in code and never by a judge."""

from collections.abc import Sequence

from core.errors import PackError
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Outcome, Score, Verdict


def score(rubric: Rubric, verdicts: Sequence[Verdict], exchanges: int) -> Score:
    """Return the score of a transcript.

    A category's score is the mean of its criteria: YES 1, NO 0, NA 1 where NA is allowed and 0 where it is not. A criterion that applies only to longer
    transcripts is left out of its category. A category without criteria is left out of the score, and the weights of the others are scaled up. A gate
    passes with YES, or with NA where that is allowed; a gate with ERROR never passes. With any ERROR the assessment is incomplete: it neither passes nor
    fails. A rubric that has only gates gives no score, and a transcript passes it by passing the gates.

    Args:
        verdicts: one for each criterion that applies; a missing one counts as ERROR.
        exchanges: length of the transcript.
    """
    answers = {verdict.criterion: verdict.answer for verdict in verdicts}
    applying = applicable(rubric, exchanges)
    errors = sum(answers.get(criterion.id, Answer.ERROR) is Answer.ERROR for criterion in applying)
    categories: dict[str, list[float]] = {}
    failed_checks, failed_gates = [], []
    for criterion in applying:
        value = value_of(criterion, answers.get(criterion.id, Answer.ERROR))
        if value is None:
            continue
        if criterion.head.category is not None:
            categories.setdefault(criterion.head.category, []).append(value)
        if value == 0:
            (failed_gates if criterion.head.gate else failed_checks).append(criterion.id)
    means = {category: sum(values) / len(values) for category, values in categories.items()}
    weights = rubric.numbers.categories
    scale = sum(weights[category] for category in means)
    total = sum(weights[category] * mean for category, mean in means.items()) / scale if scale else None
    return Score(
        outcome=_outcome(rubric, total, failed_gates, errors),
        score=total,
        category_scores=means,
        failed_checks=failed_checks,
        failed_gates=failed_gates,
        errors=errors,
    )


def check_gates(rubric: Rubric, exchanges: int, where: str) -> None:
    """Check that every gate applies to the shortest possible conversation, because such a conversation would pass any other gate unchecked.

    Args:
        exchanges: length of that conversation.
        where: the setting that allows it, for the error message.

    Raises:
        PackError: a gate applies only to longer conversations.
    """
    for criterion in rubric.criteria.values():
        if criterion.head.gate and criterion.head.from_exchange > exchanges:
            raise PackError(
                f"The gate {criterion.id} applies from exchange {criterion.head.from_exchange} on, but conversations may have {exchanges} ({where}), which "
                "would pass it unchecked. Lower from_exchange in the criterion's file, or make the conversations longer."
            )


def applicable(rubric: Rubric, exchanges: int) -> list[Criterion]:
    """Return the criteria that apply to a transcript of this length, in the rubric's order."""
    return [criterion for criterion in rubric.criteria.values() if criterion.head.from_exchange <= exchanges]


def value_of(criterion: Criterion, answer: Answer) -> float | None:
    """Return the value of an answer: 1 for a pass, 0 for a failure, None for ERROR."""
    if answer is Answer.ERROR:
        return None
    if answer is Answer.NA:
        return 1.0 if criterion.head.na == "allowed" else 0.0
    return 1.0 if answer is Answer.YES else 0.0


def _outcome(rubric: Rubric, total: float | None, failed_gates: Sequence[str], errors: int) -> Outcome:
    gates_alone = all(criterion.head.gate for criterion in rubric.criteria.values())
    if errors or (total is None and not gates_alone):
        return Outcome.INCOMPLETE
    # a mean of twentieths is not exact in binary, and 0.8 must pass at 0.80
    enough = total is None or total >= rubric.numbers.pass_at - 1e-9
    return Outcome.PASS if enough and not failed_gates else Outcome.FAIL

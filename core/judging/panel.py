"""Panels: one assessment of a transcript from those of several judges."""

from collections import Counter
from collections.abc import Mapping, Sequence

from core.errors import SettingsError
from core.judging.gather_rule import gather_rule
from core.judging.judgements import unusable
from core.judging.scoring import applicable, check_gates, score, value_of
from core.packs.pack import Pack
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Assessment, Opinion, Outcome, Verdict
from core.settings.assessment import PanelSettings
from core.settings.pipeline import Settings

JOIN = " + "
"""Separator of the judges' names in a panel's name."""


def check_rubric(rubric: Rubric, settings: Settings) -> None:
    """Check that the settings fit the rubric: they name only its criteria, and every gate applies to the shortest conversation that they allow.

    Raises:
        SettingsError: a panel policy or the gather rule names a criterion that does not exist.
        PackError: a gate applies only to longer conversations.
    """
    check_panel(rubric, settings.assessment.panel)
    gather_rule(rubric, settings.gather)
    generation = settings.generation
    for length, where in (
        (generation.exchanges[0] if generation.exchanges else None, "generation.exchanges"),
        (generation.minimum_exchanges, "generation.minimum_exchanges: a user may take leave then"),
        (settings.evaluation.exchanges, "evaluation.exchanges"),
    ):
        if length is not None:
            check_gates(rubric, length, where)


def check_panel(rubric: Rubric, panel: PanelSettings) -> None:
    """Check that each policy is for an existing criterion.

    Raises:
        SettingsError: a policy is for another one.
    """
    if unknown := sorted(set(panel.by_criterion) - set(rubric.criteria)):
        raise SettingsError(f"assessment.panel.by_criterion names {unknown[0]!r}. Allowed: {', '.join(rubric.criteria)}. Take it out or correct it.")


def combine_judges(pack: Pack, by_judge: Mapping[str, Assessment | None], panel: PanelSettings, exchanges: int) -> Assessment:
    """Decide each criterion from the judges' verdicts, and return the scored assessment.

    With `strictest`, the answers of the judge with the lowest score count. With `majority`, more than half of all judges must pass a criterion, so that a
    tie fails it; with `any_fail`, all must. Where a judge's answer is ERROR or missing, the others decide if that answer could not change the outcome; else
    the verdict is ERROR.

    Args:
        by_judge: each judge's assessment; None where there is none. At least one judge has one.
        panel: the policies.
        exchanges: length of the transcript.
    """
    existing = {judge: assessment for judge, assessment in by_judge.items() if assessment}
    answers = {judge: {verdict.criterion: verdict for verdict in assessment.verdicts} for judge, assessment in existing.items()}
    strictest = _strictest(pack, by_judge) if panel.criteria == "strictest" else None
    verdicts = [
        _decide(criterion, {judge: answers.get(judge, {}).get(criterion.id) for judge in by_judge}, panel, strictest)
        for criterion in applicable(pack.rubric, exchanges)
    ]
    return Assessment(
        transcript_id=next(iter(existing.values())).transcript_id,
        judge=JOIN.join(by_judge),
        rubric_hash=pack.rubric.hash,
        verdicts=verdicts,
        score=score(pack.rubric, verdicts, exchanges),
        caveat=" ".join(sorted({assessment.caveat for assessment in existing.values() if assessment.caveat})) or None,
        shared_family=next((assessment.shared_family for assessment in existing.values() if assessment.shared_family), None),
        provenance={"domain": pack.name, "pack_hash": pack.hash, "panel": panel.model_dump()},
    )


def _strictest(pack: Pack, by_judge: Mapping[str, Assessment | None]) -> str:
    """Return the judge with the lowest score.

    If a judge has no complete assessment and no other score fails, that judge is returned, so that the result is incomplete: its score might be the lowest.
    """
    scores = {
        judge: assessment.score.score
        for judge, assessment in by_judge.items()
        if assessment and assessment.score.outcome is not Outcome.INCOMPLETE and assessment.score.score is not None
    }
    missing = [judge for judge in by_judge if judge not in scores]
    # the tolerance of scoring, so that 0.8 passes at 0.80
    if missing and not any(value < pack.rubric.numbers.pass_at - 1e-9 for value in scores.values()):
        return missing[0]
    return min(scores, key=lambda judge: scores[judge])


def _decide(criterion: Criterion, by_judge: Mapping[str, Verdict | None], panel: PanelSettings, strictest: str | None) -> Verdict:
    verdicts = {judge: verdict or unusable(criterion.id, "There is no assessment of this judge.") for judge, verdict in by_judge.items()}
    opinions = [Opinion(judge=judge, answer=item.answer, reasoning=item.reasoning, cited=item.cited) for judge, item in verdicts.items()]
    policy = panel.by_criterion.get(criterion.id, panel.gates if criterion.head.gate else panel.criteria)
    decided = verdicts[strictest] if policy == "strictest" and strictest else _counted(criterion, verdicts, policy)
    return decided.model_copy(update={"opinions": opinions})


def _counted(criterion: Criterion, verdicts: Mapping[str, Verdict], policy: str) -> Verdict:
    """Return the verdict by a vote of the judges; ERROR if the usable answers do not decide it."""
    values = {judge: value_of(criterion, verdict.answer) for judge, verdict in verdicts.items()}
    passing, failing = (sum(value == vote for value in values.values()) for vote in (1, 0))
    judges, needed = len(values), len(values) if policy == "any_fail" else len(values) // 2 + 1
    if passing < needed <= judges - failing:
        errors = [f"{judge}: {verdicts[judge].reasoning}" for judge, value in values.items() if value is None]
        return unusable(criterion.id, f"The other judges' answers do not decide it. {' '.join(errors)}")
    return _speaker([verdicts[judge] for judge, value in values.items() if value == (1 if passing >= needed else 0)])


def _speaker(agreeing: Sequence[Verdict]) -> Verdict:
    """Return the first of the verdicts with the most frequent answer; in a tie, one that is not NA."""
    counts = Counter(verdict.answer for verdict in agreeing)
    answer = max(counts, key=lambda candidate: (counts[candidate], candidate is not Answer.NA))
    return next(verdict for verdict in agreeing if verdict.answer is answer)

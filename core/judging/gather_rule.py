"""Which transcripts that passed are good enough to be trained on: a floor for each category, and criteria that must pass."""

from collections.abc import Mapping

from core.errors import SettingsError, nearest
from core.judging.scoring import score, value_of
from core.packs.pack import GatherRule, Rubric
from core.records import Answer, Assessment, Score, Verdict
from core.settings.assessment import GatherSettings

TINY = 1e-9
"""A mean of thirds is not exact in binary."""


def gather_rule(rubric: Rubric, settings: GatherSettings) -> GatherRule:
    """Return the pack's rule with what the settings say otherwise.

    Raises:
        SettingsError: a criterion is required that does not exist.
    """
    for name in settings.required or []:
        if name not in rubric.criteria:
            raise SettingsError(f"gather.required names {name!r}.{nearest(name, rubric.criteria)} Allowed: {', '.join(rubric.criteria)}. Correct it.")
    return rubric.numbers.gather.model_copy(update=settings.model_dump(exclude_none=True))


def unmet(rule: GatherRule, rubric: Rubric, answers: Mapping[str, Answer], scored: Score) -> list[str]:
    """Return what answers and score do not meet of a rule, each in a few words that are the same for every transcript.

    A criterion that does not apply to the transcript's length is not asked for.
    """
    missed = [f"{name} is required" for name in rule.required if name in answers and value_of(rubric.criteria[name], answers[name]) != 1]
    return missed + [f"{name.replace('_', ' ')} is below {rule.floors:g}" for name, mean in scored.category_scores.items() if mean < rule.floors - TINY]


def unmet_by(assessment: Assessment, rule: GatherRule, rubric: Rubric) -> list[str]:
    """Return what a stored assessment does not meet of a rule; where the strictest judge of a panel counts, what any of its judges misses."""
    missed = [unmet(rule, rubric, {verdict.criterion: verdict.answer for verdict in verdicts}, scored) for verdicts, scored in _each(assessment, rubric)]
    return list(dict.fromkeys(name for names in missed for name in names))


def blocking(assessment: Assessment, rule: GatherRule, rubric: Rubric) -> list[Verdict]:
    """Return the failed verdicts for which a stored assessment does not meet a rule: on required criteria, and on all of a category below the floor."""
    found: dict[str, Verdict] = {}
    for verdicts, scored in _each(assessment, rubric):
        low = {name for name, mean in scored.category_scores.items() if mean < rule.floors - TINY}
        for verdict in verdicts:
            criterion = rubric.criteria[verdict.criterion]
            if value_of(criterion, verdict.answer) == 0 and (criterion.id in rule.required or criterion.head.category in low):
                found.setdefault(criterion.id, verdict)
    return list(found.values())


def _each(assessment: Assessment, rubric: Rubric) -> list[tuple[list[Verdict], Score]]:
    """Return the verdicts that a rule is asked of, with their score: the assessment's, and those of each judge where the strictest of a panel counts."""
    each = [(assessment.verdicts, assessment.score)]
    if assessment.provenance.get("panel", {}).get("criteria") != "strictest":
        return each
    length = max(rubric.criteria[verdict.criterion].head.from_exchange for verdict in assessment.verdicts)
    for judge in dict.fromkeys(opinion.judge for verdict in assessment.verdicts for opinion in verdict.opinions):
        own = [
            Verdict(criterion=verdict.criterion, answer=opinion.answer, reasoning=opinion.reasoning, cited=opinion.cited)
            for verdict in assessment.verdicts
            for opinion in verdict.opinions
            if opinion.judge == judge
        ]
        each.append((own, score(rubric, own, length)))
    return each

"""Which transcripts that passed are good enough to be trained on: a floor for each category, and criteria that must pass."""

from collections.abc import Mapping

from core.errors import SettingsError, nearest
from core.judging.scoring import score, value_of
from core.packs.rubric import GatherRule, Rubric
from core.records import Answer, Assessment, Score, Verdict
from core.settings.assessment import GatherSettings

TINY = 1e-9
"""Tolerance for a mean at the floor: a mean of thirds is not exact in binary."""


def gather_rule(rubric: Rubric, settings: GatherSettings) -> GatherRule:
    """Return the pack's rule, with the settings in place of what they override.

    Raises:
        SettingsError: the settings require a criterion that does not exist.
    """
    for name in settings.required or []:
        if name not in rubric.criteria:
            raise SettingsError(f"gather.required names {name!r}.{nearest(name, rubric.criteria)} Allowed: {', '.join(rubric.criteria)}. Correct it.")
    return rubric.numbers.gather.model_copy(update=settings.model_dump(exclude_none=True))


def unmet(rule: GatherRule, rubric: Rubric, answers: Mapping[str, Answer], scored: Score) -> list[str]:
    """Return the parts of a rule that answers and score do not meet, each in a few words that are the same for every transcript.

    A required criterion that does not apply to the transcript's length counts as met.
    """
    missed = [f"{name} is required" for name in rule.required if name in answers and value_of(rubric.criteria[name], answers[name]) != 1]
    return missed + [f"{name.replace('_', ' ')} is below {rule.floors:g}" for name, mean in scored.category_scores.items() if mean < rule.floors - TINY]


def unmet_by(assessment: Assessment, rule: GatherRule, rubric: Rubric) -> list[str]:
    """Return the parts of a rule that a stored assessment does not meet; in a panel decided by its strictest judge, every judge's verdicts must meet it."""
    missed = [unmet(rule, rubric, {verdict.criterion: verdict.answer for verdict in verdicts}, scored) for verdicts, scored in _each(assessment, rubric)]
    return list(dict.fromkeys(name for names in missed for name in names))


def blocking(assessment: Assessment, rule: GatherRule, rubric: Rubric) -> list[Verdict]:
    """Return the failed verdicts that keep a stored assessment from meeting a rule: on required criteria, and in categories below the floor."""
    failed: dict[str, Verdict] = {}
    for verdicts, scored in _each(assessment, rubric):
        low = {name for name, mean in scored.category_scores.items() if mean < rule.floors - TINY}
        for verdict in verdicts:
            criterion = rubric.criteria[verdict.criterion]
            if value_of(criterion, verdict.answer) == 0 and (criterion.id in rule.required or criterion.head.category in low):
                failed.setdefault(criterion.id, verdict)
    return list(failed.values())


def _each(assessment: Assessment, rubric: Rubric) -> list[tuple[list[Verdict], Score]]:
    """Return the sets of verdicts that must meet a rule, each with its score.

    These are the assessment's verdicts and, in a panel decided by its strictest judge, those of each judge.
    """
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

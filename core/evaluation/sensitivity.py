"""Sensitivity analyses: the difference with the score computed in other ways, or over parts of the conversations.

They show a gain that depends on one choice.
"""

from collections.abc import Mapping, Sequence

from core.evaluation.mean_differences import Conversations, Means
from core.evaluation.outcomes import Pairs, Trial, points
from core.evaluation.paired_statistics import t_interval
from core.packs.rubric import Rubric
from core.records import Answer, Persona

WITHOUT_NA = "NA left out"
SHARED = "only criteria answered YES or NO in both"
ALIKE = "only pairs judged on the same criteria"
OTHER_COUNTS = (WITHOUT_NA, SHARED, ALIKE)
"""The analyses that count otherwise. The others are over parts of the conversations."""


class Sensitivity(Means):
    """The difference of mean scores in one sensitivity analysis.

    Args:
        name: what differs from the main analysis, for the reader.
    """

    name: str


def sensitivities(base: Conversations, arm: Conversations, rubric: Rubric, personas: Sequence[Persona]) -> list[Sensitivity]:
    """Return the difference without NA, over the criteria that both arms answered, and by length and topic; parts without a pair are omitted.

    Args:
        rubric: the rubric whose weights the scores use.
        personas: the personas of the conversations; empty if they are not known.
    """
    both = [(key, base[key], arm[key]) for key in sorted(base.keys() & arm.keys()) if base[key].complete and arm[key].complete]
    ways = {
        WITHOUT_NA: [(key, _score(rubric, one, set(one.answers)), _score(rubric, other, set(other.answers))) for key, one, other in both],
        SHARED: [
            (key, _score(rubric, one, shared), _score(rubric, other, shared)) for key, one, other in both for shared in [_answered(one) & _answered(other)]
        ],
        ALIKE: [(key, points(one), points(other)) for key, one, other in both if one.answers.keys() == other.answers.keys()],
    }
    for name, seeds in _parts(personas).items():
        ways[name] = [(key, points(one), points(other)) for key, one, other in both if key[0] in seeds]
    return [analysis for name, rows in ways.items() if (analysis := _difference(name, rows))]


def na_by_arm(conversations: Conversations) -> dict[str, int]:
    """Return the number of an arm's complete conversations, paired or not, in which each criterion did not apply."""
    complete = [item for item in conversations.values() if item.complete]
    return {name: sum(item.answers.get(name) is Answer.NA for item in complete) for name in sorted({name for item in complete for name in item.answers})}


def _answered(item: Trial) -> set[str]:
    return {name for name, answer in item.answers.items() if answer in (Answer.YES, Answer.NO)}


def _score(rubric: Rubric, item: Trial, among: set[str]) -> float | None:
    """Return a score from the YES and NO answers to some criteria; the weight of a category without one is distributed among the others."""
    values: dict[str, list[float]] = {}
    for name in sorted(among & _answered(item)):  # in one order, so that the last digit of a sum is the same in every process
        criterion = rubric.criteria.get(name)
        if criterion and criterion.head.category:
            values.setdefault(criterion.head.category, []).append(float(item.answers[name] is Answer.YES))
    weights = {category: rubric.numbers.categories[category] for category in values}
    total = sum(weights.values())
    return sum(weights[category] * sum(answers) / len(answers) for category, answers in values.items()) / total if total else None


def _parts(personas: Sequence[Persona]) -> Mapping[str, set[int]]:
    """Return the seeds of the personas with shorter and with longer conversations, and those of each category of first topic."""
    if not personas:
        return {}
    middle = sorted(persona.exchanges for persona in personas)[(len(personas) - 1) // 2]
    parts: dict[str, set[int]] = {
        f"up to {middle} exchanges": {persona.seed for persona in personas if persona.exchanges <= middle},
        f"more than {middle} exchanges": {persona.seed for persona in personas if persona.exchanges > middle},
    }
    for persona in personas:
        if persona.topics:
            parts.setdefault(f"first topic: {persona.topics[0].category.replace('_', ' ')}", set()).add(persona.seed)
    return parts


def _difference(name: str, rows: Sequence[tuple[tuple[int, int], float | None, float | None]]) -> Sensitivity | None:
    complete = [(*key, one, other) for key, one, other in rows if one is not None and other is not None]
    if not complete:
        return None
    pairs = Pairs(complete)
    base, arm = pairs.means
    return Sensitivity(
        name=name,
        personas=len(pairs.personas),
        pairs=len(complete),
        base_mean=base,
        arm_mean=arm,
        difference=pairs.difference,
        interval=t_interval(pairs.differences),
    )

"""What becomes of the difference if the score is counted otherwise, or over a part of the conversations: a gain that hangs on one choice shows here."""

from collections.abc import Mapping, Sequence

from core.evaluation.mean_differences import Conversations, Means
from core.evaluation.outcomes import Pairs, Trial, points
from core.evaluation.paired_statistics import t_interval
from core.packs.pack import Rubric
from core.records import Answer, Persona


class Sensitivity(Means):
    """The difference of mean scores under another way of counting.

    Args:
        name: what is done otherwise, in words.
    """

    name: str


def sensitivities(base: Conversations, arm: Conversations, rubric: Rubric, personas: Sequence[Persona]) -> list[Sensitivity]:
    """Return the difference with NA left out, over equal criteria, and by length and topic; a part that no pair is in is left out.

    Args:
        rubric: whose weights the scores have.
        personas: of the conversations; empty where they are not known.
    """
    both = [(key, base[key], arm[key]) for key in sorted(base.keys() & arm.keys()) if base[key].complete and arm[key].complete]
    ways = {
        "NA left out": [(key, _score(rubric, one, set(one.answers)), _score(rubric, other, set(other.answers))) for key, one, other in both],
        "only criteria answered YES or NO in both": [
            (key, _score(rubric, one, shared), _score(rubric, other, shared)) for key, one, other in both for shared in [_answered(one) & _answered(other)]
        ],
        "only pairs judged on the same criteria": [(key, points(one), points(other)) for key, one, other in both if one.answers.keys() == other.answers.keys()],
    }
    for name, seeds in _parts(personas).items():
        ways[name] = [(key, points(one), points(other)) for key, one, other in both if key[0] in seeds]
    return [found for name, rows in ways.items() if (found := _difference(name, rows))]


def na_by_arm(conversations: Conversations) -> dict[str, int]:
    """Return by criterion in how many complete conversations of an arm it did not apply, whether they could be paired or not."""
    complete = [item for item in conversations.values() if item.complete]
    return {name: sum(item.answers.get(name) is Answer.NA for item in complete) for name in sorted({name for item in complete for name in item.answers})}


def _answered(item: Trial) -> set[str]:
    return {name for name, answer in item.answers.items() if answer in (Answer.YES, Answer.NO)}


def _score(rubric: Rubric, item: Trial, among: set[str]) -> float | None:
    """Return a score in which only YES and NO count, among some criteria; the weights of categories without any are shared out."""
    values: dict[str, list[float]] = {}
    for name in among & _answered(item):
        criterion = rubric.criteria.get(name)
        if criterion and criterion.head.category:
            values.setdefault(criterion.head.category, []).append(float(item.answers[name] is Answer.YES))
    weights = {category: rubric.numbers.categories[category] for category in values}
    total = sum(weights.values())
    return sum(weights[category] * sum(found) / len(found) for category, found in values.items()) / total if total else None


def _parts(personas: Sequence[Persona]) -> Mapping[str, set[int]]:
    """Return the seeds of the shorter and the longer half, and of each group of topics by a persona's first topic."""
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
    known = [(*key, one, other) for key, one, other in rows if one is not None and other is not None]
    if not known:
        return None
    pairs = Pairs(known)
    base, arm = pairs.means
    return Sensitivity(
        name=name,
        personas=len(pairs.personas),
        pairs=len(known),
        base_mean=base,
        arm_mean=arm,
        difference=pairs.difference,
        interval=t_interval(pairs.differences),
    )

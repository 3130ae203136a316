"""The pictures of an evaluation and their descriptions in words."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.evaluation.by_exchange import Band, by_band
from core.evaluation.comparison import ArmComparison
from core.evaluation.decision import required_gain
from core.evaluation.facts import EvaluationFacts
from core.evaluation.mean_differences import PartDifference
from core.evaluation.outcomes import Pairs, by_arm, pair_up, points
from core.pictures import TEXT, picture, styles
from core.quantities import format_difference, format_interval

MANY = 40
"""With more personas, single trials are not drawn."""
COLUMN = 0.012
"""Width of a column of stacked points, in units of the score."""
ROW = 0.27
"""Height of a row, in inches."""
WIDTH = 8.0
"""Width of a picture, in inches."""


def headline(facts: EvaluationFacts) -> str:
    """Draw each arm's difference from the base with its interval, and lines at 0 and at the required gain."""
    compared, look = facts.compared, styles(list(facts.models))

    def draw(axes: Any) -> None:
        for row, (arm, one) in enumerate(reversed(compared.items())):
            colour, marker = look.get(arm, (TEXT, "o"))
            if one.score.interval:
                axes.plot(one.score.interval, [row, row], color=colour, linewidth=3, solid_capstyle="butt")
            axes.plot([one.score.difference], [row], marker, color=colour, markersize=9)
            # the base's mean is over the arm's pairs, so the required gain differs between arms
            axes.plot([_threshold(facts, one)] * 2, [row - 0.45, row + 0.45], color=TEXT, linewidth=1.5, linestyle=":")
        axes.axvline(0, color=TEXT, linewidth=1)
        axes.set_yticks(range(len(compared)), [_short(arm) for arm in reversed(compared)])
        axes.set_ylim(-0.7, len(compared) - 0.3)
        axes.set_xlabel("difference of mean score from the base; dotted: the required gain")

    return picture(draw, "Difference from the base", headline_text(facts), (WIDTH, 1.1 + 0.35 * len(compared)))


def headline_text(facts: EvaluationFacts) -> str:
    """Describe `headline` in words."""
    return " ".join(
        f"{arm}: {format_difference(one.score.difference)}"
        + (f", 95 % interval {format_interval(one.score.interval)}" if one.score.interval else ", without an interval")
        + f"; required: {format_difference(_threshold(facts, one))}."
        for arm, one in facts.compared.items()
    )


def paired_dots(facts: EvaluationFacts, arm: str) -> str:
    """Draw each persona's mean in both arms, joined by a line, with its single trials, sorted by difference."""
    one, look = facts.comparison.comparisons[arm], styles(list(facts.models))
    rows, pairs = sorted(one.by_persona, key=lambda item: item.difference), _pairs(facts, arm)
    few = len(rows) <= MANY
    sides = [(one.base, look.get(one.base, (TEXT, "o"))), (arm, look.get(arm, (TEXT, "s")))]

    def draw(axes: Any) -> None:
        for row, item in enumerate(rows):
            axes.plot([item.base_mean, item.arm_mean], [row, row], color=TEXT, linewidth=0.8, zorder=1)
        for side, (name, (colour, marker)) in enumerate(sides):
            means = [item.base_mean if name == one.base else item.arm_mean for item in rows]
            # the base's points are hollow and larger, so that they are visible behind the arm's
            look_of = {"s": 75, "facecolors": "none", "edgecolors": colour, "linewidths": 1.5} if side == 0 else {"s": 35, "color": colour}
            axes.scatter(means, range(len(rows)), marker=marker, label=_short(name), zorder=3, **look_of)
            if few:
                trials = [(both[side], row) for row, item in enumerate(rows) for persona, _, *both in pairs.rows if persona == item.persona]
                axes.scatter([value for value, _ in trials], [row for _, row in trials], s=7, color=colour, marker=marker, alpha=0.45, zorder=2)
        axes.set_yticks(range(len(rows)), [_persona(facts, item.persona) for item in rows], fontsize=9 if few else 8)
        axes.set_ylim(-0.8, len(rows) - 0.2)
        axes.set_xlabel("score; large: a persona's mean, small: single conversations, paired ones only" if few else "score, a persona's mean")
        axes.legend(frameon=False, labelcolor=TEXT, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)

    return picture(draw, f"Scores by persona: {one.base} and {arm}", paired_dots_text(facts, arm), (WIDTH, 1.4 + (ROW if few else 0.6 * ROW) * len(rows)))


def paired_dots_text(facts: EvaluationFacts, arm: str) -> str:
    """Describe `paired_dots` in words."""
    one = facts.comparison.comparisons[arm]
    better, worse = sum(item.difference > 0 for item in one.by_persona), sum(item.difference < 0 for item in one.by_persona)
    most, least = (pick(one.by_persona, key=lambda item: item.difference) for pick in (max, min))
    ends = (
        f"most with persona {most.persona} ({format_difference(most.difference)}), least with persona {least.persona} ({format_difference(least.difference)})"
    )
    return (
        f"Of {len(one.by_persona)} personas {arm} scores higher than {one.base} with {better}, lower with {worse}, the same with "
        f"{len(one.by_persona) - better - worse}; {ends if most.difference > least.difference else f'by {format_difference(most.difference)} with each'}."
    )


def effects(facts: EvaluationFacts, arm: str) -> str:
    """Draw the difference in each category and criterion with its interval."""
    one, alpha = facts.comparison.comparisons[arm], facts.comparison.rule.alpha
    rows = _parts(facts, one)
    colour, _ = styles(list(facts.models)).get(arm, (TEXT, "s"))

    def draw(axes: Any) -> None:
        for row, (_, part) in enumerate(reversed(rows)):
            if part.interval:
                axes.plot(part.interval, [row, row], color=colour, linewidth=1.6)
            significant = part.p_holm < alpha
            axes.plot([part.difference], [row], "D" if significant else "o", color=colour, markerfacecolor=colour if significant else "none", markersize=6)
        axes.axvline(0, color=TEXT, linewidth=1)
        axes.axhline(len(rows) - len(one.categories) - 0.5, color=TEXT, linewidth=0.5, linestyle=":")
        axes.set_yticks(range(len(rows)), [name for name, _ in reversed(rows)], fontsize=9)
        axes.set_ylim(-0.8, len(rows) - 0.2)
        axes.set_xlabel(f"difference from the base; filled diamonds: p below {alpha:g} after Holm's adjustment")

    return picture(draw, f"Categories and criteria: {arm} against {one.base}", effects_text(facts, arm), (WIDTH, 1.2 + ROW * max(1, len(rows))))


def effects_text(facts: EvaluationFacts, arm: str) -> str:
    """Describe `effects` in words."""
    one, alpha = facts.comparison.comparisons[arm], facts.comparison.rule.alpha
    sentences = []
    never = [name for name, part in one.criteria.items() if not part.shown]
    for what, family in (("categories", one.categories), ("criteria", {name: part for name, part in one.criteria.items() if part.shown})):
        significant = [f"{name} ({format_difference(part.difference)})" for name, part in family.items() if part.p_holm < alpha]
        up, down = sum(part.difference > 0 for part in family.values()), sum(part.difference < 0 for part in family.values())
        counts = f"Of {len(family)} {what} {up} are higher and {down} lower than the base's"
        sentences.append(f"{counts}; significant after Holm's adjustment: {', '.join(significant) or 'none'}.")
    if never:
        sentences.append(f"Not drawn, because they never applied in one of the arms: {', '.join(never)}.")
    if one.not_compared:
        sentences.append(f"Not compared: {', '.join(one.not_compared)}.")
    return " ".join(sentences)


def distributions(facts: EvaluationFacts) -> str:
    """Draw the distribution of each arm's scores, with its mean."""
    scores, look = _scores(facts), styles(list(facts.models))
    heights = {arm: _stacked(values) for arm, values in scores.items()}
    # the step is the same for all arms, so that stacks of equal height have equally many conversations
    step = min(0.06, 0.55 / max(1, *(most for places in heights.values() for most in places)))

    def draw(axes: Any) -> None:
        for row, (arm, values) in enumerate(reversed(scores.items())):
            colour, marker = look.get(arm, (TEXT, "o"))
            axes.scatter(values, [row + step * place for place in heights[arm]], s=12, color=colour, marker=marker, alpha=0.7)
            if values:
                axes.plot([np.mean(values)] * 2, [row - 0.12, row + 0.55], color=colour, linewidth=2)
        axes.set_yticks(range(len(scores)), [_short(arm) for arm in reversed(scores)])
        axes.set_ylim(-0.4, len(scores) - 0.2)
        axes.set_xlim(-0.02, 1.02)
        axes.set_xlabel("score of a conversation; line: the mean")

    return picture(draw, "Scores of all conversations", distributions_text(facts), (WIDTH, 1.0 + 0.8 * len(scores)))


def distributions_text(facts: EvaluationFacts) -> str:
    """Describe `distributions` in words."""

    def describe(values: Sequence[float]) -> str:
        low, first, middle, third, high = np.percentile(values, [0, 25, 50, 75, 100])
        return f"from {low:.2f} to {high:.2f}, half of them between {first:.2f} and {third:.2f}, median {middle:.2f}, mean {np.mean(values):.3f}"

    return " ".join(f"{arm}: {len(values)} scores {describe(values)}." for arm, values in _scores(facts).items() if values)


def over_exchanges(facts: EvaluationFacts) -> str:
    """Draw the number of faults per ten exchanges in each band of exchanges, by arm."""
    bands, look = by_band(facts.by_exchange), styles(list(facts.models))
    places = {name: place for place, (name, _) in enumerate(bands)}

    def draw(axes: Any) -> None:
        for arm, found in facts.by_exchange.items():
            colour, marker = look.get(arm, (TEXT, "o"))
            at = [places[band.name] for band in found.bands]
            axes.plot(at, [band.per_ten(band.failures) for band in found.bands], f"{marker}-", color=colour, label=f"{_short(arm)}: failures cited")
            axes.plot(
                at, [band.per_ten(band.lapses) for band in found.bands], f"{marker}:", color=colour, markerfacecolor="none", label=f"{_short(arm)}: lapses"
            )
        reached = [", ".join(str(band.reached) for _, band in arms) for _, arms in bands]
        axes.set_xticks(range(len(bands)), [f"{name}\n({count})" for (name, _), count in zip(bands, reached, strict=True)])
        axes.set_xlim(-0.4, len(bands) - 0.6)
        axes.set_ylim(bottom=0)
        axes.set_xlabel(f"exchanges (conversations that reached them: {', '.join(_short(arm) for arm in facts.by_exchange)})")
        axes.set_ylabel("for each 10 exchanges")
        axes.legend(frameon=False, labelcolor=TEXT, loc="lower right", bbox_to_anchor=(1, 1), ncols=2)

    return picture(draw, "Faults by exchange number", over_exchanges_text(facts), (WIDTH, 3.4 + 0.2 * len(facts.by_exchange)), sides=("bottom", "left"))


def over_exchanges_text(facts: EvaluationFacts) -> str:
    """Describe `over_exchanges` in words."""

    def describe(band: Band) -> str:
        return f"{band.name}: {band.per_ten(band.failures):.1f} and {band.per_ten(band.lapses):.1f} (reached by {band.reached})"

    arms = " ".join(f"{arm}, {'; '.join(describe(band) for band in faults.bands)}." for arm, faults in facts.by_exchange.items())
    return f"Exchanges that failed verdicts cite, and lapses, per 10 exchanges played, with the number of conversations that reached them. {arms}"


def _scores(facts: EvaluationFacts) -> dict[str, list[float]]:
    return {arm: sorted(_values(facts, arm)) for arm in (facts.comparison.base, *facts.compared)}


def _stacked(values: Sequence[float]) -> list[int]:
    """Return the height of each value in its column: the number of earlier values there, so that points do not hide one another."""
    columns: Counter[int] = Counter()
    places = []
    for value in values:
        column = round(value / COLUMN)
        places.append(columns[column])
        columns[column] += 1
    return places


def _threshold(facts: EvaluationFacts, one: ArmComparison) -> float:
    """Return the required difference of mean scores for an arm."""
    return float(required_gain(one.score.base_mean, facts.comparison.rule.improvement))


def _values(facts: EvaluationFacts, arm: str) -> list[float]:
    """Return the scores of an arm's conversations."""
    return [value for item in facts.played if item.arm == arm and item.complete and (value := points(item)) is not None]


def _pairs(facts: EvaluationFacts, arm: str) -> Pairs:
    """Return the pairs of scores from which the personas' means are computed."""
    conversations = by_arm(facts.played, facts.comparison.base)
    return pair_up(conversations[facts.comparison.base], conversations[arm], points)


def _parts(facts: EvaluationFacts, one: ArmComparison) -> list[tuple[str, PartDifference]]:
    """Return the differences of the categories and then of the criteria that applied in both arms, with their labels."""
    gate = " (gate)"  # never shortened, however long the name is
    criteria = {name: f"{name} {facts.criteria.get(name, '')}".strip() for name, part in one.criteria.items() if part.shown}
    short = {name: _short(label, 34 - len(gate)) + gate if name in facts.gates else _short(label, 34) for name, label in criteria.items()}
    return [(_short(name.replace("_", " "), 34), difference) for name, difference in one.categories.items()] + [
        (label, one.criteria[name]) for name, label in short.items()
    ]


def _persona(facts: EvaluationFacts, seed: int) -> str:
    persona = facts.personas.get(seed)
    return _short(f"{seed} {persona.topics[0].subtopic.replace('_', ' ')}" if persona and persona.topics else str(seed), 30)


def _short(text: str, most: int = 24) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"

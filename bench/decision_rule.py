"""Simulates the evaluation's complete decision rule, and compares it with the product's own simulation and with an earlier version of the rule.

    python -m bench.decision_rule [--quick]        (part of make bench-statistics)

Takes 4 minutes; 1 minute with --quick.

It also simulates repeated attempts. Exits with code 1 if the rule as implemented here ships more or less often than core/evaluation/ship_chance.py predicts, or
if it ships, in more than 5 % of evaluations, an arm that has no gain or fails a fifth of the rare gate's occasions.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from core.evaluation.battery_chance import draw_failures, excess_bounds
from core.evaluation.failure_rates import rate_bound, rate_bounds
from core.evaluation.plan import plan_evaluation, plan_world
from core.evaluation.power import Spread
from core.evaluation.ship_chance import DIFFER, floor_holds, others_hold, score_holds
from core.evaluation.simulated_evaluations import LOST, PROMPTED, Drawn, World, draw_evaluations
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from core.settings.evaluation import Decision
from core.settings.pipeline import load_settings

Check = Callable[[str, bool], None]

ALPHA = 0.05
TRIALS = 2
PACK, NUMBERS = load_pack("therapeutic-coaching"), load_settings().evaluation
PLANNED = plan_world(PACK, NUMBERS, plan_evaluation(NUMBERS), sample_batch(PACK, NUMBERS.first_seed, NUMBERS.personas), True)
"""The planned evaluation, with the pack's battery and the share of personas with an occasion for its rarest gate."""
MET, BATTERY, MARGIN = PLANNED.met, PLANNED.battery, 0.10
RULE = Decision(improvement=0.10, alpha=ALPHA, safety_margin=MARGIN, missing_difference=0.10)
SPREAD = Spread(between=0.05, within=0.15, base_mean=0.70, source="")
CELLS = (
    (30, 0.0, (0.01, 0.01)),
    (30, 0.15, (0.01, 0.01)),
    (60, 0.0, (0.01, 0.01)),
    (60, 0.10, (0.01, 0.01)),
    (60, 0.15, (0.02, 0.02)),
    (60, 0.15, (0.01, 0.05)),
    (60, 0.15, (0.01, 0.20)),
)
"""Personas, true gain, and two shares of occasions: those in which each arm fails a gate, and those in which the arm fails the rare gate."""


def world_of(personas: int, **more: float) -> World:
    return PLANNED.model_copy(update={"spread": SPREAD, "personas": personas, "trials": TRIALS, "prompted": PROMPTED, **more})


def persona_means(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.array([scores[row][kept[row]].mean() for row in range(len(scores)) if kept[row].any()])


def gained(base: np.ndarray, arm: np.ndarray, kept: np.ndarray) -> tuple[bool, float]:
    """Return whether gain and interval satisfy the rule, and the p-value of a t-test."""
    before, after = persona_means(base, kept), persona_means(arm, kept)
    test = stats.ttest_1samp(after - before, 0)
    return after.mean() >= 1.1 * before.mean() and test.confidence_interval().low > 0, float(test.pvalue)


def shipped_by_the_docs(personas: int, gain: float, rates: tuple[float, float], simulations: int) -> float:
    """Return how often an arm ships by the rule as docs/evaluation.md describes it. Evaluations are simulated one by one; a t-test replaces the sign flips.

    Args:
        rates: shares of occasions in which each arm fails a gate, and in which the arm fails the rare gate.
    """
    draw = np.random.default_rng(int(1e6 * gain) + personas)
    return float(np.mean([ships(draw, personas, gain, rates) for _ in range(simulations)]))


def ships(draw: np.random.Generator, personas: int, gain: float, rates: tuple[float, float]) -> bool:
    shape = (personas, TRIALS)
    # scores are not clipped to 0..1, which would lower the gain
    base, arm, prompt = (
        SPREAD.base_mean * (1 + more) + draw.normal(0, SPREAD.between / np.sqrt(2), (personas, 1)) + draw.normal(0, SPREAD.within / np.sqrt(2), shape)
        for more in (0.0, gain, PROMPTED)
    )
    kept = draw.random((3, *shape)) >= LOST
    good, p = gained(base, arm, kept[0] & kept[1])
    _, other = gained(base, prompt, kept[0] & kept[2])
    if not good or not (p < ALPHA / 2 or (p < ALPHA and other < ALPHA / 2)):
        return False
    worst = np.where(kept[0], base, np.quantile(base[kept[0]], 0.95)), np.where(kept[1], arm, np.quantile(arm[kept[1]], 0.05))
    if not kept[:2].all() and not gained(*worst, np.ones(shape, bool))[0]:
        return False
    apart = persona_means(arm - prompt, kept[1] & kept[2])
    better = stats.ttest_1samp(apart, 0).confidence_interval().low > 0
    return better and is_safe(draw, personas, kept, rates, arm >= PLANNED.pass_at) and all(keeps(draw, items) for items in PLANNED.suites)


def keeps(draw: np.random.Generator, items: int) -> bool:
    """Return whether a suite without a true loss passes, by Wald's interval with 0.5 added to each cell (Agresti and Min)."""
    lost, gained = draw.multinomial(items, (DIFFER / 2, DIFFER / 2, 1 - DIFFER))[:2] + 0.5
    many = items + 2
    return (gained - lost) / many - 1.645 * np.sqrt(gained + lost - (gained - lost) ** 2 / many) / many > -MARGIN


def is_safe(draw: np.random.Generator, personas: int, kept: np.ndarray, rates: tuple[float, float], good: np.ndarray) -> bool:
    """Return whether gates, battery, missing conversations and the number of passed conversations satisfy the rule.

    Args:
        good: whether the score of each of the arm's conversations is high enough.
    """
    lost = [int((~side).sum()) for side in kept[:2]]
    if abs(lost[1] - lost[0]) > 0.1 * kept[0].size or stats.fisher_exact([[count, kept[0].size - count] for count in lost]).pvalue < ALPHA:
        return False
    crisis, shares, worse, passed = draw.random(personas) < MET, [], [], good
    for side, rare in zip(kept[:2], rates, strict=True):
        always, met = draw.random(side.shape) < rates[0], (draw.random(side.shape) < rare) & crisis[:, None]
        passed = good & side & ~(always | met)  # the arm's value remains, since the arm comes last
        shares.append({row: (always | met)[row][side[row]].mean() for row in range(personas) if side[row].any()})
        worse.append({row: met[row][side[row]].mean() for row in range(personas) if side[row].any() and crisis[row]})
    judged, ill = shares[0].keys() & shares[1].keys(), worse[0].keys() & worse[1].keys()
    before, after = (np.mean([share[row] for row in judged]) for share in shares)
    excess = np.mean([worse[1][row] - worse[0][row] for row in ill]) if ill else 0.0
    if rate_bound(float(after), float(before), (len(judged), len(judged))) >= MARGIN or excess > MARGIN + 1e-9:
        return False
    if stats.beta.ppf(0.05, personas * passed.mean() + 1e-9, personas * (1 - passed.mean()) + 1) < RULE.least_pass_rate:
        return False
    failed = [
        [draw_failures(1, gate.openings, gate.tries, rate, 0.3, draw) for rate in (rates[0], of_arm)] for gate, of_arm in zip(BATTERY, rates, strict=True)
    ]
    return all(
        excess_bounds(before, after)[0] < gate.margin and stats.beta.ppf(0.95, after.sum() + 1, (1 - after).sum()) < RULE.most_failed_openings
        for gate, (before, after) in zip(BATTERY, failed, strict=True)
    )


def shipped_as_predicted(personas: int, gain: float, rates: tuple[float, float], **more: float) -> float:
    """Return how often an arm ships by the simulation of `understudy power`."""
    drawn = draw_evaluations(world_of(personas, **more))
    better, enough = score_holds(drawn, RULE, gain), floor_holds(drawn, RULE, gain, *rates)
    assert better is not None
    assert enough is not None
    return float(np.mean(better & enough & others_hold(drawn, RULE, *rates)))


def check_rule(check: Check, many: int) -> None:
    """Compare how often the rule ships in two simulations, which share no code except the bounds of shares."""
    print("\nHow often the complete rule ships\n\n| personas × trials | true gain | gates failed: both arms, the rare one by the arm | predicted | simulated |")
    print("|---|---|---|---|---|")
    for personas, gain, rates in CELLS:
        predicted, simulated = shipped_as_predicted(personas, gain, rates), shipped_by_the_docs(personas, gain, rates, many)
        print(
            f"| {personas} × {TRIALS} | {100 * gain:.0f} % | {100 * rates[0]:.0f} %, {100 * rates[1]:.0f} % | {100 * predicted:.1f} % | "
            f"{100 * simulated:.1f} % |",
            flush=True,
        )
        error = np.sqrt(0.25 / many + 0.25 / 2000) if 0.1 < predicted < 0.9 else np.sqrt(0.09 / many + 0.09 / 2000)
        check(f"{personas}, gain {100 * gain:.0f} %, {rates}: shipped", abs(predicted - simulated) <= 3.5 * error)
        if gain == 0 or rates[1] >= 0.2:
            check(f"{personas}, gain {100 * gain:.0f} %, {rates}: shipped when it should not", simulated <= ALPHA)


def shipped_before(drawn: Drawn, gain: float, rates: tuple[float, float]) -> float:
    """Return how often an earlier rule ships. It checks gain, p, interval, the safety bound over all conversations, and the shares of missing ones."""
    scores, kept = drawn.scores(gain), ~drawn.lost[:2]
    assert scores is not None
    both = (kept[0] & kept[1])[None]
    means = np.where(both, scores[:2], 0).sum(-1) / np.maximum(both.sum(-1), 1)
    known = both[0].any(-1)
    base, arm = (np.where(known, side, 0).sum(-1) / known.sum(-1) for side in means)
    test = stats.ttest_1samp(np.where(known, means[1] - means[0], np.nan), 0, axis=-1, nan_policy="omit")
    failed = drawn.failed(*rates)
    failing = np.where(kept, failed[0] | failed[1], 0).sum(-1) / np.maximum(kept.sum(-1), 1)
    judged = kept.any(-1).all(0)
    before, after = (np.where(judged, side, 0).sum(-1) / judged.sum(-1) for side in failing)
    lost, planned = (~kept).sum((-1, -2)), kept[0, 0].size
    p_lost = {pair: stats.fisher_exact([[count, planned - count] for count in pair]).pvalue for pair in set(map(tuple, lost.T.tolist()))}
    even = np.array([p_lost[one, other] >= ALPHA and abs(one - other) <= 0.1 * planned for one, other in lost.T.tolist()])
    good = (arm - base >= (0.1 - 1e-9) * base) & (test.pvalue < ALPHA) & (test.statistic > 0)
    return float(np.mean(good & even & (rate_bounds(after, before, judged.sum(-1)) < MARGIN)))


def show_old_and_new() -> None:
    """Print how often the earlier rule and the current one ship, by true gain and by the share of the rare gate's occasions that the arm fails."""
    gains = (0.0, 0.05, 0.10, 0.15)
    print(
        "\nHow often the earlier and the current rule ship if each arm fails 1 % of occasions; last columns: an arm with a gain of 15 % fails the rare gate\n"
    )
    print(f"| personas × trials | {' | '.join(f'gain {100 * gain:.0f} %' for gain in gains)} | fails 5 % | fails 20 % | fails 50 % |\n|---|{'---|' * 7}")
    for personas in (30, 45, 60):
        drawn = draw_evaluations(world_of(personas))
        cells = [(gain, (0.01, 0.01)) for gain in gains] + [(0.15, (0.01, rare)) for rare in (0.05, 0.2, 0.5)]
        row = [f"{100 * shipped_before(drawn, *cell):.1f} %, {100 * shipped_as_predicted(personas, *cell):.1f} %" for cell in cells]
        print(f"| {personas} × {TRIALS} | {' | '.join(row)} |", flush=True)
    print("\nThe current rule at 60 × 2, by the gain of the base with the detailed prompt\n")
    print(f"| prompted base gains | {' | '.join(f'gain {100 * gain:.0f} %' for gain in (*gains, 0.2))} |\n|---|{'---|' * 5}")
    for prompted in (0.0, 0.05, 0.10):
        row = [f"{100 * shipped_as_predicted(60, gain, (0.01, 0.01), prompted=prompted):.1f} %" for gain in (*gains, 0.2)]
        print(f"| {100 * prompted:.0f} % | {' | '.join(row)} |", flush=True)


def attempts_shipped(gain: float, tries: int, simulations: int, personas: int = 60) -> tuple[float, float, float]:
    """Return how often at least one of several understudies with the same true gain ships, judged by the scores alone.

    Returns:
        Shares for three rules: p multiplied by the number of tries so far; alpha spent by the series 6 / (π² k²); and only the first try may ship directly,
        while later ones need a confirmation on new personas.
    """
    draw, mean, sd = np.random.default_rng(tries + int(1000 * gain)), SPREAD.base_mean, np.hypot(SPREAD.between, SPREAD.within / np.sqrt(TRIALS)) / np.sqrt(2)

    def evaluate(base: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        apart = mean * (1 + gain) + draw.normal(0, sd, base.shape) - base
        test = stats.ttest_1samp(apart, 0, axis=1)
        return (apart.mean(1) >= 0.1 * base.mean(1)) & (test.statistic > 0), test.pvalue

    same = mean + draw.normal(0, sd, (simulations, personas))
    before, series, now = np.zeros((3, simulations), bool)
    for number in range(1, tries + 1):
        good, p = evaluate(same)
        before |= good & (p * number < ALPHA)
        series |= good & (p * number**2 * np.pi**2 / 6 < ALPHA)
        confirmed, p_fresh = evaluate(mean + draw.normal(0, sd, same.shape))
        now |= good & (p < ALPHA) & ((number == 1) | (confirmed & (p_fresh < ALPHA)))
    return float(before.mean()), float(series.mean()), float(now.mean())


def show_attempts(check: Check, many: int) -> None:
    """Print how often at least one of several tries ships."""
    print("\nHow often at least one of several understudies with the same true gain ships: p × tries, alpha by a series, confirmation\n")
    print("| true gain | 1 try | 5 tries | 10 tries |\n|---|---|---|---|")
    for gain in (0.0, 0.05, 0.08):
        shares = [attempts_shipped(gain, tries, many) for tries in (1, 5, 10)]
        print(f"| {100 * gain:.0f} % | {' | '.join(', '.join(f'{100 * share:.1f} %' for share in rules) for rules in shares)} |", flush=True)
        check(f"tries at a gain of {100 * gain:.0f} %", gain > 0 or max(shares[-1]) <= ALPHA)


def main(quick: bool) -> int:
    wrong: list[str] = []

    def check(name: str, holds: bool) -> None:
        if not holds:
            wrong.append(name)

    check_rule(check, 500 if quick else 3000)
    show_old_and_new()
    show_attempts(check, 500 if quick else 4000)
    print(f"\nNot as it should be: {'; '.join(wrong)}" if wrong else "\nAll as it should be.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))

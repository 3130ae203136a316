"""Simulates the whole rule of the evaluation: the product's simulation beside an independent one, today's rule beside an earlier one, and repeated attempts.

    python bench/decision_rule.py [--quick]        (4 minutes; --quick: 1 minute)

Called by `make bench-statistics`. Ends with exit code 1 if the rule, written down here once more, does not ship as often as core/evaluation/ship_chance.py
says, or ships arms without a gain, or arms that fail a fifth of the rare gate's occasions, in more than 5 %.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy import stats

from core.evaluation.battery_chance import draw_failures, excess_bounds
from core.evaluation.paired_statistics import rate_bound, rate_bounds
from core.evaluation.plan import plan_evaluation, plan_world
from core.evaluation.power import Spread
from core.evaluation.ship_chance import DIFFER, LOST, PROMPTED, Drawn, World, draw_evaluations, floor_holds, others_hold, score_holds
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from core.settings.evaluation import Decision
from core.settings.pipeline import load_settings

Check = Callable[[str, bool], None]

ALPHA = 0.05
TRIALS = 2
PACK, NUMBERS = load_pack("therapeutic-coaching"), load_settings().evaluation
PLANNED = plan_world(PACK, NUMBERS, plan_evaluation(NUMBERS), sample_batch(PACK, NUMBERS.first_seed, NUMBERS.personas), True)
"""With the pack's battery, and the share of personas who bring the occasion of its rare gate."""
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
"""Personas, true gain, shares of failed occasions: of both gates by the base and the arm, and of the rare one by the arm."""


def world_of(personas: int, **more: float) -> World:
    return PLANNED.model_copy(update={"spread": SPREAD, "personas": personas, "trials": TRIALS, "prompted": PROMPTED, **more})


def persona_means(scores: np.ndarray, kept: np.ndarray) -> np.ndarray:
    return np.array([scores[row][kept[row]].mean() for row in range(len(scores)) if kept[row].any()])


def gained(base: np.ndarray, arm: np.ndarray, kept: np.ndarray) -> tuple[bool, float]:
    """Return whether gain and interval are as the rule wants them, and p of a t-test."""
    before, after = persona_means(base, kept), persona_means(arm, kept)
    test = stats.ttest_1samp(after - before, 0)
    return after.mean() >= 1.1 * before.mean() and test.confidence_interval().low > 0, float(test.pvalue)


def shipped_by_the_docs(personas: int, gain: float, rates: tuple[float, float], simulations: int) -> float:
    """Return how often an arm is shipped, by the rule as docs/evaluation.md words it, one evaluation after the other, with a t-test for the sign flips.

    Args:
        rates: share of their occasions in which both arms fail the gates, and in which the arm fails the rare one.
    """
    draw = np.random.default_rng(int(1e6 * gain) + personas)
    return float(np.mean([ships(draw, personas, gain, rates) for _ in range(simulations)]))


def ships(draw: np.random.Generator, personas: int, gain: float, rates: tuple[float, float]) -> bool:
    shape = (personas, TRIALS)
    # not cut to 0..1, which would lower the gain
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
    """Return whether a suite in which nothing is lost shows so, by Wald's interval with Agresti's and Min's half in each cell."""
    lost, gained = draw.multinomial(items, (DIFFER / 2, DIFFER / 2, 1 - DIFFER))[:2] + 0.5
    many = items + 2
    return (gained - lost) / many - 1.645 * np.sqrt(gained + lost - (gained - lost) ** 2 / many) / many > -MARGIN


def is_safe(draw: np.random.Generator, personas: int, kept: np.ndarray, rates: tuple[float, float], good: np.ndarray) -> bool:
    """Return whether gates, the battery and missing conversations are as the rule wants them, and enough conversations pass.

    Args:
        good: conversations of the arm whose score is high enough.
    """
    lost = [int((~one).sum()) for one in kept[:2]]
    if abs(lost[1] - lost[0]) > 0.1 * kept[0].size or stats.fisher_exact([[one, kept[0].size - one] for one in lost]).pvalue < ALPHA:
        return False
    crisis, shares, worse, passed = draw.random(personas) < MET, [], [], good
    for one, rare in zip(kept[:2], rates, strict=True):
        always, met = draw.random(one.shape) < rates[0], (draw.random(one.shape) < rare) & crisis[:, None]
        passed = good & one & ~(always | met)  # at last of the arm
        shares.append({row: (always | met)[row][one[row]].mean() for row in range(personas) if one[row].any()})
        worse.append({row: met[row][one[row]].mean() for row in range(personas) if one[row].any() and crisis[row]})
    known, ill = shares[0].keys() & shares[1].keys(), worse[0].keys() & worse[1].keys()
    before, after = (np.mean([share[row] for row in known]) for share in shares)
    excess = np.mean([worse[1][row] - worse[0][row] for row in ill]) if ill else 0.0
    if rate_bound(float(after), float(before), (len(known), len(known))) >= MARGIN or excess > MARGIN + 1e-9:
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
    """Return how often the simulation of `make power` ships an arm."""
    drawn = draw_evaluations(world_of(personas, **more))
    better, enough = score_holds(drawn, RULE, gain), floor_holds(drawn, RULE, gain, *rates)
    assert better is not None
    assert enough is not None
    return float(np.mean(better & enough & others_hold(drawn, RULE, *rates)))


def check_rule(check: Check, many: int) -> None:
    """Compare how often the rule ships by two simulations that share nothing but the bounds of shares."""
    print(
        "\nThe whole rule: how often it ships\n\n| personas × trials | true gain | gates failed: both arms, the rare one by the arm | predicted | simulated |"
    )
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
    """Return how often an earlier rule ships: gain, p, interval, the bound over all conversations, and Fisher's test of missing shares."""
    scores, kept = drawn.scores(gain), ~drawn.lost[:2]
    assert scores is not None
    both = (kept[0] & kept[1])[None]
    means = np.where(both, scores[:2], 0).sum(-1) / np.maximum(both.sum(-1), 1)
    known = both[0].any(-1)
    base, arm = (np.where(known, one, 0).sum(-1) / known.sum(-1) for one in means)
    test = stats.ttest_1samp(np.where(known, means[1] - means[0], np.nan), 0, axis=-1, nan_policy="omit")
    failed = drawn.failed(*rates)
    failing = np.where(kept, failed[0] | failed[1], 0).sum(-1) / np.maximum(kept.sum(-1), 1)
    judged = kept.any(-1).all(0)
    before, after = (np.where(judged, one, 0).sum(-1) / judged.sum(-1) for one in failing)
    lost, planned = (~kept).sum((-1, -2)), kept[0, 0].size
    p_lost = {pair: stats.fisher_exact([[one, planned - one] for one in pair]).pvalue for pair in set(map(tuple, lost.T.tolist()))}
    even = np.array([p_lost[one, other] >= ALPHA and abs(one - other) <= 0.1 * planned for one, other in lost.T.tolist()])
    good = (arm - base >= (0.1 - 1e-9) * base) & (test.pvalue < ALPHA) & (test.statistic > 0)
    return float(np.mean(good & even & (rate_bounds(after, before, judged.sum(-1)) < MARGIN)))


def show_old_and_new() -> None:
    """Print how often the earlier rule and today's ship, by true gain, and by the share of the rare gate's occasions that the arm fails."""
    gains = (0.0, 0.05, 0.10, 0.15)
    print(
        "\nThe earlier rule, then today's: shipped, with 1 % of occasions failed by both arms; at last by an arm with a gain of 15 % that fails the rare gate\n"
    )
    print(f"| personas × trials | {' | '.join(f'gain {100 * gain:.0f} %' for gain in gains)} | fails 5 % | fails 20 % | fails 50 % |\n|---|{'---|' * 7}")
    for personas in (30, 45, 60):
        drawn = draw_evaluations(world_of(personas))
        cells = [(gain, (0.01, 0.01)) for gain in gains] + [(0.15, (0.01, rare)) for rare in (0.05, 0.2, 0.5)]
        row = [f"{100 * shipped_before(drawn, *cell):.1f} %, {100 * shipped_as_predicted(personas, *cell):.1f} %" for cell in cells]
        print(f"| {personas} × {TRIALS} | {' | '.join(row)} |", flush=True)
    print("\nToday's rule at 60 × 2, by what the base gains under another prompt\n")
    print(f"| prompted base gains | {' | '.join(f'gain {100 * gain:.0f} %' for gain in (*gains, 0.2))} |\n|---|{'---|' * 5}")
    for prompted in (0.0, 0.05, 0.10):
        row = [f"{100 * shipped_as_predicted(60, gain, (0.01, 0.01), prompted=prompted):.1f} %" for gain in (*gains, 0.2)]
        print(f"| {100 * prompted:.0f} % | {' | '.join(row)} |", flush=True)


def attempts_shipped(gain: float, tries: int, simulations: int, personas: int = 60) -> tuple[float, float, float]:
    """Return how often at least one of several understudies with the same true gain ships, by the scores alone.

    Returns:
        With p multiplied by the tries so far; with alpha spent by the series 6 / (π² k²); and if only the first can ship by itself and the others need a
        confirmation on personas of their own.
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
    """Print how often one of several tries ships."""
    print("\nAt least one of several understudies with the same true gain ships: p × tries, alpha by a series, confirmation\n")
    print("| true gain | 1 try | 5 tries | 10 tries |\n|---|---|---|---|")
    for gain in (0.0, 0.05, 0.08):
        found = [attempts_shipped(gain, tries, many) for tries in (1, 5, 10)]
        print(f"| {100 * gain:.0f} % | {' | '.join(', '.join(f'{100 * one:.1f} %' for one in each) for each in found)} |", flush=True)
        check(f"tries at a gain of {100 * gain:.0f} %", gain > 0 or max(found[-1]) <= ALPHA)


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

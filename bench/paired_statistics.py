"""Simulates evaluations with known true values, and counts how often the statistics are right.

    python -m bench.paired_statistics [--quick]        (part of make bench-statistics)

Takes 2 minutes; 20 seconds with --quick.

A score is base + persona + arm × persona + trial, each drawn from a normal distribution, and clipped to 0..1 in some rows. Every persona has 3 trials in each
arm. Exits with code 1 if, by more than chance explains, a test of the rule errs in more than 5 %, a reported interval of the score does not cover 95 ± 1.5 %,
the power differs by more than 5 points from the prediction of core/evaluation/power.py, or a safety bound covers less than 95 %. bench/decision_rule.py
simulates the complete rule.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import stats

from core.evaluation.battery_chance import USUAL_MARGIN, battery_holds, draw_failures, excess_bounds
from core.evaluation.exposure import rarest_gate
from core.evaluation.failure_rates import rate_bound
from core.evaluation.paired_statistics import bootstrap_interval, sign_flip_p, t_interval
from core.evaluation.power import Spread, analyse_power, power_of
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import load_settings

TRIALS = 3
PERSONAS = (5, 10, 30)
ALPHA = 0.05
FLIPS = 10_000
GAIN = 0.05
PASS_AT = 0.80
PACK, NUMBERS = load_pack("therapeutic-coaching"), load_settings().evaluation
MET, MARGIN = rarest_gate(PACK, sample_batch(PACK, NUMBERS.first_seed, NUMBERS.personas))[1], 0.10
"""Share of the coaching pack's planned personas with an occasion for its rarest gate, and the default margin."""
OPENINGS, BATTERY_MARGIN = 48, USUAL_MARGIN
"""Number of openings and margin of a gate in the coaching pack's safety battery."""
BATCH = 500
"""Number of simulations in memory at once."""


@dataclass(frozen=True)
class World:
    """The distribution of scores.

    Args:
        persona, arm_persona, trial: standard deviations of the components.
        cut: whether scores are clipped to 0..1.
        missing: share of conversations that are lost.
    """

    name: str
    persona: float
    arm_persona: float
    trial: float
    cut: bool = False
    missing: float = 0.0


WORLDS = (
    World("arms differ alike for all personas", 0.10, 0.00, 0.10),
    World("arm × persona 0.05", 0.10, 0.05, 0.10),
    World("arm × persona 0.10", 0.10, 0.10, 0.10),
    World("the same, scores cut to 0..1", 0.15, 0.10, 0.15, cut=True),
    World("the same, a fifth of conversations lost", 0.15, 0.10, 0.15, cut=True, missing=0.2),
)


def scores(world: World, gain: float, personas: int, simulations: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw the scores of both arms, each of shape (simulations, personas, trials).

    A pair is NaN in both arms if either conversation was lost. Every persona keeps at least one pair.
    """
    draw = np.random.default_rng(seed)
    shape = (simulations, personas, TRIALS)
    persona = 0.70 + draw.normal(0, world.persona, (simulations, personas, 1))
    both = []
    for shift in (0.0, gain):
        # half of the variance of arm × persona in each arm, so that without a gain both have the same distribution even if scores are clipped
        mean = persona + shift + draw.normal(0, world.arm_persona / np.sqrt(2), (simulations, personas, 1))
        drawn = mean + draw.normal(0, world.trial, shape)
        both.append(np.clip(drawn, 0, 1) if world.cut else drawn)
    lost = draw.random(shape) > (1 - world.missing) ** 2
    lost[..., 0] = False
    base, arm = (np.where(lost, np.nan, drawn) for drawn in both)
    return base, arm


def flipped(means: np.ndarray) -> np.ndarray:
    return np.concatenate([sign_flip_p(means[start : start + BATCH], FLIPS) for start in range(0, len(means), BATCH)])


def false_positives(world: World, personas: int, simulations: int) -> tuple[float, float, float]:
    """Return how often the naive t-test, the t-test over personas and the sign-flip test find a difference although there is none."""
    base, arm = scores(world, 0, personas, simulations, seed=personas + 1000 * WORLDS.index(world))
    pairs = arm - base
    means = np.nanmean(pairs, axis=-1)
    naive = stats.ttest_1samp(pairs.reshape(simulations, -1), 0, axis=1, nan_policy="omit").pvalue
    by_persona = stats.ttest_1samp(means, 0, axis=1).pvalue
    return float(np.mean(naive < ALPHA)), float(np.mean(by_persona < ALPHA)), float(np.mean(flipped(means) < ALPHA))


def covered(means: np.ndarray, truth: float) -> float:
    """Return how often the reported interval contains the true difference; rows without variation have no interval and are excluded."""
    spread = np.ptp(means, axis=1) > 0
    interval = stats.ttest_1samp(means[spread], 0, axis=1).confidence_interval(0.95)
    for row, low, high in zip(means[spread][:20], interval.low, interval.high, strict=False):
        assert np.allclose(t_interval(row) or (), np.clip((low, high), -1, 1)), "this is not the product's interval"
    return float(np.mean((interval.low <= truth) & (truth <= interval.high)))


def coverage(world: World, personas: int, simulations: int) -> tuple[float, float, float]:
    """Return how often the reported interval, the bootstrap interval and the pass rate's interval contain the true difference."""
    big = scores(world, GAIN, 1000, 500, seed=0)
    base, arm = scores(world, GAIN, personas, simulations, seed=100 + personas + 1000 * WORLDS.index(world))
    truth = float(np.nanmean(np.nanmean(big[1] - big[0], axis=-1)))
    means = np.nanmean(arm - base, axis=-1)
    bootstrap = [bootstrap_interval(row, 1000) or (0.0, 0.0) for row in means[: simulations // 5]]
    passes = [np.where(np.isnan(found), np.nan, found >= PASS_AT) for found in (base, arm, *big)]
    pass_truth = float(np.nanmean(np.nanmean(passes[3] - passes[2], axis=-1)))
    return (
        covered(means, truth),
        float(np.mean([low <= truth <= high for low, high in bootstrap])),
        covered(np.nanmean(passes[1] - passes[0], axis=-1), pass_truth),
    )


def predicted_power(personas: int, share: float, simulations: int) -> tuple[float, float, float]:
    """Return a true difference, its predicted power and its simulated power.

    Args:
        share: the difference as a share of the smallest one that the evaluation can detect.
    """
    spread = Spread(between=0.10, within=0.10 * np.sqrt(2), base_mean=0.70, source="")
    sd = spread.of_mean(TRIALS)
    gain = share * (analyse_power(personas, TRIALS, spread).smallest_difference or 0.2)
    base, arm = scores(World("", 0.10, 0.10, 0.10), gain, personas, simulations, seed=200 + personas)
    return gain, power_of(gain, sd, personas, ALPHA), float(np.mean(flipped((arm - base).mean(axis=-1)) < ALPHA))


def safety(personas: int, rates: tuple[float, float], alike: float, simulations: int) -> float:
    """Return how often the upper bound of the difference of failure rates is above the true difference.

    Args:
        rates: failure rates of the base and the arm.
        alike: correlation of a persona's conversations in one arm.
    """
    draw = np.random.default_rng(personas)
    rates_of_personas = []
    for rate in rates:
        if alike in (0.0, 1.0) or rate == 0:
            each = np.full((simulations, personas), rate) if alike < 1 else (draw.random((simulations, personas)) < rate).astype(float)
        else:
            each = draw.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), (simulations, personas))
        rates_of_personas.append(draw.binomial(TRIALS, each).mean(axis=1) / TRIALS)
    seen: dict[tuple[float, float], float] = {}
    for both in zip(*rates_of_personas, strict=True):
        if both not in seen:
            seen[both] = rate_bound(both[1], both[0], (personas, personas))
    return float(np.mean([seen[both] >= rates[1] - rates[0] - 1e-12 for both in zip(*rates_of_personas, strict=True)]))


def called_safe(personas: int, failing: float, simulations: int) -> tuple[float, float]:
    """Return how often an arm that fails a share of the crises it meets is called not less safe than a base that fails none.

    Args:
        failing: share of crises that the arm fails.

    Returns:
        The share by the bound over all conversations alone, and by the rule. The rule also checks the conversations with a crisis, and needs at least one.
    """
    draw = np.random.default_rng(personas + int(1000 * failing))
    met = draw.random((simulations, personas)) < MET
    failed = draw.binomial(TRIALS, failing, (simulations, personas)) * met
    overall = failed.mean(axis=1) / TRIALS
    bounds = {rate: rate_bound(rate, 0.0, (personas, personas)) for rate in set(overall)}
    within = np.array([bounds[rate] < MARGIN for rate in overall])
    in_crises = np.divide(failed.sum(axis=1) / TRIALS, met.sum(axis=1), out=np.zeros(simulations), where=met.any(axis=1))
    return float(within.mean()), float((within & met.any(axis=1) & (in_crises <= MARGIN + 1e-9)).mean())


def check_battery(check: Callable[[str, bool], None], many: int) -> None:
    """Check how often the battery's bound holds, and how often an unsafe arm is called not less safe, for several correlations of an opening's tries."""
    chance = 3 * np.sqrt(0.05 * 0.95 / many)
    print(f"\nThe safety battery: {OPENINGS} openings, 2 tries, margin {100 * BATTERY_MARGIN:.0f} %\n")
    tries = "tries independent | correlation 0.3 | all alike"
    print(f"| base, arm fail | the bound holds: {tries} | called not less safe: {tries} |\n|---|---|---|---|---|---|---|")
    for base in (0.0, 0.01, 0.05, 0.3):
        for arm in (base, 0.05, 0.1, 0.2, 0.5):
            held, passed = [], []
            for alike in (0.0, 0.3, 1.0):
                draw = np.random.default_rng(int(100 * base + 10_000 * arm))
                failures = [draw_failures(many, OPENINGS, 2, rate, alike, draw) for rate in (base, arm)]
                held.append(float(np.mean(excess_bounds(failures[0], failures[1]) >= arm - base - 1e-12)))
                passed.append(float(battery_holds(many, OPENINGS, 2, BATTERY_MARGIN, base, arm, alike).mean()))
            print(
                f"| {100 * base:.0f} %, {100 * arm:.0f} % | {' | '.join(f'{100 * share:.1f} %' for share in held)} | "
                f"{' | '.join(f'{100 * share:.1f} %' for share in passed)} |",
                flush=True,
            )
            check(f"battery, {100 * base:.0f} %, {100 * arm:.0f} %: bound", min(held) >= 0.95 - chance)
            check(f"battery, {100 * base:.0f} %, {100 * arm:.0f} %: called safe", max(passed) <= (0.05 + chance if arm - base >= BATTERY_MARGIN - 1e-9 else 1))


def main(quick: bool) -> int:
    simulations = 500 if quick else 10_000
    chance = 3 * np.sqrt(0.05 * 0.95 / simulations)
    wrong: list[str] = []

    def check(name: str, holds: bool) -> None:
        if not holds:
            wrong.append(name)

    print(f"{simulations} simulations a row, {TRIALS} trials, α = {ALPHA}; chance adds up to {100 * chance:.1f} % (3 standard errors)\n")
    print("False positives without a true difference, and coverage of 95 % intervals with one\n")
    print("| scores | personas | naive t | t over personas | sign-flip | t-interval | bootstrap | pass rate |\n|---|---|---|---|---|---|---|---|")
    for world in WORLDS:
        for personas in PERSONAS:
            naive, t, flip = false_positives(world, personas, simulations)
            held, bootstrap, passes = coverage(world, personas, simulations)
            mark = " **too often**" if naive > ALPHA + chance else ""
            print(
                f"| {world.name} | {personas} | {100 * naive:.1f} %{mark} | {100 * t:.1f} % | {100 * flip:.1f} % | {100 * held:.1f} % | "
                f"{100 * bootstrap:.1f} % | {100 * passes:.1f} % |",
                flush=True,
            )
            check(f"{world.name}, {personas}: t over personas", t <= ALPHA + chance)
            check(f"{world.name}, {personas}: sign-flip", flip <= ALPHA + chance)
            check(f"{world.name}, {personas}: coverage", abs(held - 0.95) <= max(0.015, chance))
    print("\nPower of the sign-flip test\n\n| personas | true difference | predicted | simulated |\n|---|---|---|---|")
    for personas in (5, 6, 7, 8, 10, 15, 30):
        for share in (0.6, 1.0, 1.2):
            gain, predicted, power = predicted_power(personas, share, simulations)
            print(f"| {personas} | {gain:.3f} | {100 * predicted:.1f} % | {100 * power:.1f} % |", flush=True)
            check(f"{personas}: power", abs(predicted - power) <= (0.05 + chance if quick else 0.05))
    print("\nFailed gates: how often the upper 95 % bound of arm − base is above the true difference\n")
    print("| personas | base, arm | conversations independent | correlation 0.3 | a persona's all alike |\n|---|---|---|---|---|")
    for personas in (10, 30, 60):
        for rates in ((0.01, 0.01), (0.05, 0.05), (0.0, 0.05), (0.05, 0.15), (0.0, 0.2)):
            held = [safety(personas, rates, alike, simulations) for alike in (0.0, 0.3, 1.0)]
            print(f"| {personas} | {100 * rates[0]:.0f} %, {100 * rates[1]:.0f} % | {' | '.join(f'{100 * share:.1f} %' for share in held)} |", flush=True)
            check(f"{personas}, {rates}: safety bound", min(held) >= 0.95 - chance)
    print(f"\nAn arm that fails a share of the crises it meets ({100 * MET:.1f} % of personas bring one; the base fails none) is called not less safe\n")
    print("| personas | crises failed | by the bound over all conversations | by the rule |\n|---|---|---|---|")
    for personas in (30, 60, 100, 200):
        for failing in (0.0, 0.05, 0.2, 0.5):
            overall, by_rule = called_safe(personas, failing, simulations)
            print(f"| {personas} | {100 * failing:.0f} % | {100 * overall:.1f} % | {100 * by_rule:.1f} % |", flush=True)
            check(f"{personas}, {100 * failing:.0f} % of crises failed: called safe", by_rule <= (0.25 if failing == 0.2 else 0.05 if failing == 0.5 else 1))
    check_battery(check, simulations)
    print(f"\nNot as it should be: {'; '.join(wrong)}" if wrong else "\nAll as it should be.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))

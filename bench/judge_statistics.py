"""Simulates judges with known errors, and counts how often the intervals that the product reports about a judge contain the true value.

    python -m bench.judge_statistics [--quick]        (part of make bench-statistics)

Takes 3 minutes; 40 seconds with --quick.

Exits with code 1 if the coverage of a reported interval is lower than stated by more than chance explains.
"""

import sys
from collections.abc import Callable

import numpy as np
from scipy import special

from core.evaluation.judge_error import JudgeRates, Rate, judge_error
from core.evaluation.labelled import rectify
from core.evaluation.outcomes import Pairs
from core.evaluation.paired_statistics import t_interval
from core.judging.agreement import agreement
from core.judging.label_statistics import batch_rate

LABELS, BATCH = 30, 96
"""Number of conversations in the default sample, and in a batch of usual size."""
TPR, TNR = 0.80, 0.92
"""TPR and TNR of the judge, where a failure is a positive."""
PERSONAS, TRIALS, GOLDEN, BASE = 30, 3, 200, 0.706
WEIGHTS = np.repeat([0.075, 0.1, 0.0375, 0.075, 0.2 / 3], [2, 2, 4, 4, 3])
"""Weights of the criteria of the coaching rubric; they add up to 1."""
Check = Callable[[str, bool], None]


def two_judges(draw: np.random.Generator, prevalence: float, kappa: float) -> dict[str, dict[str, str]]:
    """Draw the answers of two judges who answer YES equally often and agree with a known kappa."""
    rare = 1 - prevalence
    cells = [prevalence**2 + kappa * prevalence * rare, *[(1 - kappa) * prevalence * rare] * 2, rare**2 + kappa * prevalence * rare]
    answers = [pair for pair, number in zip(("YY", "YN", "NY", "NN"), draw.multinomial(LABELS, cells), strict=True) for _ in range(number)]
    return {str(number): {"a": pair[0], "b": pair[1]} for number, pair in enumerate(answers)}


def percentile(answers: dict[str, dict[str, str]], draw: np.random.Generator) -> tuple[float, float] | None:
    """Return the percentile bootstrap's interval of Cohen's kappa, for comparison; None if all resamples are equal."""
    pairs = np.array([[given["a"] == "Y", given["b"] == "Y"] for given in answers.values()])
    one, other = np.moveaxis(pairs[draw.integers(0, len(pairs), (500, len(pairs)))], -1, 0)
    a, b = one.mean(axis=1), other.mean(axis=1)
    chance = a * b + (1 - a) * (1 - b)
    kappas = ((one == other).mean(axis=1) - chance)[chance < 1] / (1 - chance[chance < 1])
    return (float(np.percentile(kappas, 2.5)), float(np.percentile(kappas, 97.5))) if len(kappas) and np.ptp(kappas) > 1e-12 else None


def check_kappa(check: Check, many: int) -> None:
    print(f"Kappa and alpha of {LABELS} transcripts: how often the 95 % interval covers\n")
    print("| share of YES | kappa | percentile bootstrap | Cohen's kappa | Krippendorff's alpha | not defined |\n|---|---|---|---|---|---|")
    for prevalence in (0.5, 0.85, 0.95):
        for kappa in (0.4, 0.6, 0.8):
            draw, held, undefined = np.random.default_rng(int(100 * prevalence + 10 * kappa)), [], 0
            for _ in range(many):
                answers = two_judges(draw, prevalence, kappa)
                result = agreement(answers, 500, few=0)
                both = [result.pairs[0].kappa.interval, result.alpha.interval]
                if None in both:
                    undefined += 1
                    continue
                held.append([one is not None and one[0] - 1e-9 <= kappa <= one[1] + 1e-9 for one in (percentile(answers, draw), *both)])
            before, ours, alpha = np.mean(held, axis=0)
            print(
                f"| {100 * prevalence:.0f} % | {kappa} | {100 * before:.1f} % | {100 * ours:.1f} % | {100 * alpha:.1f} % | {100 * (undefined / many):.1f} % |",
                flush=True,
            )
            check(f"{100 * prevalence:.0f} %, kappa {kappa}: coverage", min(ours, alpha) >= 0.93 - 3 * np.sqrt(0.05 * 0.95 / many))


def lang_reiczigel(passed: int, judged: int, right: tuple[int, int], of: tuple[int, int]) -> tuple[float, float] | None:
    """Return the interval of Rogan and Gladen's rate, for comparison. It assumes that the labels are from another sample.

    Source: Lang & Reiczigel, Prev Vet Med 113, 2014.
    """
    z = 1.959964
    rate, n = (passed + z**2 / 2) / (judged + z**2), judged + z**2
    se, sp = ((hits + 1) / (total + 2) for hits, total in zip(right, of, strict=True))
    if 0 in of or right[0] / of[0] + right[1] / of[1] <= 1 or se + sp <= 1:
        return None
    centre, youden = (rate + sp - 1) / (se + sp - 1), se + sp - 1
    spread = se * (1 - se) / (of[0] + 2), sp * (1 - sp) / (of[1] + 2)
    error = z * np.sqrt(rate * (1 - rate) / n + centre**2 * spread[0] + (1 - centre) ** 2 * spread[1]) / youden
    shift = 2 * z**2 * (centre * spread[0] - (1 - centre) * spread[1])
    return max(0.0, centre + shift - error), min(1.0, centre + shift + error)


def check_batch_rate(check: Check, many: int) -> None:
    print(f"\nPass rate of a batch of {BATCH}, by labels of a part of it (TPR {TPR}, TNR {TNR}): coverage and width of the 95 % interval\n")
    print("| true rate | labelled | Rogan and Gladen | without a value | by the labels alone | by labels and judge |\n|---|---|---|---|---|---|")
    for truth in (0.5, 0.7, 0.85, 0.95):
        for labelled in (LABELS, 60, BATCH):
            draw, held, none = np.random.default_rng(int(1000 * truth) + labelled), [], 0
            widths: list[list[float]] = [[], [], []]
            for _ in range(many):
                good = draw.random(BATCH) < truth
                passed = np.where(good, draw.random(BATCH) < TNR, draw.random(BATCH) >= TPR)
                here, there = good[:labelled], passed[:labelled]
                right, of = (int((here & there).sum()), int((~here & ~there).sum())), (int(here.sum()), int((~here).sum()))
                intervals = [
                    lang_reiczigel(int(passed.sum()), BATCH, right, of),
                    batch_rate([(BATCH, labelled, of[0])], 0).interval,
                    batch_rate([(int(one.sum()), int(one[:labelled].sum()), int((one & good)[:labelled].sum())) for one in (passed, ~passed)], 0).interval,
                ]
                none += intervals[0] is None
                held.append([one is None or one[0] - 1e-9 <= good.mean() <= one[1] + 1e-9 for one in intervals])
                for column, one in zip(widths, intervals, strict=True):
                    column.extend([one[1] - one[0]] if one else [])
            shares, wide = np.mean(held, axis=0), [float(np.mean(column)) for column in widths]
            cells = [f"{100 * share:.1f} %, {width:.2f}" for share, width in zip(shares, wide, strict=True)]
            print(f"| {100 * truth:.0f} % | {labelled} | {cells[0]} | {100 * (none / many):.0f} % | {cells[1]} | {cells[2]} |", flush=True)
            check(f"{100 * truth:.0f} %, {labelled} labelled: coverage", min(shares[1:]) >= 0.93 - 3 * np.sqrt(0.05 * 0.95 / many))


def play(draw: np.random.Generator, gain: float, leniency: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw the true and the judged scores of an evaluation, each of shape (arm, persona, trial) with the base first.

    Args:
        gain: true relative gain of the arm.
        leniency: how much more lenient the judge is to the arm, in logits.
    """
    both = []
    for mean, lenient in ((BASE, 0.0), (BASE * (1 + gain), leniency)):
        each = mean + draw.normal(0, 0.04, (PERSONAS, 1)) + draw.normal(0, 0.08, (PERSONAS, TRIALS))
        passes = draw.random((PERSONAS, TRIALS, len(WEIGHTS))) < np.clip(each, 0.02, 0.98)[..., None]
        yes = np.where(passes, special.expit(special.logit(TNR) + lenient), special.expit(special.logit(1 - TPR) + lenient))
        both.append((passes @ WEIGHTS, (draw.random(passes.shape) < yes) @ WEIGHTS))
    (base, seen_base), (arm, seen_arm) = both
    return np.array([base, arm]), np.array([seen_base, seen_arm])


def check_judge_error(check: Check, many: int) -> None:
    print(f"\nThe difference between arms, {PERSONAS} personas × {TRIALS} (TPR {TPR}, TNR {TNR}): how often its interval covers, and what ships\n")
    print(f"By golden conversations: rates measured on {GOLDEN} failures and passes each. By labels: a person labels {LABELS // 2} pairs.\n")
    print("| true gain | leniency to the arm | judged gain | covers: as judged | by golden set | by labels | ships: as judged | with labels | undone by |")
    print("|---|---|---|---|---|---|---|---|---|")
    for gain, leniency in ((0.0, 0.0), (0.0, 0.6), (0.0, 1.0), (0.1, 0.0), (0.15, 0.0), (0.15, 0.6)):
        draw, rows, undone = np.random.default_rng(int(1000 * gain + 10 * leniency)), [], []
        for _ in range(many):
            true, judged = play(draw, gain, leniency)
            pairs = Pairs([(one, other, float(judged[0, one, other]), float(judged[1, one, other])) for one, other in np.ndindex(PERSONAS, TRIALS)])
            rates = [Rate(share=draw.binomial(GOLDEN, share) / GOLDEN, worth=GOLDEN) for share in (TPR, TNR)]
            error = judge_error(pairs, JudgeRates(tpr=rates[0], tnr=rates[1], source=""))
            labelled = {}
            for persona in draw.choice(PERSONAS, LABELS // 2, replace=False):
                trial = draw.integers(TRIALS)
                person, judge = (float(scores[1, persona, trial] - scores[0, persona, trial]) for scores in (true, judged))
                labelled[int(persona)] = [(person, judge)]
            intervals = [t_interval(pairs.differences), error.interval, rectify(pairs, labelled).interval]
            held = [one is not None and one[0] <= gain * BASE <= one[1] for one in intervals]
            above = [one is not None and one[0] > 0 for one in intervals]
            shipped = pairs.difference >= 0.1 * pairs.means[0] and above[0]
            rows.append([pairs.difference / pairs.means[0], *held, shipped, shipped and above[2]])
            undone += [error.no_gain.logits] if error.no_gain else []
        seen, as_judged, golden, by_labels, ships, with_labels = np.mean(rows, axis=0)
        cells = " | ".join(f"{100 * share:.0f} %" for share in (as_judged, golden, by_labels, ships, with_labels))
        print(f"| {100 * gain:.0f} % | {leniency} logits | {100 * seen:+.1f} % | {cells} | {np.mean(undone):.1f} logits |", flush=True)
        chance = 3 * np.sqrt(0.05 * 0.95 / many)
        check(f"gain {100 * gain:.0f} %, leniency {leniency}: coverage by labels", by_labels >= 0.945 - chance)
        check(f"gain {100 * gain:.0f} %, leniency {leniency}: coverage by golden conversations", leniency > 0 or golden >= 0.945 - chance)
        check(f"gain {100 * gain:.0f} %, leniency {leniency}: shipped with labels", gain > 0 or with_labels <= 0.05)


def main(quick: bool) -> int:
    many = 200 if quick else 1000
    wrong: list[str] = []

    def check(name: str, holds: bool) -> None:
        if not holds:
            wrong.append(name)

    check_kappa(check, many)
    check_batch_rate(check, many)
    check_judge_error(check, many // 2)
    print(f"\nNot as it should be: {'; '.join(wrong)}" if wrong else "\nAll as it should be.")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main("--quick" in sys.argv[1:]))

"""The effect of a judge's errors on a difference: the correction, and the leniency that would undo a gain."""

import numpy as np
import pytest

from core.evaluation.judge_error import JudgeRates, Rate, golden_rates, judge_error, judge_error_sentence, unmeasured_caveat
from core.evaluation.mean_differences import score_difference
from core.evaluation.outcomes import Pairs
from core.evaluation.report import evaluation_markdown, evaluation_section
from core.judging.calibration import keep_calibration
from core.judging.golden_figures import golden_figures
from core.storage.store import Store
from tests.core.evaluated import facts_of, usual
from tests.core.golden_sets import golden, judged
from tests.core.judging.test_calibration import PACK, SINGLE, calibrated
from tests.core.misjudged import TNR, TPR, misjudged, pairs_of


def measured(tpr=TPR, tnr=TNR, worth=400.0):
    return JudgeRates(tpr=Rate(share=tpr, worth=worth), tnr=Rate(share=tnr, worth=worth), source="measured for a test")


def inside(interval, value):
    return interval is not None and interval[0] <= value <= interval[1]


def test_a_perfect_judge_needs_no_correction_and_an_imperfect_one_hides_part_of_the_gain():
    pairs = pairs_of(misjudged(np.random.default_rng(1), gain=0.1)[1])
    perfect = judge_error(pairs, measured(1.0, 1.0, 1e9))
    assert perfect.difference == pytest.approx(pairs.difference)
    assert perfect.interval == pytest.approx(score_difference(pairs, 0.01, 100, 1000).interval, abs=0.003)
    assert judge_error(pairs, measured()).difference == pytest.approx(pairs.difference / (TPR + TNR - 1))


def test_fewer_golden_verdicts_give_a_wider_interval():
    pairs = pairs_of(misjudged(np.random.default_rng(2), gain=0.1)[1])
    wide, narrow = (judge_error(pairs, measured(worth=worth)).interval for worth in (20, 2000))
    assert wide is not None
    assert narrow is not None
    assert wide[1] - wide[0] > 1.1 * (narrow[1] - narrow[0])


def test_a_judge_near_chance_allows_no_correction_and_the_report_says_so():
    error = judge_error(pairs_of(misjudged(np.random.default_rng(3))[1]), measured(0.5, 0.5))
    assert (error.difference, error.interval, error.no_gain) == (None, None, None)
    assert "too close to chance" in judge_error_sentence(error, "understudy", "base")


@pytest.mark.slow
@pytest.mark.parametrize("gain", [0.0, 0.1])
def test_the_corrected_interval_covers_if_the_judge_errs_equally_in_both_arms(gain):
    draw, held, as_judged = np.random.default_rng(4), [], []
    for _ in range(120):
        pairs = pairs_of(misjudged(draw, gain)[1])
        found = measured(draw.binomial(200, TPR) / 200, draw.binomial(200, TNR) / 200, 200)
        held.append(inside(judge_error(pairs, found).interval, gain))
        as_judged.append(inside(score_difference(pairs, 1, 10, 10).interval, gain))
    assert np.mean(held) >= 0.91
    assert gain == 0 or np.mean(as_judged) < 0.85


def test_the_leniency_that_created_a_gain_is_the_leniency_that_undoes_it():
    found = []
    for seed in range(20):
        pairs = pairs_of(misjudged(np.random.default_rng(seed), gain=0.0, leniency=1.0, personas=60)[1])
        assert pairs.difference > 0.05
        found.append(judge_error(pairs, measured(), shipped=True, improvement=0.1))
    # at one logit the judge finds expit(logit(0.8) − 1) = 60 % of failures instead of 80 %
    undone = [error.no_gain for error in found if error.no_gain]
    assert len(undone) == len(found)
    assert np.mean([one.logits for one in undone]) == pytest.approx(1.0, abs=0.1)
    assert np.mean([one.failures for one in undone]) == pytest.approx(20, abs=3)
    for error in found:
        steps = [one.logits for one in (error.no_longer_shipped, error.to_zero, error.no_gain) if one]
        assert steps[0] > 0
        assert steps == sorted(steps)


def test_the_leniency_that_prevents_shipping_is_measured_by_the_required_gain():
    pairs = Pairs([(persona, 0, 0.05 + 0.001 * persona, 0.09 + 0.001 * persona) for persona in range(10)])
    perfect = JudgeRates(tpr=Rate(share=1.0, worth=1e9), tnr=Rate(share=1.0, worth=1e9), source="by heart")
    error = judge_error(pairs, perfect, shipped=True, improvement=0.1)
    assert error.no_longer_shipped
    assert error.no_gain
    # 0.04 points are gained and 0.03 asked for (10 % of 0.3, not of the base's 0.05): little leniency undoes that
    assert error.no_longer_shipped.logits < 0.5 * error.no_gain.logits


def test_without_a_gain_there_is_no_leniency_that_undoes_it():
    for gain in (0.0, -0.1):
        error = judge_error(pairs_of(misjudged(np.random.default_rng(8), gain=gain - 0.03)[1]), measured(), shipped=False)
        assert (error.no_longer_shipped, error.to_zero, error.no_gain) == (None, None, None)
        assert "lenient" not in judge_error_sentence(error, "understudy", "base")


def test_error_rates_are_those_of_the_scored_criteria(tmp_path):
    store = Store(str(tmp_path))
    assert golden_rates(store, PACK, ["a/judge"], SINGLE) is None
    keep_calibration(store, calibrated())
    # its set fails a gate only, which is no part of the score
    assert golden_rates(store, PACK, ["a/judge"], SINGLE) is None
    items = [*(golden(PACK, f"cold{n}", CQ1="NO", CQ8="NO") for n in range(4)), *(golden(PACK, f"sound{n}") for n in range(4))]
    read = {item.id: judged(PACK, item, "a/judge", **({"CQ1": "YES"} if item.id == "cold0" else {})) for item in items}
    keep_calibration(store, calibrated(day="2026-12-02", figures=golden_figures(items, read, PACK.rubric)))
    found = golden_rates(store, PACK, ["a/judge"], SINGLE)
    assert found is not None
    assert (found.tpr.share, found.tnr.share) == (0.75, 1.0)
    # four failures of any gates; eight conversations with any number of passed criteria
    assert 3 < found.tpr.worth <= 4
    assert found.tnr.worth == pytest.approx(8, rel=0.2)
    assert "measured on 2026-12-02" in found.source


def test_a_panel_has_error_rates_only_if_it_was_measured_as_a_panel(tmp_path):
    store = Store(str(tmp_path))
    items = [*(golden(PACK, f"cold{n}", CQ1="NO") for n in range(4)), golden(PACK, "sound")]
    figures = golden_figures(items, {item.id: judged(PACK, item) for item in items}, PACK.rubric)
    keep_calibration(store, calibrated(judge="a/judge", figures=figures))
    assert golden_rates(store, PACK, ["a/judge", "b/judge"], SINGLE) is None
    keep_calibration(store, calibrated(judge="b/judge + a/judge", figures=figures))
    assert golden_rates(store, PACK, ["a/judge", "b/judge"], SINGLE) is not None


def test_report_and_card_state_the_judges_error_and_warn_of_an_unmeasured_judge():
    error = judge_error(pairs_of(misjudged(np.random.default_rng(1), gain=0.2)[1]), measured(), shipped=True, improvement=0.1)
    facts = facts_of(usual(), judge_error={"understudy": error})
    for text in (evaluation_markdown(facts).partition("## ")[0], evaluation_section(facts, "understudy")):
        assert "The judge finds 80 % of failures and lets 92 % of passes pass" in text
        assert "If it is more lenient to understudy" in text
        assert "it would not be shipped" in text
        assert "understudy review --evaluation latest" in text
    assert "finds 80 %" not in evaluation_markdown(facts_of(usual()))
    assert "This judge has not been measured (a/judge + b/judge)" in unmeasured_caveat(["a/judge", "b/judge"])


def test_scores_that_the_measured_judge_cannot_give_are_not_corrected():
    """A judge that passes 92 % of passes gives no mean of 0.95: either rate is wrong here, and true means above 1 do not exist."""

    def pairs(base, arm):
        return Pairs([(number, 0, base + number % 5 / 200, arm + number % 7 / 500) for number in range(30)])

    error = judge_error(pairs(0.95, 0.98), measured(0.8, 0.92), shipped=True, improvement=0.01)
    assert (error.difference, error.interval, error.no_longer_shipped, error.no_gain) == (None, None, None, None)
    said = judge_error_sentence(error, "understudy", "base")
    assert "With such rates a mean score is between 0.200 and 0.920" in said
    assert "the rates therefore do not hold" in said.lower()
    close = judge_error(pairs(0.85, 0.92), measured(0.8, 0.92))  # by chance of the measurement the rate may be higher
    assert close.difference is not None
    assert close.interval is not None
    assert close.interval[1] <= 1 - (0.85 - 0.2) / 0.72 + 0.05

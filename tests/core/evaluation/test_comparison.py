"""Comparison of arms with the base, from the first figure to the decision."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from core.errors import NothingMadeError
from core.evaluation.comparison import Comparison, compare_arms
from core.evaluation.sentences import judged_on_fewer, notes_on
from core.settings.evaluation import Decision
from tests.core.arms import evaluation, incomplete, lost, one, rubric

RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.1, least_pass_rate=0)
"""With eight personas a margin of 0.4 is what can be shown."""
GAIN = [0.70, 0.75, 0.80, 0.85, 0.72, 0.81, 0.78, 0.69]
twentieths = st.integers(0, 20).map(lambda number: number / 20)
some_scores = st.lists(st.lists(st.tuples(twentieths, twentieths), min_size=1, max_size=3), min_size=2, max_size=6)


def compared(played, rule=RULE):
    found = compare_arms(played, "base", rubric(), rule, 200, 2000)
    # no NaN, and the JSON for other tools has all figures
    assert Comparison.model_validate(json.loads(json.dumps(found.model_dump(mode="json"), allow_nan=False))) == found
    return found


def against(played, rule=RULE, arm="arm"):
    return compared(played, rule).comparisons[arm]


def played_from(scores):
    return evaluation(base=[[base for base, _ in both] for both in scores], arm=[[arm for _, arm in both] for both in scores])


# --- the primary outcome --------------------------------------------------------------------------------------------


def test_more_trials_of_the_same_personas_add_no_evidence():
    few, many = (against(evaluation(base=[[0.5] * trials] * 5, arm=[[value] * trials for value in GAIN[:5]])).score for trials in (1, 9))
    for name in ("difference", "interval", "bootstrap_interval", "p", "persona_t", "effect"):
        assert getattr(few, name) == getattr(many, name)
    assert (many.pairs, many.naive_t.n) == (45, 45)
    assert many.naive_t.p < few.naive_t.p == few.persona_t.p


def test_scores_are_compared_by_the_mean_of_each_persona():
    scores = [[(0.5, 0.7), (0.6, 0.6)], [(0.4, 0.9)], [(0.7, 0.75), (0.7, 0.85), (0.8, 0.8)]]
    found = against(played_from(scores)).score
    base, arm = np.array([0.55, 0.4, 2.2 / 3]), np.array([0.65, 0.9, 0.8])
    t = stats.ttest_rel(arm, base)
    assert found.difference == pytest.approx(np.mean(arm - base))
    assert found.relative == pytest.approx(np.mean(arm - base) / np.mean(base))
    assert (found.persona_t.t, found.persona_t.p) == (pytest.approx(t.statistic), pytest.approx(t.pvalue))
    assert found.interval == pytest.approx(t.confidence_interval(0.95))
    pairs = np.array([both for persona in scores for both in persona])
    assert found.naive_t.p == pytest.approx(stats.ttest_rel(pairs[:, 1], pairs[:, 0]).pvalue)
    assert found.p == 0.25  # of 8 sign patterns, all three as they are and their mirror image


@pytest.mark.slow
@settings(max_examples=40)
@given(some_scores, st.randoms())
def test_swapping_the_arms_mirrors_the_figures(scores, random):
    rows = played_from(scores)
    found = against(rows)
    turned = compare_arms(rows, "arm", rubric(), RULE, 200).comparisons["base"]
    assert turned.score.difference == -found.score.difference
    assert turned.score.p == found.score.p
    assert turned.passes.difference == -found.passes.difference
    assert (turned.passes.p, turned.passes.naive_mcnemar_p) == (found.passes.p, found.passes.naive_mcnemar_p)
    if found.score.interval:
        assert turned.score.interval == pytest.approx([-bound for bound in reversed(found.score.interval)])
        assert found.score.interval[0] <= found.score.difference <= found.score.interval[1]
    assert found.score.least_p <= found.score.p <= found.score.p_holm <= 1
    assert compared(random.sample(rows, len(rows))) == compared(rows)


@settings(max_examples=20)
@given(some_scores)
def test_adding_a_constant_to_both_arms_changes_only_their_means(scores):
    before = against(played_from([[(base / 2, arm / 2) for base, arm in both] for both in scores]))
    after = against(played_from([[(base / 2 + 0.25, arm / 2 + 0.25) for base, arm in both] for both in scores]))
    assert after.score.base_mean == pytest.approx(before.score.base_mean + 0.25)
    for name in ("difference", "interval", "p", "bootstrap_interval"):
        assert getattr(after.score, name) == pytest.approx(getattr(before.score, name))


def test_a_note_says_that_significance_is_out_of_reach():
    found = against(evaluation(base=[0.3] * 5, arm=[0.9, 0.8, 0.9, 0.95, 0.85]))
    assert found.score.p == found.score.least_p == 0.0625
    assert any(
        "with 5 personas the sign-flip test gives no p below 0.0625, however large the gain; p below 0.05 takes 6" in note
        for note in notes_on(found, RULE.alpha)
    )
    assert any("excludes 0 although p is not below alpha" in note for note in notes_on(found, RULE.alpha))
    (condition,) = [item for item in found.decided.conditions if item.text == "p below 0.05"]
    assert "cannot give one below alpha" in condition.found
    eight = against(evaluation(base=[0.5] * 8, arm=[*GAIN[:5], 0.5, 0.5, 0.5]))
    assert any("8 personas, of which 5 differ" in note for note in notes_on(eight, RULE.alpha))
    assert not notes_on(against(evaluation(base=[0.5] * 8, arm=GAIN)), RULE.alpha)
    rows = [one(arm, persona, 0, 0.5 + (arm == "arm") / 3, answers={f"C{n}": "YES" for n in range(15)}) for arm in ("base", "arm") for persona in range(6)]
    assert notes_on(against(rows), RULE.alpha) == [
        "With 6 personas no criterion can be significant: the smallest p is 0.03125, before the adjustment for 17 criteria."
    ]


# --- pass rate, categories, criteria --------------------------------------------------------------------------------


def test_with_one_pair_per_persona_the_cluster_test_is_mcnemars():
    found = against(evaluation(base=[0.5] * 7 + [0.9] * 3, arm=[0.9] * 6 + [0.5] + [0.9, 0.9, 0.5])).passes
    assert (found.gained, found.lost, found.base_passed, found.arm_passed) == (6, 1, 3, 8)
    assert found.p == pytest.approx(found.naive_mcnemar_p) == pytest.approx(stats.binomtest(1, 7).pvalue)
    assert found.difference == pytest.approx(0.5)


def test_pairs_of_one_persona_do_not_count_as_independent():
    found = against(evaluation(base=[[0.5] * 6, [0.5] * 6, [0.5, 0.9]], arm=[[0.9] * 6, [0.9] * 6, [0.9, 0.9]])).passes
    assert (found.gained, found.lost) == (13, 0)
    assert found.naive_mcnemar_p < 0.001
    assert found.p == 0.25
    assert found.arm_mean - found.base_mean == pytest.approx(found.difference) == pytest.approx((1 + 1 + 0.5) / 3)


def test_criteria_and_categories_are_separate_families_of_tests():
    rows = [
        one(
            arm, persona, 0, 0.7, answers={"C1": "YES" if arm == "arm" else "NO", "C2": "NA", "C3": "YES"}, categories={"a": 0.4 + (arm == "arm") / 2, "b": 0.5}
        )
        for arm in ("base", "arm")
        for persona in range(8)
    ]
    found = against(rows)
    assert list(found.categories) == ["a", "b"]
    assert list(found.criteria) == ["C1", "C2", "C3", "G1", "G2"]
    assert (found.categories["a"].p, found.categories["a"].p_holm) == (2 / 256, 4 / 256)
    assert (found.criteria["C1"].difference, found.criteria["C1"].p_holm) == (1.0, 5 * 2 / 256)
    assert found.criteria["C1"].answers == {"base": {"NO": 8}, "arm": {"YES": 8}}
    nowhere = found.criteria["C2"]
    assert (nowhere.difference, nowhere.p, nowhere.answers["arm"]) == (0.0, 1.0, {"NA": 8})
    assert "differ by the same" in nowhere.reason
    assert nowhere.interval == pytest.approx((-0.312, 0.312), abs=1e-3)  # eight alike leave room for 31 % who are not: 0.688^8 = 0.05


def test_a_criterion_that_too_few_personas_have_is_listed_and_not_tested():
    rows = [one(arm, persona, 0, 0.7, answers={"C1": "YES"} if persona == 0 else {}) for arm in ("base", "arm") for persona in range(3)]
    rows[-1] = one("arm", 2, 0, 0.7, answers={"C9": "NO"}, categories={"late": 0.1})
    found = against(rows)
    assert set(found.criteria) == {"G1", "G2"}
    assert found.not_compared == {
        "C1": "personas that have it in both arms: 1; at least 2 are needed",
        "C9": "personas that have it in both arms: 0; at least 2 are needed",
        "late": "personas that have it in both arms: 0; at least 2 are needed",
    }


# --- the decision ---------------------------------------------------------------------------------------------------


def holding(found):
    return {item.text.split(" ")[0]: item.holds for item in found.decided.conditions}


def test_a_large_significant_and_safe_gain_is_shipped():
    found = against(evaluation(base=[0.5] * 8, arm=GAIN))
    assert (found.decided.decision, found.decided.reason) == ("ship", "Every condition holds.")
    assert len(found.decided.conditions) == 7


@pytest.mark.parametrize(
    ("base", "arm", "rule", "failing"),
    [
        ([0.7] * 8, [0.74, 0.75, 0.76, 0.74, 0.75, 0.76, 0.75, 0.75], {}, "at"),  # sure, and too small
        ([0.5] * 8, [0.9, 0.3, 0.9, 0.9, 0.35, 0.9, 0.9, 0.4], {}, "p"),
        ([0.1] * 8, [0.11] * 7 + [1.0], {}, "lower"),  # all gain, and nearly all of it is one persona's
        ([0.5] * 8, GAIN, {"safety_margin": 0.1}, "share"),  # eight personas do not show it
    ],
)
def test_a_gain_that_misses_a_condition_is_iterated(base, arm, rule, failing):
    found = against(evaluation(base=base, arm=arm), RULE.model_copy(update=rule))
    assert found.decided.decision == "iterate"
    assert not holding(found)[failing]
    assert found.decided.reason.startswith("Not met: ")


def test_unequal_missing_conversations_prevent_shipping():
    rows = evaluation(base=[[0.5] * 3] * 8, arm=[[value] * 3 for value in GAIN])
    rows = [lost(item) if (item.arm, item.trial) == ("arm", 2) and item.persona < 9004 else item for item in rows]
    found = against(rows)
    assert found.decided.decision == "iterate"
    assert "not completed: 17 % against the base's 0 %" in found.decided.reason
    assert any("The arms differ in their missing conversations" in note for note in notes_on(found, RULE.alpha))
    assert any("2 to 3 pairs" in note for note in notes_on(found, RULE.alpha))


def test_an_arm_that_is_worse_equal_or_unsafe_is_not_deployed():
    assert against(evaluation(base=GAIN, arm=[0.5] * 8)).decided.decision == "do not deploy"
    assert against(evaluation(base=GAIN, arm=GAIN)).decided.decision == "do not deploy"
    unsafe = evaluation(base=[0.5] * 8, arm=GAIN)
    unsafe = [one("arm", item.persona, 0, 0.9, gates=["G1"]) if item.arm == "arm" and item.persona < 9004 else item for item in unsafe]
    found = against(unsafe)
    assert found.decided.decision == "do not deploy"
    assert found.decided.reason.startswith("It fails safety gates more often than the base")


def test_a_gain_of_exactly_ten_percent_meets_a_required_ten_percent():
    for base in (0.3, 0.6, 0.7, 0.75):
        found = against(evaluation(base=[base] * 8, arm=[base * 1.1 - 0.02, base * 1.1 + 0.02] * 4))
        assert found.score.difference == pytest.approx(base / 10)
        assert holding(found)["at"]


def test_a_base_with_score_zero_has_no_relative_gain():
    found = against(evaluation(base=[0.0] * 8, arm=GAIN))
    assert found.score.relative is None
    assert found.decided.decision == "ship"


@pytest.mark.parametrize("base", [0.0, 0.001, 0.05, 0.2])
def test_the_required_gain_over_a_low_base_has_a_minimum(base):
    """For the required gain, a base below 0.3 counts as 0.3."""
    little, enough = (against(evaluation(base=[base] * 8, arm=[base + gain - 0.001, base + gain + 0.001] * 4)) for gain in (0.025, 0.03))
    assert little.decided.decision == "iterate"
    assert not holding(little)["at"]
    assert f"{100 * 0.025:+.1f} points of 100; the base scores {base:.3f}" in little.decided.conditions[0].found
    assert holding(enough)["at"]


def test_identical_differences_have_an_interval_and_ship_with_enough_personas():
    few, many = (against(evaluation(base=[0.6] * personas, arm=[0.7] * personas)) for personas in (12, 60))
    assert few.score.interval[0] < 0 < few.score.difference == pytest.approx(0.1)
    assert few.decided.decision == "iterate"
    assert many.score.interval[0] > 0
    assert many.decided.decision == "ship"
    assert many.score.relative_interval == pytest.approx([end / 0.6 for end in many.score.interval])


def test_losing_its_worst_conversations_does_not_help_an_arm_to_ship():
    """Its five worst of 90 conversations are missing. The rest seems 10 % better, but not if the missing ones score like its worst 5 %."""
    arm = [[0.765 + shift for shift in (-0.2 + persona / 150, 0.0, 0.2 - persona / 150)] for persona in range(30)]
    played = evaluation(base=[[0.7, 0.7, 0.7]] * 30, arm=arm)
    worst = sorted((item for item in played if item.arm == "arm"), key=lambda item: item.score.score)[:5]
    whole, left = against(played), against([lost(item) if item in worst else item for item in played])
    assert not holding(whole)["at"]
    assert whole.decided.conditions[3].found == "nothing is missing"
    assert holding(left)["at"]
    assert holding(left)["similar"]  # by Fisher's test five of 90 against none may be chance
    assert not left.decided.conditions[3].holds
    assert left.decided.decision == "iterate"
    assert left.if_missing_went_badly.difference < left.score.difference


def test_the_p_values_of_several_arms_are_adjusted():
    noise = [0.7, 0.3, 0.6, 0.5, 0.4, 0.5, 0.55, 0.45]
    found = compared(evaluation(base=[0.5] * 8, one=GAIN, two=noise, three=noise))
    assert list(found.comparisons) == ["one", "three", "two"]
    assert (found.comparisons["one"].score.p, found.comparisons["one"].score.p_holm) == (2 / 256, 6 / 256)
    strict = compared(evaluation(base=[0.5] * 8, one=GAIN, two=noise, three=noise), RULE.model_copy(update={"alpha": 0.02}))
    assert strict.comparisons["one"].decided.decision == "iterate"
    alone = compared(evaluation(base=[0.5] * 8, one=GAIN)).comparisons["one"].score
    assert alone.p_holm == alone.p == 2 / 256


# --- no NaN ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "played",
    [
        evaluation(base=[0.5, 0.5], arm=[0.5, 0.5]),
        evaluation(base=[0.0, 0.0], arm=[0.0, 0.0]),
        evaluation(base=[0.0, 0.0], arm=[1.0, 1.0]),
        evaluation(base=[0.1 + 0.2, 0.3], arm=[0.3, 0.1 + 0.2]),
        evaluation(base=[0.5, 0.6], arm=[0.6, 0.5]),
        evaluation(base=[0.3] * 25, arm=[0.1 + 0.2] * 25),
        evaluation(base=[0.3] * 25, arm=[0.9] * 24 + [0.9 - 1e-11]),
        evaluation(base=[[0.5] * 2] * 2, arm=[0.6, 0.7]),
    ],
    ids=["equal", "all 0", "0 and 1", "equal but for rounding", "opposite", "many equal", "nearly equal", "one arm lacks a trial"],
)
def test_degenerate_evaluations_have_figures_or_a_reason(played):
    found = against(played)
    assert found.score.interval or found.score.reason
    assert found.score.p > 0


def test_remarks_on_single_conversations_do_not_depend_on_their_order():
    rows = [one(arm, persona, 0, 0.7, answers={"C1": "YES"} if persona > 1 else {}) for arm in ("base", "arm") for persona in range(6)]
    said = judged_on_fewer(rows, "base")
    assert said
    assert "base, persona 0, trial 0 (2); base, persona 1, trial 0 (2); arm, persona 0, trial 0 (2); and 1 more" in said
    assert judged_on_fewer(rows[::-1], "base") == said
    assert compared(rows[::-1]) == compared(rows)


@pytest.mark.parametrize(("differ", "exact"), [(20, True), (21, False)])
def test_the_report_says_whether_every_sign_pattern_was_enumerated(differ, exact):
    assert against(evaluation(base=[0.5] * 30, arm=[0.6] * differ + [0.5] * (30 - differ))).score.exact == exact


def test_a_rounding_error_is_not_a_difference():
    found = against(evaluation(base=[0.3, 0.3], arm=[0.3, 0.1 + 0.2]))
    assert (found.score.difference, found.score.p) == (0.0, 1.0)
    assert found.decided.reason.startswith("Not better than the base.")


def test_fewer_than_two_personas_are_refused_with_the_reason():
    rows = evaluation(base=[0.5, 0.6], arm=[0.8, 0.9])
    rows[0] = lost(rows[0])
    with pytest.raises(
        NothingMadeError, match=r"by both base and arm: 1; at least 2.* 1 of base, 0 of arm\. The first reason: the model answered with nothing\."
    ):
        compared(rows)


def test_an_arm_without_completed_conversations_is_named():
    rows = [item if item.arm != "two" else incomplete(item) for item in evaluation(base=[0.5, 0.6], arm=[0.8, 0.9], two=[0.7, 0.7])]
    with pytest.raises(NothingMadeError, match="two has completed none of its 2 conversations"):
        compared(rows)


def test_a_conversation_of_any_arm_is_planned_for_all_arms():
    found = compared(evaluation(base=[[0.5, 0.9], [0.5, 0.9]], arm=[[0.6, 0.7], [0.9]]))
    assert (found.arms["arm"].missing.planned, found.arms["arm"].missing.lost) == (4, 1)
    assert (found.arms["base"].passed, found.arms["base"].mean_score) == (2, pytest.approx(0.7))
    assert found.arms["arm"].mean_score == pytest.approx(2.2 / 3)

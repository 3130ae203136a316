"""Missing conversations are counted, tested for imbalance and bounded in their effect."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from core.evaluation.attrition import bounds, count_missing, missing_shares, plausible_worst, quantiles
from core.evaluation.outcomes import by_arm
from core.evaluation.sentences import bounds_sentence, judged_on_fewer
from tests.core.arms import evaluation, incomplete, lost, one


def counted(planned, **counts):
    rows = evaluation(base=[0.5], arm=[[0.5] * planned])[1:]
    place = 0
    for kind, count in counts.items():
        for _ in range(count):
            rows[place] = incomplete(rows[place]) if kind == "incomplete" else lost(rows[place], simulator_broke=kind == "broke")
            place += 1
    return count_missing({(item.persona, item.trial): item for item in rows}, planned)


def test_each_planned_conversation_is_completed_incomplete_broken_or_lost():
    rows = evaluation(base=[0.5], arm=[[0.5] * 6])[1:]
    rows[0], rows[1] = lost(rows[0]), lost(rows[1], "no answer in time")
    rows[2] = incomplete(rows[2])
    rows[3] = lost(rows[3], "the user's message 2 was refused", simulator_broke=True)
    rows[4] = lost(rows[4])
    found = count_missing({(item.persona, item.trial): item for item in rows}, 8)
    assert (found.planned, found.completed, found.incomplete, found.simulator_broke, found.lost) == (8, 1, 1, 1, 5)
    assert list(found.reasons.items()) == [
        ("the model answered with nothing", 2),
        ("no answer in time", 1),
        ("the user's message 2 was refused", 1),
        ("no conversation was given", 2),
    ]


def test_a_judged_conversation_broken_by_the_simulator_is_not_completed():
    rows = [item.model_copy(update={"simulator_broke": True}) for item in evaluation(arm=[0.5])]
    found = count_missing({(item.persona, item.trial): item for item in rows}, 1)
    assert (found.completed, found.simulator_broke, found.lost) == (0, 1, 0)


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_the_counts_of_an_arm_add_up_to_the_planned_conversations(missing, part, broke):
    found = counted(15, lost=missing, incomplete=part, broke=broke)
    assert found.completed + found.incomplete + found.simulator_broke + found.lost == found.planned
    assert sum(found.reasons.values()) == missing + broke


def test_missing_shares_are_unequal_by_fishers_test_or_beyond_the_allowed_difference():
    few, many = counted(40, lost=1), counted(40, lost=9)
    (found, *others) = missing_shares(few, many, 0.05, 1.0)
    assert found.p == pytest.approx(stats.hypergeom(80, 10, 40).cdf(1) * 2)  # both tails, which are alike for arms of one size
    assert (found.kind, found.unequal, found.base_share, found.arm_share) == ("not completed", True, 1 / 40, 9 / 40)
    assert [item.unequal for item in others] == [False, False]
    assert not missing_shares(few, counted(40, lost=2), 0.05, 0.1)[0].unequal
    assert missing_shares(few, counted(40, lost=6), 0.05, 0.1)[0].unequal
    assert not missing_shares(counted(10, lost=7), counted(10, lost=8), 0.05, 0.1)[0].unequal  # exactly 0.1 more is allowed, though 0.8 - 0.7 > 0.1


def test_missing_conversations_of_different_kinds_do_not_cancel_out():
    found = {item.kind: item.unequal for item in missing_shares(counted(20, broke=8), counted(20, incomplete=8), 0.05, 0.1)}
    assert found == {"not completed": False, "incomplete assessments": True, "broken by the simulated user": True}


def test_the_bounds_give_missing_conversations_the_worst_and_best_score():
    rows = evaluation(base=[[0.6, 0.6], [0.5, 0.7]], arm=[[0.8, 0.8], [0.7, 0.9]])
    found = by_arm([item for item in rows if (item.arm, item.persona, item.trial) not in {("arm", 9000, 1), ("base", 9001, 0)}], "base")
    planned = [(9000, 0), (9000, 1), (9001, 0), (9001, 1)]
    limits = bounds(found["base"], found["arm"], planned)
    # persona 9000: (0.8 + 0) / 2 − 0.6 = −0.2; persona 9001: 0.8 − (1 + 0.7) / 2 = −0.05
    assert limits.worst == pytest.approx((-0.2 - 0.05) / 2)
    assert limits.best == pytest.approx(((0.8 + 1) / 2 - 0.6 + 0.8 - 0.7 / 2) / 2)
    assert bounds_sentence(limits, "base", "arm") == (
        "If each missing conversation of arm (1) had scored 0 and each missing conversation of base (1) had scored 1, the difference would be -0.125; "
        "with the opposite scores, +0.375."
    )


def test_without_missing_conversations_both_bounds_equal_the_difference():
    found = by_arm(evaluation(base=[0.6, 0.5], arm=[0.8, 0.6]), "base")
    limits = bounds(found["base"], found["arm"], list(found["base"]))
    assert limits.worst == limits.best == pytest.approx(0.15)
    assert bounds_sentence(limits, "base", "arm") == "No conversation is missing."


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.lists(st.booleans(), min_size=30, max_size=30), st.floats(0, 1))
def test_quantiles_ignore_unknown_values(values, known, share):
    chosen = np.array(known[: len(values)])
    assume(chosen.any())
    found = quantiles(np.array([values, values]), np.array([chosen, ~chosen]), share)
    assert found[0] == pytest.approx(np.quantile(np.array(values)[chosen], share), abs=1e-9)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans()), min_size=4, max_size=20))
def test_the_plausible_worst_difference_lies_between_the_bounds(rows):
    played = [
        lost(item) if gone else item
        for number, (before, after, before_lost, after_lost) in enumerate(rows)
        for item, gone in ((one("base", number, 0, before), before_lost and number), (one("arm", number, 0, after), after_lost and number))
    ]
    arms, planned = by_arm(played, "base"), [(number, 0) for number in range(len(rows))]
    limits, found = bounds(arms["base"], arms["arm"], planned), plausible_worst(arms["base"], arms["arm"], planned)
    assert limits.worst - 1e-9 <= found.difference <= limits.best + 1e-9
    assert found.missing == limits.arm_missing + limits.base_missing
    if not found.missing:
        assert found.difference == limits.worst


def test_conversations_judged_on_fewer_criteria_are_listed():
    rows = [one("arm", persona, 0, 0.5, answers={"C1": "YES"} if persona else {}) for persona in range(4)]
    assert judged_on_fewer(rows[1:], "base") is None
    said = judged_on_fewer(rows, "base") or ""
    assert "1 of 4 conversations was judged on fewer criteria than the others (3)" in said
    assert "arm, persona 0, trial 0 (2)" in said

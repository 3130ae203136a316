"""A judge's figures on golden sets small enough to count by hand."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from core.judging.golden_figures import Seen, golden_figures, rates
from core.records import Answer
from tests.core.golden_sets import golden, judged
from tests.core.judge_contexts import PACK

NA_ALLOWED = next(name for name, criterion in PACK.rubric.criteria.items() if criterion.head.na == "allowed" and criterion.head.from_exchange == 1)


def figures_of(*pairs, **more):
    """Figures of golden conversations, each with the judge's differing answers."""
    read = {item.id: judged(PACK, item, **answers) for item, answers in pairs}
    return golden_figures([item for item, _ in pairs], read, PACK.rubric, **more)


def shares(found):
    return [(rate.value, rate.n) for rate in (found.tpr, found.tnr)]


def test_a_detected_failure_is_the_positive_class():
    found = figures_of(
        (golden(PACK, "found", MT1="NO"), {}),
        (golden(PACK, "missed", MT1="NO"), {"MT1": "YES"}),
        (golden(PACK, "passed"), {}),
        (golden(PACK, "let-off"), {}),
        (golden(PACK, "accused"), {"MT1": "NO"}),
    )
    assert shares(found.criteria["MT1"].rates) == [(0.5, 2), (pytest.approx(2 / 3), 3)]
    for rate, successes in ((found.criteria["MT1"].rates.tpr, 1), (found.criteria["MT1"].rates.tnr, 2)):
        assert rate.interval == pytest.approx(proportion_confint(successes, rate.n, method="wilson"))
    assert shares(found.criteria["MT2"].rates) == [(None, 0), (1.0, 5)]
    assert found.wrong == {"missed": {"MT1": "YES"}, "accused": {"MT1": "NO"}}


def test_an_unusable_answer_is_in_no_rate_and_is_counted():
    found = figures_of((golden(PACK, "a", MT1="NO"), {"MT1": "ERROR"}), (golden(PACK, "b", MT1="NO"), {}), (golden(PACK, "c"), {"MT1": "ERROR"}))
    one = found.criteria["MT1"].rates
    assert shares(one) == [(1.0, 1), (None, 0)]
    assert one.lost == (1, 1)
    assert round(found.errors.value * found.errors.n) == 2


def test_an_allowed_na_is_a_pass_with_its_own_agreement():
    one = {NA_ALLOWED: "NA"}
    found = figures_of((golden(PACK, "a", **one), {}), (golden(PACK, "b", **one), {NA_ALLOWED: "YES"}), (golden(PACK, "c", **one), {NA_ALLOWED: "NO"}))
    own = found.criteria[NA_ALLOWED]
    assert shares(own.rates) == [(None, 0), (pytest.approx(2 / 3), 3)]
    assert (own.na.value, own.na.n) == (pytest.approx(1 / 3), 3)


def test_disputed_verdicts_have_their_own_figure_only():
    found = figures_of((golden(PACK, "a", MT1="NO", disputed=["MT1"]), {"MT1": "YES"}), (golden(PACK, "b"), {}))
    assert found.criteria["MT1"].disputed == found.disputed == 1
    assert shares(found.criteria["MT1"].rates) == [(None, 0), (1.0, 1)]
    assert found.wrong == {}


def test_gates_are_counted_by_conversation_and_not_interchangeable():
    found = figures_of(
        (golden(PACK, "both", CQ8="NO", CQ9="NO"), {"CQ9": "YES"}),  # one of them is enough to reject it
        (golden(PACK, "wrong-gate", CQ8="NO"), {"CQ8": "YES", "CQ9": "NO"}),
        (golden(PACK, "sound"), {}),
        (golden(PACK, "accused"), {"CQ9": "NO"}),
        (golden(PACK, "open", disputed=["CQ8"]), {"CQ8": "NO"}),
        (golden(PACK, "open-but-bad", disputed=["CQ8"], CQ9="NO"), {}),
    )
    assert shares(found.gates) == [(pytest.approx(2 / 3), 3), (0.5, 2)]


def test_a_conversation_counts_unless_a_dispute_decides_its_outcome():
    found = figures_of(
        (golden(PACK, "fails", CQ8="NO"), {}),
        (golden(PACK, "fails-unseen", CQ8="NO"), {"CQ8": "YES"}),
        (golden(PACK, "passes", disputed=["MT1"]), {}),  # one criterion does not fail it
        (golden(PACK, "open", disputed=["CQ8"]), {}),
        (golden(PACK, "unread"), {"MT1": "ERROR"}),
    )
    assert shares(found.outcome) == [(0.5, 2), (1.0, 1)]
    assert found.outcome.lost == (0, 1)


def test_near_misses_lengths_places_and_held_out_conversations_have_their_own_figures():
    pairs = [
        (golden(PACK, "near", close=["MT1"], held_out=True), {"MT1": "NO"}),
        (golden(PACK, "early", exchanges=12, MT1="NO", lapses=(2,)), {}),
        (golden(PACK, "late", exchanges=12, MT1="NO", lapses=(11, 12)), {"MT1": "YES"}),
        (golden(PACK, "all-along", exchanges=12, MT1="NO", lapses=(2, 11)), {"MT1": "YES"}),
        (golden(PACK, "too-short", exchanges=2, MT1="NO", lapses=(1,)), {}),
    ]
    found = figures_of(*pairs)
    assert (found.criteria["MT1"].near.value, found.criteria["MT1"].near.n) == (0.0, 1)
    tpr = {name: part.tpr.value for name, part in found.parts.items()}
    assert tpr["lapses in the first third"] == 1
    assert tpr["lapses in the last third"] == tpr["lapses in several thirds"] == 0
    assert "lapses in the middle third" not in found.parts
    assert tpr["fewer than 10 exchanges"] == 1
    assert tpr["10 exchanges and more"] == pytest.approx(1 / 3)
    assert found.parts["held-out conversations: all criteria"].tnr.n + found.parts["the others: all criteria"].tnr.n == found.verdicts.tnr.n
    assert found.parts["held-out conversations: all criteria"].tnr.value < 1


def test_repeats_say_how_often_answers_differ():
    items = [golden(PACK, name) for name in ("a", "b")]
    again = [judged(PACK, item) for item in items] + [judged(PACK, items[0], MT1="NO"), judged(PACK, items[1])]
    found = figures_of(*((item, {}) for item in items), again=again)
    assert found.criteria["MT1"].flips.value == 0.5
    assert found.criteria["MT2"].flips.value == 0
    assert figures_of((items[0], {})).flips is None


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=40), st.randoms())
def test_kappa_and_rates_do_not_depend_on_the_order_of_the_set(answers, order):
    seen = [
        Seen(f"c{n}", "MT1", Answer.NO if fails else Answer.YES, Answer.NO if called else Answer.YES, fails, called, False, 3)
        for n, (fails, called) in enumerate(answers)
    ]
    mixed = order.sample(seen, len(seen))
    assert rates(seen) == rates(mixed)


@pytest.mark.parametrize(("conversations", "true"), [(10, 0.9), (40, 0.8)])
def test_the_interval_over_several_verdicts_of_a_conversation_covers_the_truth(conversations, true):
    draw, held, trials = random.Random(5), 0, 400
    for _ in range(trials):
        seen = []
        for number in range(conversations):
            lucky = draw.betavariate(true * 4, (1 - true) * 4)  # verdicts on one conversation are correlated
            seen += [Seen(f"c{number}", f"k{k}", Answer.NO, Answer.NO, True, draw.random() < lucky, False, 3) for k in range(5)]
        interval = rates(seen).tpr.interval
        assert interval is not None
        low, high = interval
        held += low <= true <= high
    assert held / trials > 0.91


def test_a_requirement_counts_an_unusable_answer_as_wrong():
    def of(errors):
        seen = [Seen(f"c{n}", "g", Answer.NO, Answer.NO, True, None if n < errors else True, False, 3) for n in range(10)]
        return rates([*seen, Seen("sound", "g", Answer.YES, Answer.YES, False, False, False, 3)])

    assert of(1).tpr.value == of(2).tpr.value == 1
    assert of(1).reach(0.9, 0.8)
    assert not of(2).reach(0.9, 0.8)


def test_a_judge_that_never_answers_has_no_rates_and_meets_no_requirement():
    none = dict.fromkeys(PACK.rubric.criteria, "ERROR")
    found = figures_of((golden(PACK, "a", CQ8="NO"), none), (golden(PACK, "b"), none))
    assert shares(found.gates) == shares(found.verdicts) == shares(found.outcome) == [(None, 0), (None, 0)]
    assert found.gates.kappa.value is None
    assert found.errors.value == 1
    assert not found.gates.reach(0, 0)

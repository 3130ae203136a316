"""Forgetting: losses against the base enter the decision, compared on items that both models answered."""

import pytest

from bench.forgetting import chance_to_hold, rows
from core.evaluation.forgetting import DECLINED, HELPED, RIGHT, SuiteAnswers, forgetting, forgetting_conditions
from core.evaluation.general_prompts import GeneralAnswer
from core.evaluation.refusals import RefusalAnswer, Refusals
from tests.conftest import CHECKOUT

ALL = 100


def general(right):
    return [GeneralAnswer(name=f"g{place}", prompt="?", expected="!", answer="said", right=known) for place, known in enumerate(right)]


def refusals(wanted, found):
    return [RefusalAnswer(name=f"{wanted}{place}", kind="k", wanted=wanted, request="?", answer="said", found=one) for place, one in enumerate(found)]


def compared(base, arm):
    """Compare two models by their numbers of items (declined, helped, right)."""

    def of(declined, helped, right):
        done = [
            *refusals("declined", ["declined"] * declined + ["helped"] * (ALL - declined)),
            *refusals("helped", ["helped"] * helped + ["neither"] * (ALL - helped)),
        ]
        return general([True] * right + [False] * (ALL - right)), done

    answers = {"base": of(*base), "arm": of(*arm)}
    asked = SuiteAnswers(general={name: one[0] for name, one in answers.items()}, refusals=Refusals(judge="j", answers={n: o[1] for n, o in answers.items()}))
    return {item.of: item for item in forgetting(asked, "base")["arm"]}


def test_a_model_without_any_loss_meets_every_condition():
    conditions = forgetting_conditions(list(compared((95, 97, 80), (95, 97, 80)).values()), 0.1)
    assert len(conditions) == 3
    assert all(item.holds and item.forbids is None for item in conditions)


@pytest.mark.parametrize(("of", "lost"), [(DECLINED, (80, 97, 80)), (HELPED, (95, 80, 80)), (RIGHT, (95, 97, 65))])
def test_a_loss_lists_its_items_and_only_a_loss_of_refusals_forbids(of, lost):
    found = compared((95, 97, 80), lost)
    conditions = dict(zip(found, forgetting_conditions(list(found.values()), 0.1), strict=True))
    assert {name for name, item in conditions.items() if not item.holds} == {of}
    assert bool(conditions[of].forbids) == (of == DECLINED)
    assert len(found[of].lost) == round(-100 * found[of].found.difference)
    assert found[of].gained == []


def test_a_loss_within_chance_fails_the_condition_without_forbidding():
    answers = {"base": refusals("declined", ["declined"] * 12), "arm": refusals("declined", ["declined"] * 10 + ["helped"] * 2)}
    few = SuiteAnswers(general={"base": [], "arm": []}, refusals=Refusals(judge="j", answers=answers))
    condition, *_ = forgetting_conditions(forgetting(few, "base")["arm"], 0.1)
    assert not condition.holds
    assert condition.forbids is None
    assert "12 items cannot show the margin" in condition.found


def test_items_unknown_for_one_model_are_left_out_and_counted():
    asked = SuiteAnswers(general={"base": general([True, None, False, True]), "arm": general([True, True, None, False])}, refusals=None)
    (found,) = forgetting(asked, "base")["arm"]
    assert found.found
    assert (found.of, found.found.pairs, found.unknown, found.lost) == (RIGHT, 2, 2, ["g3"])
    *_, condition = forgetting_conditions([found], 0.1)
    assert "with 2 unknown answers counted against the arm" in condition.found
    nothing = SuiteAnswers(general={"base": general([None]), "arm": general([True])}, refusals=None)
    *_, condition = forgetting_conditions(forgetting(nothing, "base")["arm"], 0.1)
    assert not condition.holds


def test_answers_of_the_arm_that_the_judge_cannot_read_do_not_hide_a_loss():
    base = refusals("declined", ["declined"] * ALL)
    unread = refusals("declined", ["declined"] * (ALL - 20) + [None] * 20)
    asked = SuiteAnswers(general={"base": [], "arm": []}, refusals=Refusals(judge="j", answers={"base": base, "arm": unread}))
    condition, *others = forgetting_conditions(forgetting(asked, "base")["arm"], 0.1)
    # a suite that was not played is not shown
    assert [(item.holds, item.helps) for item in others] == [(False, "ask")] * 2
    assert not condition.holds


def test_a_suite_that_was_not_played_is_not_compared():
    assert forgetting(SuiteAnswers(general={"base": [], "arm": []}, refusals=None), "base") == {"arm": []}


def test_the_documented_chances_match_the_bound():
    page = (CHECKOUT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert [row for row in rows() if row not in page] == []


def test_with_the_shipped_sizes_a_loss_of_the_margin_rarely_passes():
    assert chance_to_hold(100, 0.03, 0.03) > 0.95
    assert chance_to_hold(100, 0.12, 0.02) < 0.06
    assert chance_to_hold(100, 0.22, 0.02) < 0.001

"""Which conversations are compared, and the value of each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import EvaluationError, NothingMadeError
from core.evaluation.outcomes import by_arm, category_score, criterion_value, pair_up, passed, points
from core.judging.scoring import score, value_of
from core.packs.pack import load_pack
from core.records import Answer, Outcome, Verdict
from tests.core.arms import evaluation, incomplete, lost, one

RUBRIC = load_pack("therapeutic-coaching").rubric


def paired(played, value=points):
    found = by_arm(played, "base")
    return pair_up(found["base"], found["arm"], value)


def test_a_pair_is_a_persona_and_trial_that_both_completed():
    rows = evaluation(base=[[0.5, 0.6], [0.7, 0.8], [0.4]], arm=[[0.6, 0.9], [0.7, 0.9], [0.6]])
    rows[0] = lost(rows[0])
    rows[-1] = incomplete(rows[-1])
    rows[-2] = rows[-2].model_copy(update={"simulator_broke": True})
    found = paired(rows)
    assert [(persona, trial) for persona, trial, _, _ in found.rows] == [(9000, 1), (9001, 0)]
    assert list(found.differences) == [0.3, 0.0]


def test_each_persona_has_the_same_weight():
    found = paired(evaluation(base=[[0.5, 0.5, 0.5, 0.5], [0.5]], arm=[[0.6, 0.6, 0.6, 0.6], [0.9]]))
    assert found.means == pytest.approx((0.5, 0.75))
    assert found.difference == pytest.approx(0.25)
    assert list(found.differences) == [0.1, 0.4]
    assert list(found.each) == [0.1, 0.1, 0.1, 0.1, 0.4]


@given(st.lists(st.lists(st.integers(0, 20).map(lambda number: number / 20), min_size=1, max_size=3), min_size=1, max_size=4), st.randoms())
def test_the_order_of_the_conversations_does_not_matter(scores, random):
    rows = evaluation(base=scores, arm=[list(reversed(values)) for values in scores])
    shuffled = random.sample(rows, len(rows))
    assert paired(shuffled).rows == paired(rows).rows
    # the same scores in another order are the same, also in the last binary place
    assert not paired(rows).differences.any()


@pytest.mark.parametrize("answer", list(Answer))
@pytest.mark.parametrize("criterion", ["CQ1", "CQ2", "CQ8", "CQ9", "MT4"])  # NA allowed and not, gates and not
def test_the_rubric_decides_the_value_of_an_answer(criterion, answer):
    given_answers = dict.fromkeys(RUBRIC.criteria, Answer.YES) | {criterion: answer}
    verdicts = [Verdict(criterion=name, answer=said, reasoning="") for name, said in given_answers.items()]
    item = one("arm", 1, 0, 1.0).model_copy(update={"score": score(RUBRIC, verdicts, 10), "answers": given_answers})
    assert criterion_value(criterion)(item) == value_of(RUBRIC.criteria[criterion], answer)


def test_a_conversation_has_no_value_for_a_category_or_criterion_that_it_lacks():
    item = one("arm", 1, 0, 0.9, answers={"C1": "YES"}, categories={"warmth": 0.5})
    assert category_score("warmth")(item) == 0.5
    assert category_score("depth")(item) is None
    assert criterion_value("C2")(item) is None
    rows = [one(arm, persona, 0, 0.5, categories={} if (arm, persona) == ("arm", 2) else {"warmth": 0.5}) for arm in ("base", "arm") for persona in (1, 2)]
    assert list(paired(rows, category_score("warmth")).personas) == [1]


def test_passing_is_decided_by_the_rubric_and_not_by_the_score_alone():
    assert passed(one("arm", 1, 0, 0.95, gates=["G1"])) == 0
    assert passed(one("arm", 1, 0, 0.95)) == 1


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "conversations of no arm; the base"),
        (evaluation(base=[0.5, 0.6]), "at least one other arm"),
        (evaluation(one=[0.5, 0.6], other=[0.5, 0.6]), r"conversations of one, other; the base \(base\)"),
        ([*evaluation(base=[0.5], arm=[0.5]), one("arm", 9000, 0, 0.7)], "arm has two conversations with persona 9000, trial 0"),
        (
            [*evaluation(base=[0.5]), *map(lost, evaluation(arm=[0.5, 0.5]))],
            r"arm has completed none of its 2 conversations \(2 × the model answered with nothing\)",
        ),
        ([*evaluation(base=[0.5]), *map(incomplete, evaluation(arm=[0.5]))], "every assessment is incomplete"),
    ],
)
def test_conversations_that_cannot_be_compared_are_refused_with_the_reason(rows, said):
    with pytest.raises((EvaluationError, NothingMadeError), match=said):
        by_arm(rows, "base")


def test_a_pass_without_a_score_is_not_compared():
    item = one("arm", 1, 0, 0.9)
    assert not item.model_copy(update={"score": item.score.model_copy(update={"score": None, "outcome": Outcome.PASS})}).complete
    assert item.complete

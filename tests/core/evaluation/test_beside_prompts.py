"""An understudy must beat the base under every other prompt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.comparison import compare_arms
from core.evaluation.report import evaluation_markdown, evaluation_section
from core.settings.evaluation import Decision
from tests.core.arms import evaluation, one, rubric
from tests.core.evaluated import facts_of

RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.1, least_pass_rate=0)
PERSONAS = 12
BASE = [0.5] * PERSONAS


def around(mean, spread=0.02):
    """Scores of the personas with this mean."""
    return [mean + (spread if number % 2 else -spread) for number in range(PERSONAS)]


def compared(played, *prompted, rule=RULE, **more):
    return compare_arms(played, "base", rubric(), rule, 200, prompted=prompted, **more).comparisons


def decided(prompted, understudy):
    found = compared(evaluation(base=BASE, **{"rich": prompted, "understudy": understudy}), "rich")
    return found["understudy"].decided, found["rich"].decided


def test_an_understudy_that_beats_base_and_prompt_is_shipped():
    understudy, rich = decided(around(0.6), around(0.8, 0.03))
    assert (understudy.decision, rich.decision) == ("ship", "ship")
    assert "needs no training" in rich.reason


def test_an_understudy_that_is_no_better_than_a_prompt_is_not_deployed():
    for own in (0.78, 0.80, 0.81):  # below, level, and above by less than the gain that is asked for
        understudy, rich = decided(around(0.8), around(own, 0.05))
        assert (understudy.decision, rich.decision) == ("do not deploy", "ship")
        assert understudy.reason.startswith("A prompt does as well.")


def test_with_a_base_near_zero_the_understudy_must_beat_the_prompt_by_the_required_gain():
    found = compared(evaluation(base=[0.1] * PERSONAS, rich=around(0.2), understudy=around(0.205, 0.0426)), "rich")["understudy"]
    (beside,) = found.beside_prompts
    assert beside.interval is not None
    assert 0.1 * 0.1 < beside.interval[1] < 0.1 * 0.3  # a base below 0.3 counts as 0.3
    assert beside.found == "no better"


def test_an_inconclusive_comparison_with_a_prompt_needs_more_personas():
    understudy, _ = decided(around(0.7), around(0.75, 0.2))
    assert understudy.decision == "iterate"
    assert "better than rich" in understudy.reason


def test_an_understudy_must_beat_every_prompt():
    played = evaluation(base=BASE, poor=around(0.55), rich=around(0.8), understudy=around(0.8, 0.04))
    assert compared(played, "poor")["understudy"].decided.decision == "ship"
    assert compared(played, "poor", "rich")["understudy"].decided.decision == "do not deploy"


def test_a_prompt_that_must_not_be_deployed_is_no_alternative_to_the_understudy():
    played = [item for item in evaluation(base=BASE, rich=around(0.8), understudy=around(0.8, 0.04)) if item.arm != "rich"]
    played += [one("rich", 9000 + number, 0, value, gates=("G1",)) for number, value in enumerate(around(0.8))]
    found = compared(played, "rich")
    assert found["rich"].decided.decision == "do not deploy"
    assert found["understudy"].decided.decision == "ship"
    assert any("no alternative" in condition.found for condition in found["understudy"].decided.conditions)


def test_without_a_prompted_arm_there_is_no_prompt_condition():
    found = compared(evaluation(base=BASE, rich=around(0.8), understudy=around(0.8, 0.04)))
    assert found["understudy"].decided.decision == "ship"
    assert found["understudy"].beside_prompts == []


def test_prompts_are_not_compared_with_each_other():
    found = compared(evaluation(base=BASE, rich=around(0.8), mine=around(0.7), understudy=around(0.9, 0.04)), "rich", "mine")
    assert found["mine"].beside_prompts == found["rich"].beside_prompts == []
    assert found["mine"].decided.decision == "ship"


def test_too_few_personas_in_common_with_the_prompt_do_not_ship():
    played = evaluation(base=BASE, rich=around(0.6), understudy=around(0.9))
    half = [item for item in played if not (item.arm == "understudy" and item.persona < 9006)]
    apart = [item for item in half if not (item.arm == "rich" and item.persona >= 9007)]
    found = compared(apart, "rich", rule=RULE.model_copy(update={"safety_margin": 0.9}))
    assert found["understudy"].decided.decision == "iterate"
    assert "fewer than two personas" in found["understudy"].decided.reason


@given(
    st.lists(st.floats(0.0, 1.0).map(lambda value: round(value, 3)), min_size=8, max_size=8),
    st.lists(st.floats(0.0, 1.0).map(lambda value: round(value, 3)), min_size=8, max_size=8),
)
def test_a_prompted_arm_never_improves_a_decision(prompted, understudy):
    order = ["do not deploy", "iterate", "ship"]
    played = evaluation(base=[0.4] * 8, rich=prompted, understudy=understudy)
    alone, beside = (compared(played, *names, flips=500)["understudy"].decided.decision for names in ((), ("rich",)))
    assert order.index(beside) <= order.index(alone)


@pytest.mark.parametrize(
    ("prompted", "understudy", "said"),
    [
        (around(0.8), around(0.81, 0.05), "a prompt does as well. Do not train."),
        (around(0.6), around(0.8, 0.03), "understudy is better than the base with that prompt."),
        (around(0.7), around(0.75, 0.2), "it is not shown that understudy is better than a prompt."),
    ],
)
def test_report_and_card_say_whether_a_prompt_does_as_well(prompted, understudy, said):
    facts = facts_of(evaluation(base=BASE, **{"prompted base": prompted, "understudy": understudy}), prompted=["prompted base"])
    for text in (evaluation_markdown(facts), evaluation_section(facts, "understudy")):
        assert "Prompted base reaches 0." in text
        assert said in " ".join(text.replace("\\", "").split())

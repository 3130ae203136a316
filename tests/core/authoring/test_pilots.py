"""Conclusions from a pilot's figures and the limits of few conversations."""

import pytest

from core.authoring.pilots import Round, advice, prompting_alone
from core.packs.pack import load_pack

PACK = load_pack("coding-mentor")


def round_with(number=1, passed=4, failed=1, model=None, prompt=None, **criteria):
    judged = passed + failed
    return Round(
        **{"number": number, "pack_hash": f"p{number}", "model": model, "prompt": prompt, "conversations": judged, "passed": passed, "failed": failed},
        **{"incomplete": 0, "gates_failed": 0, "criteria": criteria},
    )


@pytest.mark.parametrize(("passed", "said"), [(7, "enough for a batch"), (6, "generate a batch when 70 % do"), (0, "generate a batch when 70 % do")])
def test_a_pack_is_ready_from_the_configured_pass_rate(passed, said):
    assert said in advice(round_with(passed=passed, failed=10 - passed), [], PACK)[0]


@pytest.mark.parametrize(
    ("passed", "said"), [(8, "no fine-tuning is needed"), (7, "something to gain"), (5, "something to gain"), (4, "large enough for the part")]
)
def test_a_base_is_described_by_three_ranges(passed, said):
    reported = advice(round_with(passed=passed, failed=10 - passed, model="a/b"), [], PACK)
    assert said in reported[0]
    assert "without" in reported[0]


def test_a_criterion_that_fails_often_is_reported_with_its_files():
    reported = " ".join(advice(round_with(CO1=0.5, CO2=0.6), [], PACK))
    assert "prompts/coding-mentor/criteria/CO1-" in reported
    assert "CO2" not in reported


@pytest.mark.parametrize(("each", "chance"), [(5, 3), (10, 4), (20, 4)])
def test_a_change_between_rounds_is_reported_with_the_range_expected_by_chance(each, chance):
    """Fisher's exact test: of 5, 1 against 5 has p = 0.048 and 2 against 5 has 0.17; of 10, 5 against 10 has 0.033; of 20, 15 against 20 has 0.047."""
    reported = advice(round_with(2, each, 0, CO1=0.6), [round_with(1, each, 0, CO1=1.0)], PACK)[-1]
    assert "Lower than in round 1: CO1 (-40 %)" in reported
    assert f"a difference of {chance} may be chance" in reported


def test_one_of_five_conversations_is_a_drop_of_a_fifth_and_rounds_of_other_sizes_are_not_compared():
    before, after = round_with(1, 5, 0, CO1=1.0), round_with(2, 5, 0, CO1=0.8)
    assert "CO1 (-20 %)" in advice(after, [before], PACK)[-1]
    assert not any("Lower" in text for text in advice(after, [round_with(1, 10, 0, CO1=1.0)], PACK))


def test_rounds_of_another_model_are_not_compared():
    assert not any("Lower" in text for text in advice(round_with(2, CO1=0.6), [round_with(1, model="a/b", CO1=1.0)], PACK))


def test_rounds_with_another_prompt_are_not_compared_and_old_rounds_used_the_short_one():
    old, rich = round_with(1, model="a/b", CO1=1.0), round_with(2, model="a/b", prompt="assistant", CO1=0.6)
    assert not any("Lower" in text for text in advice(rich, [old], PACK))
    assert any("Lower than in round 1" in text for text in advice(round_with(2, model="a/b", prompt="system", CO1=0.6), [old], PACK))


@pytest.mark.parametrize(("passed", "said"), [(6, "optimise-prompt"), (7, "not be needed"), (0, "optimise-prompt")])
def test_the_pass_rate_of_prompting_alone_is_reported_beside_the_required_one(passed, said):
    rounds = [round_with(1, 0, 10, "a/b", "system"), round_with(2, passed, 10 - passed, "a/b", "assistant")]
    reported = prompting_alone(rounds)
    assert f"(system: 0 of 10, assistant: {passed} of 10)" in reported
    assert "From 70 % on" in reported
    assert said in reported
    assert ("optimise-prompt" in reported) == (passed < 7)


def test_a_pass_rate_is_reported_with_its_interval():
    """Wilson, of 6 in 10: 31 to 83 %."""
    assert "6 of 10 (60 %, interval 31 % to 83 %)" in advice(round_with(1, 6, 4, "a/b", "assistant"), [], PACK)[0]


def test_a_round_without_judged_conversations_is_reported():
    (reported,) = advice(round_with(passed=0, failed=0), [], PACK)
    assert "Nothing was judged completely" in reported

"""Decisions in words: the pass rate floor, pass counts, next steps, and the warning of scripted models."""

import re
import shlex
from typing import get_args

import pytest

from core.evaluation.comparison import compare_arms
from core.evaluation.decision import Condition, Decided, Helps
from core.evaluation.next_step import HELPS, next_step
from core.evaluation.page import evaluation_page
from core.evaluation.record import EvaluationRecord, next_step_of, summary
from core.evaluation.report import evaluation_markdown, evaluation_section
from core.settings.evaluation import Decision
from flows.terminal.command import make_app
from tests.core.arms import evaluation, lost, one, rubric
from tests.core.evaluated import facts_of

RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.2)
GOOD = [0.84, 0.86] * 6
FAILS = [0.74, 0.76] * 6
"""Below 0.8, at which a conversation passes."""


def compared(played, **more):
    return compare_arms(played, "base", rubric(), RULE, 200, 2000, **more)


def decided(played, **more):
    return compared(played, **more).comparisons["understudy"].decided


# --- the floor ------------------------------------------------------------------------------------------------------


def test_a_model_that_passes_nothing_is_not_deployed_even_if_better_than_its_base():
    found = decided(evaluation(base=[0.5] * 12, understudy=FAILS))
    assert [item.holds for item in found.conditions] == [True] * 7 + [False]
    assert found.decision == "do not deploy"
    assert found.reason.startswith("It passes 0 of 12 conversations. Not met: at least 25 % of its conversations pass")
    assert decided(evaluation(base=[0.5] * 12, understudy=GOOD)).decision == "ship"


@pytest.mark.parametrize(("passing", "decision"), [(0, "do not deploy"), (2, "iterate"), (9, "ship"), (12, "ship")])
def test_the_pass_rate_floor_takes_chance_into_account(passing, decision):
    """The lower 95 % bound counts, with personas as the units: 2 of 12 could be 25 %, and are not shown to be."""
    assert decided(evaluation(base=[0.5] * 12, understudy=GOOD[:passing] + FAILS[passing:])).decision == decision


def test_missing_conversations_count_as_not_passed_except_those_broken_by_the_simulator():
    played = evaluation(base=[[0.5] * 2] * 12, understudy=[[value] * 2 for value in GOOD])
    late = [item.arm == "understudy" and item.trial == 1 for item in played]
    gone = compared([lost(item) if out else item for item, out in zip(played, late, strict=True)]).arms["understudy"]
    assert (gone.passing.passed, gone.passing.conversations, gone.passing.missing) == (12, 24, 12)
    assert gone.passing.share == pytest.approx(0.5)
    assert gone.pass_count == "12 of 12"
    spoiled = compared([lost(item, simulator_broke=True) if out else item for item, out in zip(played, late, strict=True)]).arms["understudy"]
    assert (spoiled.passing.conversations, spoiled.passing.share) == (12, 1.0)


# --- where it stands ------------------------------------------------------------------------------------------------


def record_of(comparison, played):
    return EvaluationRecord(domain="tea-tasting", models={arm: f"provider/{arm}" for arm in comparison.arms}, comparison=comparison, played=played)


@pytest.mark.parametrize("scripted", [True, False])
@pytest.mark.parametrize("scores", [GOOD, FAILS, [0.5, 0.62] * 6])
def test_the_decision_is_shown_with_pass_counts_and_a_warning_of_scripted_models(scores, scripted):
    played = evaluation(base=[0.5] * 12, understudy=scores)
    facts = facts_of(played, scripted=scripted, floor=0.25)
    found, one = facts.comparison.comparisons["understudy"].decided, facts.comparison.arms["understudy"]
    passed = f"{one.passed} of 12"
    shown = {
        "summary": "\n".join(f"{name}: {text}" for name, text in summary(record_of(facts.comparison, played)).items()),
        "report": evaluation_markdown(facts),
        "page": evaluation_page(facts),
        "card": evaluation_section(facts, "understudy"),
    }
    for text in shown.values():
        words = re.sub(r"<style>.*?</style>|<script.*?</script>|<[^>]*>", "", text, flags=re.DOTALL).lower()
        said = words.count(found.decision)
        assert said
        assert words.count("(scripted models: not a real result)") == (said if scripted else 0)
        assert passed in words
    assert f"understudy passes <strong>{passed}</strong> conversations, base <strong>0 of 12</strong>" in shown["page"]


def test_a_summary_states_the_conversations_behind_each_mean_and_difference():
    """The understudy's worst conversations have no partner, so its mean over the pairs is above that over its own."""
    played = evaluation(base=[0.5] * 12, understudy=[0.6 + number / 100 for number in range(12)])
    played = [lost(item) if item.arm == "base" and item.persona < 9006 else item for item in played]
    figures = summary(record_of(compared(played), played))
    assert figures["base score"] == "0.500 over 6 conversations"
    assert figures["understudy score"] == "0.655 over 12 conversations"
    assert figures["understudy difference"].startswith("+0.185 over 6 personas (0.685 against 0.500, ")


# --- what to do next ------------------------------------------------------------------------------------------------


def commands_of(text):
    return [part for place, part in enumerate(text.split("`")) if place % 2]


def outcome(**given):
    played = evaluation(base=[0.5] * 12, understudy=GOOD)
    found = compared(played).comparisons["understudy"]
    return found.model_copy(update={"decided": Decided.model_validate({"decision": "iterate", "reason": "", "conditions": [], **given})})


def unmet(helps, **more):
    return Condition(text="", figure=None, found="", holds=False, helps=helps, **more)


@pytest.mark.parametrize(
    "given",
    [
        *({"conditions": [unmet(name)]} for name in get_args(Helps)),
        {"decision": "ship"},
        {"decision": "ship", "untrained": True},
        {"decision": "ship", "scripted": True},
        {"decision": "do not deploy"},
    ],
)
@pytest.mark.parametrize("domain", ["therapeutic-coaching", "coding-mentor"])
def test_each_outcome_gives_a_valid_command_for_the_next_step(given, domain):
    text = next_step(outcome(**given), domain, "llama-server/exports/my model/base-Q4_K_M.gguf")
    commands = commands_of(text)
    assert commands
    for command in commands:
        program, *words = shlex.split(command)
        assert program == "understudy"
        _, bound, _ = make_app().parse_args(words, exit_on_error=False, print_error=False)
        assert bound.arguments["domain"] == domain


def test_an_evaluation_of_imported_conversations_offers_no_command_to_play_missing_ones():
    played = [lost(item) if item.arm == "understudy" and item.persona > 9008 else item for item in evaluation(base=[0.5] * 12, understudy=GOOD)]
    assert "played elsewhere" in next_step_of(facts_of(played, judges=[]), "understudy")
    assert "The same command plays them" in next_step_of(facts_of(played), "understudy")


def test_advice_names_forbidding_conditions_first_and_a_confirmation_last():
    assert set(HELPS) == set(get_args(Helps))
    several = [unmet("confirm"), unmet("personas"), unmet("again"), unmet("safety", forbids="unsafe")]
    for conditions, helps in ((several, "safety"), (several[:3], "again"), (several[:2], "personas"), (several[:1], "confirm")):
        text = next_step(outcome(conditions=conditions), "coding-mentor", "a/b")
        assert text.startswith(HELPS[helps].partition("{")[0].partition("`")[0])


def test_every_condition_of_the_rule_has_advice():
    played = evaluation(base=[0.5] * 12, understudy=FAILS)
    assert all(item.helps for item in decided([one(item.arm, item.persona, 0, item.score.score, ["G1"]) for item in played]).conditions)


def test_a_base_that_leaves_no_room_for_the_required_gain_is_named_as_the_reason():
    found = compared(evaluation(base=[0.95] * 12, understudy=[1.0] * 12)).comparisons["understudy"]
    assert found.decided.decision == "iterate"
    assert found.decided.conditions[0].found.endswith("a perfect score would be +5.3 %")
    assert next_step(found, "tea-tasting", "base").startswith("The base scores so high that no model can reach the required gain")
    possible = compared(evaluation(base=[0.9] * 12, understudy=[0.92] * 12)).comparisons["understudy"]
    assert "perfect" not in possible.decided.conditions[0].found

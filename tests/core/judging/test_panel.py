"""A panel's verdict follows the configured policy and never depends on a missing answer."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import SettingsError
from core.judging.gather_rule import unmet_by
from core.judging.panel import check_panel, combine_judges
from core.packs.pack import load_pack
from core.records import Answer, Outcome
from core.settings.assessment import PanelSettings
from tests.core.judged import assessment, conversation

PACK = load_pack("therapeutic-coaching")
TALK = conversation("t", 5)
USUAL = PanelSettings(criteria="majority", gates="any_fail")


def panel(criterion, said, policies=USUAL):
    """A judge whose answer is None has no assessment."""
    judges = {f"judge/{n}": assessment(TALK, f"judge/{n}", {criterion: answer}) if answer else None for n, answer in enumerate(said)}
    found = combine_judges(PACK, judges, policies, 5)
    return found, next(verdict for verdict in found.verdicts if verdict.criterion == criterion)


@pytest.mark.parametrize(
    ("said", "decided"),
    [
        (["YES", "YES", "NO"], "YES"),
        (["YES", "NO", "NO"], "NO"),
        (["YES", "NO"], "NO"),  # a tie fails
        (["YES", "YES", "ERROR"], "YES"),
        (["NO", "NO", "ERROR"], "NO"),
        (["YES", "NO", "ERROR"], "ERROR"),
        (["YES", "ERROR"], "ERROR"),
        (["NO", "ERROR"], "NO"),  # a tie would fail it too
        (["ERROR", "ERROR", "ERROR"], "ERROR"),
        (["YES", "YES", None], "YES"),
        (["YES", None, "NO"], "ERROR"),
        (["YES", "NO", "YES", "NO", "ERROR"], "ERROR"),
    ],
)
def test_more_than_half_of_all_judges_must_pass_a_criterion(said, decided):
    found, verdict = panel("MT1", said)
    assert verdict.answer is Answer(decided)
    # a missing judge leaves the gates open
    assert (found.score.outcome is Outcome.INCOMPLETE) == (decided == "ERROR" or None in said)
    assert [opinion.answer.value for opinion in verdict.opinions] == [answer or "ERROR" for answer in said]


@pytest.mark.parametrize(
    ("said", "decided"),
    [(["YES", "YES"], "YES"), (["YES", "YES", "NO"], "NO"), (["NO", "ERROR", "YES"], "NO"), (["YES", "ERROR"], "ERROR"), (["YES", None], "ERROR")],
)
def test_one_judge_is_enough_to_fail_a_gate_and_an_error_never_passes_it(said, decided):
    found, verdict = panel("CQ8", said)
    assert verdict.answer is Answer(decided)
    assert found.score.failed_gates == (["CQ8"] if decided == "NO" else [])


def test_a_missing_answer_could_not_have_changed_a_decided_verdict():
    for policy in ("majority", "any_fail"):
        policies = PanelSettings(criteria=policy, gates=policy)
        for said in itertools.product(["YES", "NO", "ERROR"], repeat=3):
            _, verdict = panel("MT1", list(said), policies)
            could = set()
            for filled in itertools.product(["YES", "NO"], repeat=said.count("ERROR")):
                rest = iter(filled)
                could.add(panel("MT1", [next(rest) if answer == "ERROR" else answer for answer in said], policies)[1].answer)
            assert verdict.answer is (could.pop() if len(could) == 1 else Answer.ERROR), (policy, said)


def test_na_passes_only_if_the_criterion_allows_it():
    assert panel("CQ2", ["NA", "NA", "NO"])[1].answer is Answer.NA
    assert panel("CQ2", ["NA", "YES", "NO"])[1].answer is Answer.YES
    found, verdict = panel("MT1", ["NA", "NA", "YES"])
    assert verdict.answer is Answer.NA
    assert found.score.failed_checks == ["MT1"]


def test_a_criterion_may_have_its_own_policy():
    strict = PanelSettings(criteria="majority", gates="any_fail", by_criterion={"MT1": "any_fail"})
    assert panel("MT1", ["YES", "YES", "NO"], strict)[1].answer is Answer.NO
    assert panel("MT2", ["YES", "YES", "NO"], strict)[1].answer is Answer.YES
    with pytest.raises(SettingsError, match="by_criterion names 'CQ7'"):
        check_panel(PACK.rubric, PanelSettings(criteria="majority", gates="any_fail", by_criterion={"CQ7": "majority"}))


def test_the_assessment_names_all_judges_and_a_shared_family():
    judges = {"openai/gpt": assessment(TALK, "openai/gpt", {}), "anthropic/claude": assessment(TALK, "anthropic/claude", {}, shared_family="claude")}
    found = combine_judges(PACK, judges, USUAL, 5)
    assert (found.judge, found.shared_family) == ("openai/gpt + anthropic/claude", "claude")


def test_only_criteria_that_apply_to_the_length_are_decided():
    short = conversation("t", 2)
    found = combine_judges(PACK, {f"judge/{n}": assessment(short, f"judge/{n}", {}) for n in (1, 2)}, USUAL, 2)
    assert "MT4" not in {verdict.criterion for verdict in found.verdicts}
    assert found.score.outcome is Outcome.PASS


STRICT = PanelSettings(criteria="strictest", gates="any_fail")
ANSWERS = st.sampled_from(["YES", "NO"])
SAID = st.lists(st.dictionaries(st.sampled_from(list(PACK.rubric.criteria)), ANSWERS, max_size=10), min_size=1, max_size=3)


@given(SAID)
def test_the_strictest_policy_passes_only_what_every_judge_passes_and_has_the_lowest_score(said):
    alone = {f"judge/{n}": assessment(TALK, f"judge/{n}", answers) for n, answers in enumerate(said)}
    found, rule = combine_judges(PACK, alone, STRICT, 5), PACK.rubric.numbers.gather
    assert found.score.score == min(item.score.score or 0 for item in alone.values())
    assert (found.score.outcome is Outcome.PASS) == all(item.score.outcome is Outcome.PASS for item in alone.values())
    assert bool(unmet_by(found, rule, PACK.rubric)) == any(unmet_by(item, rule, PACK.rubric) for item in alone.values())


@pytest.mark.parametrize("second", [None, {"MT1": "ERROR"}])
def test_under_the_strictest_policy_an_incomplete_judge_leaves_the_outcome_open_unless_another_fails_it(second):
    low = dict.fromkeys(("MT1", "MT2", "MT3", "MT4", "CP2", "CP4", "CQ1"), "NO")
    for first, outcome in (({}, Outcome.INCOMPLETE), (low, Outcome.FAIL)):
        judges = {"a/1": assessment(TALK, "a/1", first), "b/2": assessment(TALK, "b/2", second) if second else None}
        found = combine_judges(PACK, judges, STRICT, 5)
        # without any answer of a judge the gates stay open
        assert found.score.outcome is (outcome if second else Outcome.INCOMPLETE)
        assert [opinion.judge for opinion in found.verdicts[0].opinions] == ["a/1", "b/2"]

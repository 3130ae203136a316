"""Gathering uses the first verdict per id, only passing transcripts, and none with an evaluation persona."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.gathering import Candidate, check_not_evaluated, gather, missed_by
from core.errors import DatasetError, PersonaError, SettingsError
from core.judging.gather_rule import gather_rule, unmet
from core.judging.scoring import applicable, score
from core.packs.pack import load_pack
from core.packs.rubric import GatherRule
from core.records import Answer, Exchange, Outcome, Transcript, Verdict
from core.rehearsal.personas import sample_batch
from core.settings.assessment import GatherSettings

PACK = load_pack("therapeutic-coaching")


def candidate(name, outcome="pass", **more):
    values: dict[str, Any] = {
        "path": f"transcripts/{name}.json",
        "source": "batch",
        "assessment": "a.json",
        "score": 0.9,
        "judge": "j",
        "rubric_hash": "r",
        "failed_gates": [],
    }
    return Candidate(id=name, outcome=Outcome(outcome), **(values | more))


def test_passing_transcripts_are_sorted_and_all_others_have_a_reason():
    found = gather(
        [
            candidate("t2"),
            candidate("t1", score=0.85, judge="a + b"),
            candidate("t3", "fail", score=0.512),
            candidate("t4", "fail", failed_gates=["CQ8", "CQ9"]),
            candidate("t5", "incomplete"),
            candidate("t6", path=None),
            candidate("t7", reason="no answer to MT1"),
            candidate("t1", "fail", source="another"),
        ]
    )
    manifest = found.manifest()
    assert manifest["count"] == 2
    assert [entry["id"] for entry in manifest["transcripts"]] == ["t1", "t2"]
    assert manifest["transcripts"][0] == {
        "id": "t1", "source_file": "transcripts/t1.json", "score": 0.85, "judge": "a + b", "rubric_hash": "r", "assessment": "a.json",
    }  # fmt: skip
    reasons = {(entry["id"], entry["source"]): entry["reason"] for entry in manifest["left_out"]}
    assert reasons == {
        ("t1", "another"): "duplicate id: an earlier verdict is used",
        ("t3", "batch"): "failed: 0.512",
        ("t4", "batch"): "gate: CQ8, CQ9",
        ("t5", "batch"): "incomplete: some criteria have no usable answer",
        ("t6", "batch"): "missing file",
        ("t7", "batch"): "no answer to MT1",
    }


NAMES, OUTCOMES = st.sampled_from("abcdef"), st.sampled_from(["pass", "fail", "incomplete"])


@given(st.lists(st.tuples(NAMES, OUTCOMES), max_size=30))
def test_the_first_verdict_of_an_id_counts_and_nothing_is_lost(pairs):
    judged = [candidate(name, outcome) for name, outcome in [("x", "pass"), ("y", "pass"), *pairs]]
    found = gather(judged)
    first = {}
    for item in judged:
        if first.setdefault(item.id, item.outcome) is Outcome.INCOMPLETE:
            first[item.id] = item.outcome  # an incomplete assessment is no verdict
    assert [item.id for item in found.passing] == sorted(name for name, outcome in first.items() if outcome is Outcome.PASS)
    assert len(found.passing) + len(found.left_out) == len(judged)


def test_too_few_passing_transcripts_are_reported():
    with pytest.raises(DatasetError, match="Too few transcripts passed: 1 of 2"):
        gather([candidate("a"), candidate("b", "fail")])


def transcript(name="t", persona=None, **provenance):
    return Transcript(id=name, persona=persona, exchanges=[Exchange(exchange_number=1, user="u", assistant="a")], provenance=provenance)


EVALUATION = sample_batch(PACK, 9000, 3, (4, 4))


@pytest.mark.parametrize(
    "bad",
    [
        transcript("ours", seed=9500, pack_hash="p"),
        transcript("theirs", seed=9001),
        transcript("renumbered", persona=EVALUATION[2].model_copy(update={"id": "persona-7", "seed": 7, "name": "Otto", "exchanges": 20}).model_dump(), seed=7),
    ],
    ids=["a seed of the evaluation's", "a seed that will be played", "a persona under another number"],
)
def test_a_transcript_with_an_evaluation_persona_stops_the_flow_and_is_named(bad):
    good = transcript("good", persona=sample_batch(PACK, 7, 1)[0].model_dump(), seed=7, pack_hash="p")
    check_not_evaluated([good], EVALUATION, 9000)
    with pytest.raises(PersonaError, match=f"1 transcripts have personas that are kept for the evaluation: {bad.id}"):
        check_not_evaluated([good, bad], EVALUATION, 9000)


def test_an_imported_seed_outside_the_evaluation_range_is_accepted():
    check_not_evaluated([transcript("transcript_20000", persona={"name": "David"}, seed=20000)], EVALUATION, 9000)


RUBRIC = PACK.rubric
ANSWERS = st.fixed_dictionaries({name: st.sampled_from([Answer.YES, Answer.NO, Answer.NA]) for name in RUBRIC.criteria})
RULES = st.builds(GatherRule, floors=st.sampled_from([0.0, 0.25, 0.5, 2 / 3, 1.0]), required=st.lists(st.sampled_from(list(RUBRIC.criteria)), max_size=4))


@given(ANSWERS, RULES, st.integers(1, 5))
def test_the_gathering_rule_requires_each_named_criterion_and_the_floor_of_each_category(answers, rule, exchanges):
    verdicts = [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in answers.items()]
    scored = score(RUBRIC, verdicts, exchanges)
    missed = unmet(rule, RUBRIC, {item.id: answers[item.id] for item in applicable(RUBRIC, exchanges)}, scored)
    failed = {*scored.failed_checks, *scored.failed_gates}
    assert bool(missed) == (bool(failed & set(rule.required)) or any(mean < rule.floors - 1e-9 for mean in scored.category_scores.values()))
    assert score(RUBRIC, verdicts, exchanges) == scored


def test_a_pass_that_misses_the_rule_is_left_out_with_the_unmet_condition():
    found = gather([candidate("t1"), candidate("t2"), candidate("t3", unmet=["CP2 is required", "connection is below 0.5"]), candidate("t4", "fail")])
    assert [item.id for item in found.passing] == ["t1", "t2"]
    reasons = {entry["id"]: entry["reason"] for entry in found.left_out}
    assert reasons["t3"] == "passed, not gathered: CP2 is required; connection is below 0.5"
    assert [missed_by(reasons[name]) for name in ("t3", "t4")] == [["CP2 is required", "connection is below 0.5"], []]


def test_the_gathering_rule_is_the_packs_unless_the_settings_replace_it():
    assert gather_rule(RUBRIC, GatherSettings()) == GatherRule(floors=0.5, required=["CQ1", "CQ2", "CP2"])
    assert gather_rule(RUBRIC, GatherSettings(required=[])) == GatherRule(floors=0.5, required=[])
    assert gather_rule(RUBRIC, GatherSettings(floors=0.0)).required == ["CQ1", "CQ2", "CP2"]
    with pytest.raises(SettingsError, match="Did you mean 'CQ1'"):
        gather_rule(RUBRIC, GatherSettings(required=["CQ10"]))

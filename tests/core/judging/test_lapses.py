"""A criterion's answer follows from the listed lapses and the rubric's limits, not from the judge's own answer."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PackError
from core.judging.judge import assess
from core.judging.judgements import read_judgement
from core.judging.lapses import decide, forgiven
from core.llm.chat import Reply, Usage
from core.packs.pack import load_pack
from core.packs.rubric import Forgives
from core.records import Answer, Lapse, Outcome, Verdict
from tests.core.judge_contexts import PACK, judge_context, talk
from tests.core.judging.test_judge import Judge

RUBRIC = replace(PACK.rubric, numbers=PACK.rubric.numbers.model_copy(update={"forgives": {"CP2": Forgives(light=2, per=10)}}))
CP2, CQ8, CP4 = (RUBRIC.criteria[name] for name in ("CP2", "CQ8", "CP4"))
LAPSES = st.lists(st.builds(Lapse, exchange=st.integers(1, 100), what=st.just("x"), weight=st.sampled_from(["light", "grave"])), max_size=30)
OWN = st.sampled_from([Answer.YES, Answer.NO, Answer.NA])


@pytest.mark.parametrize(("exchanges", "allowed"), [(1, 0), (2, 0), (3, 1), (9, 1), (10, 2), (14, 2), (15, 3), (100, 20)])
def test_the_share_of_light_lapses_is_forgiven_and_one_from_three_exchanges_on(exchanges, allowed):
    assert forgiven(Forgives(light=2, per=10), exchanges) == allowed
    assert forgiven(Forgives(light=0, per=10), exchanges) == 0


@given(LAPSES, OWN, st.integers(1, 100))
def test_the_answer_follows_from_the_lapses_and_not_from_the_judges_own(lapses, own, exchanges):
    found = decide(RUBRIC, CP2, own, lapses, exchanges)
    if not lapses:
        assert found is own
    else:
        passes = all(item.weight == "light" for item in lapses) and len(lapses) <= forgiven(Forgives(light=2, per=10), exchanges)
        assert found is (Answer.YES if passes else Answer.NO)
    assert decide(RUBRIC, CP4, own, lapses, exchanges) is own  # the rubric has no rule for it


@given(LAPSES, OWN, st.integers(1, 100))
def test_a_gate_forgives_no_lapse(lapses, own, exchanges):
    assert decide(RUBRIC, CQ8, own, lapses, exchanges) is (Answer.NO if lapses else own)


@given(LAPSES, LAPSES, OWN, st.integers(1, 100))
def test_another_lapse_never_turns_a_failure_into_a_pass(lapses, more, own, exchanges):
    if lapses and decide(RUBRIC, CP2, own, lapses, exchanges) is Answer.NO:
        assert decide(RUBRIC, CP2, own, [*lapses, *more], exchanges) is Answer.NO


def said(answer, *lapses):
    listed = [{"exchange": exchange, "what": "too long", "weight": weight} for exchange, weight in lapses]
    return {"criterion": "CP2", "reasoning": "Some messages here speak against it.", "lapses": listed, "cited": [1], "answer": answer}


async def test_an_assessment_stores_the_lapses_and_the_judges_own_answer():
    class Counting(Judge):
        def says(self, criterion):
            return said("NO", (2, "light")) if criterion == "CP2" else super().says(criterion)

    found = await assess(judge_context(Counting(), talk(5)))
    (verdict,) = [item for item in found.verdicts if item.criterion == "CP2"]
    assert (verdict.answer, verdict.stated, verdict.lapses) == (Answer.YES, Answer.NO, [Lapse(exchange=2, what="too long", weight="light")])
    assert found.score.outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("lapses", "answer"),
    [
        ([(2, "grave")], Answer.NO),
        ([(1, "light"), (2, "LIGHT")], Answer.NO),
        ([(1, "light")], Answer.YES),
        ([], Answer.YES),
        ([(9, "light")], Answer.ERROR),
        ([(0, "grave")], Answer.ERROR),
        ([(1, "serious")], Answer.ERROR),
        ([("all", "light")], Answer.ERROR),
    ],
)
def test_an_invalid_lapse_makes_the_verdict_an_error(lapses, answer):
    reply = Reply(json.dumps({"verdicts": [said("YES", *lapses)]}), "stop", Usage())
    (found,) = read_judgement(reply, [CP2], 5, rubric=RUBRIC).verdicts
    assert found.answer is answer


@pytest.mark.parametrize("what", ["", "none", None, "<a few words>", "a few words"])
def test_a_lapse_without_content_does_not_fail_a_gate(what):
    prompt = PACK.prompts["assessor_question"].render(exchanges=[{}] * 5, criteria=[], alone=False, listed=False)
    filled = {"reasoning": "The coach asks at once and names the line.", "lapses": [{"exchange": 1, "what": what, "weight": "light"}], "cited": [1]}
    reply = Reply(json.dumps({"verdicts": {"CQ8": {**filled, "answer": "YES"}}}), "stop", Usage())
    (found,) = read_judgement(reply, [CQ8], 5, prompt=[prompt], rubric=RUBRIC).verdicts
    assert found.answer is Answer.ERROR


def test_a_lapse_listed_twice_counts_once():
    reply = Reply(json.dumps({"verdicts": [said("YES", (1, "light"), (1, "light"), (1, "light"))]}), "stop", Usage())
    (found,) = read_judgement(reply, [CP2], 5, rubric=RUBRIC).verdicts
    assert found.answer is Answer.YES


def test_assessments_without_lapses_stay_readable():
    assert Verdict.model_validate({"criterion": "CP2", "answer": "NO", "reasoning": "x"}).lapses == []


@pytest.mark.parametrize(("name", "words"), [("CQ8", "a gate forgives nothing"), ("CP22", "Did you mean 'CP2'")])
def test_a_pack_cannot_forgive_a_gate_or_an_unknown_criterion(pack_copy, name, words):
    path = pack_copy / "config/domains/therapeutic-coaching/rubric.yaml"
    path.write_text(path.read_text(encoding="utf-8").replace("  CP2: {", f"  {name}: {{light: 1, per: 5}}\n  CP2: {{", 1), encoding="utf-8")
    with pytest.raises(PackError, match=words):
        load_pack("therapeutic-coaching", pack_copy)

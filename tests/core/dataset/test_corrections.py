"""Corrections: the choice of replies, their context, the ones that are learnt, and the split by conversation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.dataset.corrections import CorrectionPlan, correct, failing_exchanges, judged_on, learnt, objection, source_of
from core.dataset.repair import RepairContext
from core.errors import RepairError
from core.llm.chat import Reply, Usage
from core.packs.pack import load_pack
from core.records import ModelChoice, TranscriptRef
from core.settings.faults import Fault
from core.settings.pipeline import load_settings
from tests.core.judged import assessment, conversation

PACK = load_pack("therapeutic-coaching")
GATES = [name for name, criterion in PACK.rubric.criteria.items() if criterion.head.gate]


class Teacher:
    reference, caveat = "teacher/one", None

    def __init__(self, says="A better answer."):
        self.says, self.asked = says, []

    async def complete(self, request):
        self.asked.append(request)
        return Reply(self.says, "stop", Usage())


def plan(transcript, exchange, criteria):
    return CorrectionPlan(
        transcript=TranscriptRef(id=transcript.id, path="x.json", exchanges=len(transcript.exchanges)),
        assessment="y.json",
        exchange=exchange,
        criteria=criteria,
        round=2,
        teacher=ModelChoice(reference="teacher/one"),
        domain=PACK.name,
        prompt="",
        max_tokens=100,
        guards=[],
    )


def judged(transcript, answers, cited):
    return assessment(transcript, "scripted/judge", answers, cited)


@given(st.dictionaries(st.sampled_from(["MT1", "MT2", "MT6", GATES[0]]), st.lists(st.integers(1, 6), min_size=1, max_size=4)), st.integers(1, 6))
def test_corrected_exchanges_are_those_cited_by_failed_verdicts_gates_first_up_to_the_limit(cited, most):
    transcript = conversation("a", exchanges=6)
    verdicts = judged(transcript, dict.fromkeys(cited, "NO"), cited)
    found = failing_exchanges(verdicts, 6, PACK.rubric, most)
    possible = failing_exchanges(verdicts, 6, PACK.rubric, 6)
    assert list(found) == sorted(found)
    assert len(found) == min(most, len(possible))
    named = {number for name, numbers in cited.items() for number in numbers if PACK.rubric.criteria[name].head.from_exchange <= number}
    assert set(possible) == named
    gated = {number for number, of in possible.items() if any(verdict.criterion in GATES for verdict in of)}
    assert gated <= set(found) or set(found) <= gated
    for number, of in found.items():
        assert all(number in cited[verdict.criterion] for verdict in of)


async def test_a_correction_follows_the_understudys_own_replies_and_only_its_last_reply_is_learnt():
    transcript = conversation("a", exchanges=5)
    teacher = Teacher()
    numbers = load_settings().repair
    context = RepairContext(PACK, teacher, numbers, 1, [Fault.META], PACK.rubric.numbers.gather)
    one = plan(transcript, 3, ["MT1"])
    found = await correct(context, transcript, judged(transcript, {"MT1": "NO"}, {"MT1": [3]}), one)
    assert found.exchanges[:2] == transcript.exchanges[:2]
    assert [found.exchanges[2].user, found.exchanges[2].assistant] == [transcript.exchanges[2].user, "A better answer."]
    assert len(found.exchanges) == 3
    assert (found.id, found.provenance["round"], found.provenance["corrected"]) == (one.name, 2, [3])
    assert [item.exchange_number for item in learnt(found).exchanges] == [3]
    assert source_of(found) == "a"
    assert transcript.exchanges[3].user not in teacher.asked[0].messages[0].content  # what comes later is not known there
    unchanged = RepairContext(PACK, Teacher(transcript.exchanges[2].assistant), numbers, 1, [], PACK.rubric.numbers.gather)
    with pytest.raises(RepairError, match="left reply 3 as it was"):
        await correct(unchanged, transcript, judged(transcript, {"MT1": "NO"}, {"MT1": [3]}), one)


@pytest.mark.parametrize(
    ("answers", "cited", "why"),
    [
        ({}, {}, None),
        ({"MT1": "NO"}, {"MT1": [1, 2]}, None),  # the understudy's own replies before it
        ({"MT1": "NO"}, {"MT1": [3]}, "still fails MT1"),
        ({"MT1": "NO"}, {}, "still fails MT1"),  # without a citation
        ({GATES[0]: "NO"}, {GATES[0]: [1]}, f"gate: {GATES[0]}"),  # at any place
        ({"MT1": "ERROR"}, {}, "not judged"),
    ],
)
def test_a_correction_is_learnt_only_if_the_judges_pass_it(answers, cited, why):
    transcript = conversation("a", exchanges=3)
    found = objection(judged(transcript, answers, cited), [3])
    assert (found or "").startswith(why or "")
    assert bool(found) == bool(why)


def test_a_correction_is_judged_on_every_gate_and_the_criteria_that_failed():
    asked = judged_on(plan(conversation("a", exchanges=3), 2, ["MT1", GATES[0]]), PACK.rubric)
    assert set(asked) == {*GATES, "MT1"}
    assert len(asked) == len(set(asked))

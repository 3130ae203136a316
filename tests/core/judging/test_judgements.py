"""A judge's reply is read in one way only; what cannot be read is an ERROR and never a verdict."""

import json

import pytest

from core.errors import ModelError
from core.judging.judgements import read_judgement
from core.llm.chat import Reply, Usage
from core.records import Answer
from tests.core.sittings import PACK

CRITERIA = [PACK.rubric.criteria[name] for name in ("CQ1", "MT1", "CQ8")]


def reply(verdicts, finish="stop"):
    return Reply(json.dumps({"verdicts": verdicts}), finish, Usage())


def verdict(criterion, answer="YES", cited=(1,), **more):
    return {"criterion": criterion, "reasoning": "because", "cited": list(cited), "answer": answer, **more}


def test_a_good_reply_gives_the_criteria_in_order():
    found = read_judgement(reply([verdict("MT1", "NO"), verdict("CQ8"), verdict("CQ1", "NA")]), CRITERIA, 3)
    assert [(item.criterion, item.answer) for item in found] == [("CQ1", Answer.NA), ("MT1", Answer.NO), ("CQ8", Answer.YES)]


def test_what_was_not_asked_is_not_looked_at():
    found = read_judgement(reply([verdict("CQ1"), verdict("MT1"), verdict("CQ8"), verdict("CQ9", "NO"), verdict("XX1", "NO")]), CRITERIA, 3)
    assert [item.criterion for item in found] == ["CQ1", "MT1", "CQ8"]


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [verdict("CQ1"), verdict("CQ1", "NO")],
        [verdict("CQ1", "MAYBE")],
        [verdict("CQ1", "yes")],
        [verdict("CQ1", "ERROR")],
        [verdict("CQ1", cited=[4])],
        [verdict("CQ1", cited=[0])],
    ],
    ids=["missing", "twice", "another word", "lower case", "claims an error", "cites what is not there", "cites nothing that is counted"],
)
def test_one_unusable_verdict_is_an_error_and_leaves_the_others(bad):
    found = {item.criterion: item.answer for item in read_judgement(reply([*bad, verdict("MT1"), verdict("CQ8")]), CRITERIA, 3)}
    assert found == {"CQ1": Answer.ERROR, "MT1": Answer.YES, "CQ8": Answer.YES}


@pytest.mark.parametrize("alone", [False, True])
@pytest.mark.parametrize(
    "unusable",
    [
        Reply("I would say yes to all of them.", "stop", Usage()),
        Reply("", "stop", Usage()),
        Reply('{"verdicts": [{"criterion": "CQ1"', "stop", Usage()),
        Reply('{"pass": true}', "stop", Usage()),
        reply([verdict("CQ1"), verdict("MT1"), verdict("CQ8")], finish="length"),
        reply([verdict("CQ1", score=1.0)]),
    ],
    ids=["prose", "nothing", "cut JSON", "another form", "out of room", "an extra key"],
)
def test_a_reply_in_another_form_is_refused_whole(unusable, alone):
    with pytest.raises(ModelError):
        read_judgement(unusable, CRITERIA[:1] if alone else CRITERIA, 3, alone)


def test_an_answer_to_one_criterion_is_read_as_that_criterions():
    said = Reply(json.dumps({"reasoning": "because", "cited": [2], "answer": "NO"}), "stop", Usage())
    (found,) = read_judgement(said, CRITERIA[1:2], 3, alone=True)
    assert (found.criterion, found.answer, found.cited) == ("MT1", Answer.NO, [2])
    (outside,) = read_judgement(said, CRITERIA[1:2], 1, alone=True)
    assert outside.answer is Answer.ERROR

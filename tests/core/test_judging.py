"""A judge's reply is read in one way only; what cannot be read is an ERROR and never a verdict."""

import json

import pytest

from core.chat import ChatRequest, Reply, Usage
from core.errors import ModelError
from core.judging import assess, read_judgement
from core.pack import load_pack
from core.records import Answer, Exchange, Outcome, Transcript
from tests.core.simulation import caller

PACK = load_pack("therapeutic-coaching")
CRITERIA = [PACK.rubric.criteria[name] for name in ("CQ1", "MT1", "CQ8")]


def reply(verdicts, finish="stop"):
    return Reply(json.dumps({"verdicts": verdicts}), finish, Usage())


def verdict(criterion, answer="YES", cited=(1,), **more):
    return {"criterion": criterion, "reasoning": "because", "cited": list(cited), "answer": answer, **more}


def test_a_good_reply_gives_the_criteria_in_order():
    found = read_judgement(reply([verdict("MT1", "NO"), verdict("CQ8"), verdict("CQ1", "NA")]), CRITERIA, 3)
    assert [(item.criterion, item.answer) for item in found] == [("CQ1", Answer.NA), ("MT1", Answer.NO), ("CQ8", Answer.YES)]


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
def test_a_reply_in_another_form_is_refused_whole(unusable):
    with pytest.raises(ModelError):
        read_judgement(unusable, CRITERIA, 3)


class Broken:
    """A judge whose provider fails."""

    reference = "broken/judge"
    caveat = None

    async def complete(self, request: ChatRequest) -> Reply:
        raise ModelError("The provider is gone.")


async def test_a_judge_that_fails_gives_an_incomplete_assessment():
    transcript = Transcript(id="x", exchanges=[Exchange(exchange_number=1, user="hello", assistant="hello")])
    found = await assess(PACK, Broken(), transcript, 100)
    assert found.score.outcome is Outcome.INCOMPLETE
    assert {item.answer for item in found.verdicts} == {Answer.ERROR}
    assert "The provider is gone." in found.verdicts[0].reasoning


class Asked:
    """A judge that counts how often it is asked."""

    reference, caveat, calls = "judge/small", None, 0

    async def complete(self, request: ChatRequest) -> Reply:
        self.calls += 1
        names = request.schema["properties"]["verdicts"]["items"]["properties"]["criterion"]["enum"] if request.schema else []
        return reply([verdict(name) for name in names])


@pytest.mark.parametrize(("context", "sent"), [(None, 1), (100_000, 1), (2_000, 0)])
async def test_a_transcript_that_the_judge_cannot_read_whole_is_not_sent_and_not_cut(context, sent):
    judge = Asked()
    transcript = Transcript(id="t", exchanges=[Exchange(exchange_number=1, user="hello", assistant="good day")])
    found = await assess(PACK, judge, transcript, 500, context, lambda text: len(text) // 4)
    assert judge.calls == sent
    assert (found.score.outcome is Outcome.INCOMPLETE) == (sent == 0)
    if not sent:
        assert {item.answer for item in found.verdicts} == {Answer.ERROR}
        assert "judge/small holds 2,000" in found.verdicts[0].reasoning


class Careless:
    """A judge that cites an exchange that does not exist, so many times."""

    reference, caveat = "judge/careless", None

    def __init__(self, times: int) -> None:
        self.times, self.seeds = times, list[int]()

    async def complete(self, request: ChatRequest) -> Reply:
        self.seeds.append(request.seed)
        names = request.schema["properties"]["verdicts"]["items"]["properties"]["criterion"]["enum"] if request.schema else []
        return reply([verdict(name, cited=(9,) if name == "MT1" and len(self.seeds) <= self.times else (1,)) for name in names])


@pytest.mark.parametrize(("times", "calls", "answer"), [(0, 1, Answer.YES), (1, 2, Answer.YES), (99, 3, Answer.ERROR)])
async def test_a_judgement_that_cites_what_does_not_exist_is_asked_for_again(tmp_path, times, calls, answer):
    judge = Careless(times)
    transcript = Transcript(id="t", exchanges=[Exchange(exchange_number=1, user="hello", assistant="good day")])
    found = await assess(PACK, caller(judge, tmp_path), transcript, 500)
    assert len(set(judge.seeds)) == len(judge.seeds) == calls
    assert {item.criterion: item.answer for item in found.verdicts}["MT1"] is answer
    # what can be used is used
    assert {item.answer for item in found.verdicts if item.criterion != "MT1"} == {Answer.YES}
    assert (found.score.outcome is Outcome.INCOMPLETE) == (answer is Answer.ERROR)

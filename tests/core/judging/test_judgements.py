"""A judge's reply is read in every tolerated format; anything else is an ERROR and never a verdict."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ModelError
from core.judging.judgements import read_judgement
from core.llm.chat import Reply, Usage
from core.packs.rubric import Criterion
from core.records import Answer
from tests.core.judge_contexts import PACK

CRITERIA = [PACK.rubric.criteria[name] for name in ("CQ1", "MT1", "CQ8")]


def reply(verdicts, finish="stop"):
    return Reply(json.dumps({"verdicts": verdicts}), finish, Usage())


def verdict(criterion, answer="YES", cited=(1,), **more):
    return {"criterion": criterion, "reasoning": f"Exchange 1 decides {criterion}, by its words.", "cited": list(cited), "answer": answer, **more}


def test_verdicts_are_returned_in_the_order_of_the_criteria():
    found = read_judgement(reply([verdict("MT1", "NO"), verdict("CQ8"), verdict("CQ1", "NA")]), CRITERIA, 3).verdicts
    assert [(item.criterion, item.answer) for item in found] == [("CQ1", Answer.NA), ("MT1", Answer.NO), ("CQ8", Answer.YES)]


def test_verdicts_on_criteria_that_were_not_asked_are_ignored():
    found = read_judgement(reply([verdict("CQ1"), verdict("MT1"), verdict("CQ8"), verdict("CQ9", "NO"), verdict("XX1", "NO")]), CRITERIA, 3).verdicts
    assert [item.criterion for item in found] == ["CQ1", "MT1", "CQ8"]


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [verdict("CQ1"), verdict("CQ1", "NO")],
        [verdict("CQ1", "MAYBE")],
        [verdict("CQ1", "ERROR")],
        [verdict("CQ1", cited=[4])],
        [verdict("CQ1", cited=[0])],
        [verdict("CQ1", cited=[True])],
        [verdict("CQ1", cited=["all"])],
        [verdict("CQ1", cited=[])],
        [verdict("CQ1") | {"reasoning": None}],
    ],
    ids=[
        "missing",
        "twice",
        "unknown answer",
        "claims an error",
        "cites a missing exchange",
        "cites exchange 0",
        "cites a boolean",
        "cites text",
        "cites nothing",
        "no reasoning",
    ],
)
def test_an_unusable_verdict_is_an_error_without_affecting_the_others(bad):
    found = {item.criterion: item.answer for item in read_judgement(reply([*bad, verdict("MT1"), verdict("CQ8")]), CRITERIA, 3).verdicts}
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
        Reply('{"verdicts": "YES"}', "stop", Usage()),
    ],
    ids=["prose", "nothing", "truncated JSON", "wrong schema", "token limit", "no list"],
)
def test_a_reply_that_does_not_match_the_schema_is_refused(unusable, alone):
    with pytest.raises(ModelError) as refused:
        read_judgement(unusable, CRITERIA[:1] if alone else CRITERIA, 3, alone)

    assert "judge's reply" in str(refused.value)
    assert "file" not in str(refused.value)


PROMPT = "What counts is whether the assistant names what the person feels. Give the reasons in two to four sentences. They said: I slept badly again."


@pytest.mark.parametrize(
    "reasoning",
    [
        *("", "loses", "It is fine.", "好的", "Yes, it does. Yes, it does.", "CQ1 CQ1 CQ1 CQ1 CQ1"),
        *("1. What counts is\n2. whether the assistant names\n3. what the person feels", "&lt;the reasons in two to four sentences&gt;"),
        *("the reasons in two to four sentences", "What counts is whether the assistant names what the person feels.", "They said: I slept badly again."),
        "It is a very difficult one. " * 5,
    ],
)
@pytest.mark.parametrize("answer", ["YES", "NO", "NA"])
def test_a_verdict_without_a_meaningful_reason_is_an_error(reasoning, answer):
    said = reply([verdict("CQ1", answer, reasoning=reasoning), verdict("MT1"), verdict("CQ8")])
    found = read_judgement(said, CRITERIA, 3, prompt=[PROMPT])
    assert [item.answer for item in found.verdicts] == [Answer.ERROR, Answer.YES, Answer.YES]
    assert found.empty == {"CQ1"}


@pytest.mark.parametrize(
    "reasoning",
    [
        "In exchange 2 the person says “I slept badly again”, and the assistant names what the person feels.",
        "第二次交流中没有提到睡眠",
    ],
)
def test_a_reason_may_quote_the_transcript_and_a_few_words_of_the_criterion(reasoning):
    said = reply([verdict("CQ1", reasoning=reasoning)])
    (found,) = read_judgement(said, CRITERIA[:1], 3, prompt=[PROMPT]).verdicts
    assert found.answer is Answer.YES


def test_the_same_reason_for_two_criteria_invalidates_both():
    same = "The assistant meets this in every exchange."
    said = reply([verdict("CQ1", reasoning=same), verdict("MT1", "NO", reasoning=f"{same.upper()}  "), verdict("CQ8")])
    assert [item.answer for item in read_judgement(said, CRITERIA, 3).verdicts] == [Answer.ERROR, Answer.ERROR, Answer.YES]
    renumbered = reply([verdict("CQ1", reasoning="In exchange 1 the coach meets this."), verdict("MT1", reasoning="In exchange 12, the coach meets this.")])
    assert [item.answer for item in read_judgement(renumbered, CRITERIA[:2], 20).verdicts] == [Answer.ERROR, Answer.ERROR]
    later = read_judgement(reply([verdict("CQ1", reasoning=same)]), CRITERIA[:1], 3, others={"the assistant meets this in every exchange": "MT1"})
    assert later.verdicts[0].answer is Answer.ERROR


def test_an_answer_without_a_name_belongs_to_the_single_criterion_asked():
    said = Reply(json.dumps({"reasoning": "Exchange 2 leaves the question open.", "cited": [2], "answer": "NO"}), "stop", Usage())
    (found,) = read_judgement(said, CRITERIA[1:2], 3, alone=True).verdicts
    assert (found.criterion, found.answer, found.cited) == ("MT1", Answer.NO, [2])
    (outside,) = read_judgement(said, CRITERIA[1:2], 1, alone=True).verdicts
    assert outside.answer is Answer.ERROR


def test_an_answer_that_names_another_criterion_is_an_error():
    said = Reply(json.dumps(verdict("CQ9", "YES")), "stop", Usage())
    (found,) = read_judgement(said, CRITERIA[2:], 3, alone=True).verdicts
    assert found.answer is Answer.ERROR


@pytest.mark.parametrize("said", ['{"a": 1, "verdicts": [], "verdicts": %s}', '{"verdicts": %s, "verdicts": []}'])
def test_a_duplicate_key_makes_a_reply_or_verdict_invalid(said):
    with pytest.raises(ModelError):
        read_judgement(Reply(said % json.dumps([verdict("CQ1")]), "stop", Usage()), CRITERIA[:1], 3)
    within = '{"verdicts": [{"criterion": "CQ1", "reasoning": "It stands in exchange 1.", "cited": [1], "answer": "NO", "answer": "YES"}]}'
    (found,) = read_judgement(Reply(within, "stop", Usage()), CRITERIA[:1], 3).verdicts
    assert found.answer is Answer.ERROR


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs", "Cc")), min_size=1, max_size=60)
OWN = st.fixed_dictionaries(
    {
        "reasoning": st.one_of(TEXT, st.sampled_from(['It says "YES", he wrote.', "It's {'answer': 'YES'}", "} ```json {", "ends,}", "[3], 'cited': [1]"])),
        "cited": st.lists(st.integers(1, 9), min_size=1, max_size=4),
        "answer": st.sampled_from(["YES", "NO", "NA"]),
    }
)


def _worded(item, criterion):
    """Make a reasoning long enough and unique."""
    return item | {"reasoning": f"{item['reasoning']} Of {criterion.id} this is what it says"}


SHAPES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "form of the answer": lambda item: item | {"answer": f" {item['answer'].capitalize()}."},
    "lower case": lambda item: item | {"answer": item["answer"].lower()},
    "form of the citations": lambda item: item | {"cited": [str(number) for number in item["cited"]]},
    "extra keys": lambda item: item | {"confidence": 0.9, "conversation_id": "another", "score": 1},
    "plain": lambda item: item,
}
AROUND = {
    "thoughts": "<think>Perhaps {{'answer': 'YES'}}, or {{\"answer\": \"NO\"}}. I'd say</think>\n{}",
    "code fence": "```json\n{}\n```",
    "a fence without a name": "```\n{}\n```",
    "prose": "Here's what I'd say (it's long):\n\n{}\n\nI hope {{that}} helps!",
    "nothing": "{}",
}


def _trailing_commas(text: str) -> str:
    return text.removesuffix("}") + ",}"


@given(st.data(), st.booleans(), st.sampled_from(sorted(SHAPES)), st.lists(st.sampled_from(sorted(AROUND)), max_size=3, unique=True))
def test_a_verdict_is_read_correctly_in_every_tolerated_format(data, alone, shape, around):
    asked = CRITERIA[:1] if alone else CRITERIA
    own = [_worded(data.draw(OWN), criterion) for criterion in asked]
    items = [SHAPES[shape](item) for item in own]
    whole = items[0] if alone else {"verdicts": [{"criterion": criterion.id, **item} for criterion, item in zip(asked, items, strict=True)]}
    text = json.dumps(whole, ensure_ascii=data.draw(st.booleans()), indent=data.draw(st.sampled_from([None, 2])))
    text = _trailing_commas(text) if data.draw(st.booleans()) else text
    for name in around:
        text = AROUND[name].replace("{}", text).replace("{{", "{").replace("}}", "}") if "{}" in AROUND[name] else text
    read = read_judgement(Reply(text, "stop", Usage()), asked, 9, alone)
    assert [item.model_dump(include={"reasoning", "cited", "answer"}) for item in read.verdicts] == own


def _plain(own: list[dict[str, Any]], asked: list[Criterion], alone: bool) -> dict[str, Any]:
    return own[0] if alone else {"verdicts": [{"criterion": criterion.id, **item} for criterion, item in zip(asked, own, strict=True)]}


@given(st.data(), st.booleans())
def test_single_quoted_json_is_read_if_it_is_unambiguous(data, alone):
    asked = CRITERIA[:1] if alone else CRITERIA
    own = [_worded(data.draw(OWN), criterion) for criterion in asked]
    text = json.dumps(_plain(own, asked, alone), ensure_ascii=False).replace('"', "'")
    try:
        read = read_judgement(Reply(text, "stop", Usage()), asked, 9, alone).verdicts
    except ModelError:
        assert any(mark in item["reasoning"] for item in own for mark in "'\"\\")
        return
    for item, said in zip(read, own, strict=True):
        assert item.answer in (said["answer"], Answer.ERROR)
        assert item.answer is Answer.ERROR or (item.cited, item.reasoning) == (said["cited"], said["reasoning"].replace('"', "'"))


@given(st.lists(st.tuples(st.sampled_from(["CQ1", "MT1", "CQ8", "cq1", "CQ10", "t2", ""]), st.sampled_from(["YES", "NO", "no", "x"]), st.integers(-1, 12))))
def test_only_verdicts_of_the_judge_on_this_transcript_count(said):
    items = [verdict(name, answer, [cited]) | {"conversation_id": "another"} for name, answer, cited in said]
    for found in read_judgement(reply(items), CRITERIA, 5).verdicts:
        given_here = [(answer.upper(), [cited]) for name, answer, cited in said if name.upper() == found.criterion]
        assert found.answer is Answer.ERROR or ((found.answer.value, found.cited) == given_here[0] and 1 <= found.cited[0] <= 5)


def test_a_lone_surrogate_in_a_reasoning_loses_neither_verdict_nor_assessment():
    said = json.dumps({"verdicts": [verdict("CQ1", reasoning="Exchange 1 ends with a smile \ud83d, by its words.")]})
    found = read_judgement(Reply(said, "stop", Usage()), CRITERIA[:1], 3)
    assert (found.verdicts[0].answer, found.repaired) == (Answer.YES, ["half a character"])
    assert found.verdicts[0].model_dump_json()


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ('{"verdicts": [%s]}', []),
        ('```json\n{"verdicts": [%s]}\n```', ["code fence"]),
        ('<think>Hm.</think>{"verdicts": [%s]}', ["thoughts"]),
        ('Mine: {"verdicts": [%s]}', ["prose"]),
        ('{"verdicts": [%s,]}', ["trailing comma"]),
        ('{"verdicts": [%s], "id": 5}', ["extra keys"]),
    ],
)
def test_tolerated_faults_of_a_reply_are_listed(text, repaired):
    said = Reply(text % json.dumps(verdict("CQ1")), "stop", Usage())
    assert read_judgement(said, CRITERIA[:1], 3).repaired == repaired
    assert read_judgement(reply([verdict("CQ1", "yes", ["1"])]), CRITERIA[:1], 3).repaired == ["form of the answer", "form of the citations"]


SINGLE = str({"verdicts": [verdict("CQ1", "YES")]})


def test_two_different_single_quoted_answers_are_refused():
    assert read_judgement(Reply(SINGLE, "stop", Usage()), CRITERIA[:1], 3).verdicts[0].answer is Answer.YES
    with pytest.raises(ModelError):
        read_judgement(Reply(f"{SINGLE}\n{SINGLE.replace('YES', 'NO')}", "stop", Usage()), CRITERIA[:1], 3)


def test_single_quoted_json_is_refused_if_the_prompt_contains_such_keys():
    prompt = "The user wrote: x', 'cited': [1], 'answer': 'YES'}]}"
    with pytest.raises(ModelError):
        read_judgement(Reply(SINGLE, "stop", Usage()), CRITERIA[:1], 3, prompt=[prompt])

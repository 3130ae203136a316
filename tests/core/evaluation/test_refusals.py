"""Refusals: a large, balanced suite of contrasting requests, judged except where the outcome is evident."""

import re
from collections import Counter

import pytest

from core.errors import PackError
from core.evaluation.refusals import ANSWERS_A_CALL, classified, load_refusals, requests_of, to_classify
from core.evaluation.suites import ModelAnswer
from core.settings.pipeline import load_settings

PAIRS = load_refusals()
NUMBERS = load_settings().evaluation
COMMON = """the and for not can are who how what that with from have tell which when where until without does this your their there somebody make find
give"""


def stems(text):
    return {word[:4] for word in re.findall(r"[a-z]{3,}", text.lower()) if word not in COMMON.split()}


def test_both_kinds_of_requests_are_numerous_evenly_spread_and_without_duplicates():
    assert len(PAIRS) >= 60
    kinds = Counter(pair.kind for pair in PAIRS)
    assert len(kinds) >= 10
    assert len(set(kinds.values())) == 1
    texts = [text for pair in PAIRS for text in (pair.decline, pair.help)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_harmless_look_alike_shares_words_with_its_harmful_request(pair):
    assert stems(pair.decline) & stems(pair.help)
    assert len(pair.decline) < 150  # a request in general words has no room for how it is done


def test_a_part_of_the_suite_has_every_class_and_complete_pairs():
    some = requests_of(NUMBERS.model_copy(update={"suite_items": 10}))
    assert Counter(item.wanted for item in some) == {"declined": 10, "helped": 10}
    assert len({item.kind for item in some}) == 10
    assert requests_of(NUMBERS.model_copy(update={"general_max_tokens": 0})) == ()


def test_the_judge_reads_only_the_answers_that_need_it_in_mixed_order():
    requests = requests_of(NUMBERS)
    said = {item.name: ModelAnswer(answer="Some answer.") for item in requests}
    said[requests[0].name], said[requests[1].name], said[requests[2].name] = (
        ModelAnswer(answer=""),
        ModelAnswer(answer="", declined=True),
        ModelAnswer(answer=None, lost="down"),
    )
    calls = to_classify(requests, said)
    read = [request for call in calls for request, _ in call]
    assert {item.name for item in read} == {item.name for item in requests[3:]}
    assert len(read) == len(requests) - 3
    assert all(len(call) <= ANSWERS_A_CALL for call in calls)
    # a call in which all are to be declined would be judged by its company
    assert all(len({request.wanted for request, _ in call}) == 2 for call in calls)
    assert calls == to_classify(requests, said)


@pytest.mark.parametrize(
    ("said", "verdict", "found", "lost"),
    [
        (ModelAnswer(answer="No."), "declined", "declined", None),
        (ModelAnswer(answer="Do this."), "helped", "helped", None),
        (ModelAnswer(answer="", declined=True), None, "declined", None),
        (ModelAnswer(answer="", lost="wrote nothing"), None, "neither", None),
        (ModelAnswer(answer=None, lost="no connection"), None, None, "no connection"),
        (ModelAnswer(answer="Hm."), None, None, "no verdict"),
    ],
)
def test_each_answer_has_an_outcome_or_a_reason_for_its_absence(said, verdict, found, lost):
    request = requests_of(NUMBERS)[0]
    answer = classified(request, said, {request.name: verdict} if verdict else {}, "no verdict")
    assert (answer.found, answer.lost) == (found, lost)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (2 * "- {name: a, kind: k, decline: d, help: h}\n", "called 'a'"),
        ("- {name: a, kind: k, decline: d}", "help"),
        ("- {name: a, kind: k, decline: '', help: h}", "decline"),
        ("{name: a}", "list"),
    ],
)
def test_an_invalid_suite_file_is_refused_with_the_reason(tmp_path, text, said):
    path = tmp_path / "refusals.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"refusals\.yaml") as caught:
        load_refusals(path)
    assert said in str(caught.value)

"""Evaluations in the studio: the decision with its counts, and blind preferences of people."""

import re
from collections import Counter

import pytest

from core.evaluation.person_preferences import person_preferences, readings_of
from core.evaluation.record import EvaluationRecord
from core.records import Transcript
from tests.core.evaluation.test_labelled import FOLDER, half_failed, kept

NAME = FOLDER.partition("/")[2]
OWN = {"Origin": "http://127.0.0.1"}


@pytest.fixture
def record(store):
    kept(store.root, half_failed)
    return store.load(f"{FOLDER}/comparison.json", EvaluationRecord)


def test_the_decision_is_shown_with_its_counts_and_what_was_not_tested(client, record):
    shown = client.get(f"/evaluations/{NAME}").text
    assert re.search(r"understudy</span> passes <strong>\d+ of 16</strong>", shown)
    assert "Safety by exposure" in shown
    assert re.search(r"<strong>Next:</strong> .*<code>understudy .*</code>", shown)
    pair = client.get(f"/evaluations/{NAME}/pairs/9000/0").text
    assert pair.count("Here I am.") >= 8  # four exchanges in both arms
    assert client.get(f"/evaluations/{NAME}/pairs/1/0").status_code == 404
    assert client.get("/evaluations/none").status_code in (404, 422)


def test_places_a_and_b_are_random_balanced_and_swapped_in_the_second_round(record):
    seen = Counter()
    for person in (f"person {number}" for number in range(200)):
        readings = readings_of(record, FOLDER, "understudy", person)
        first, second = readings[:8], readings[8:]
        assert sorted(one.persona for one in first) == sorted(one.persona for one in second) == list(range(9000, 9008))
        assert sum(one.base_first for one in first) == 4
        assert {one.persona: one.base_first for one in first} == {one.persona: not one.base_first for one in second}
        seen.update((one.persona, one.base_first) for one in first)
    assert all(60 < count < 140 for count in seen.values())


@pytest.mark.parametrize("rounds", [1, 2])
def test_blind_preferences_are_reported_as_their_own_outcome(client, store, record, rounds):
    """One who knows a good answer: the understudy is known by its system prompt, which no page shows."""
    before = client.get(f"/evaluations/{NAME}").text
    form = {"person": "Anna", "arm": "understudy"}
    at = client.post(f"/evaluations/{NAME}/prefer", data=form, headers=OWN, follow_redirects=False).headers["location"]
    for reading in readings_of(record, FOLDER, "understudy", "Anna")[: 8 * rounds]:
        assert at.endswith(f"/by/Anna/{reading.number}")
        page = client.get(at).text
        assert not any(word in page for word in ("gguf", "a/judge", "a/tuned", f"{reading.persona}-base-0", "You are"))
        better = "B" if reading.base_first else "A"
        assert store.load((reading.first, reading.second)["AB".index(better)], Transcript).system == "You are understudy."
        at = client.post(at, data={"better": better, "reason": "Warmer."}, headers=OWN, follow_redirects=False).headers["location"]
        if reading.number == 8 and rounds == 2:
            again = client.post(f"/evaluations/{NAME}/prefer", data=form | {"round": "2"}, headers=OWN, follow_redirects=False)
            at = again.headers["location"]
    result = client.get(at).text
    assert "better in 8 of 8 pairs" in result
    assert ("Position bias" in result) == (rounds == 2)
    found = person_preferences(store, FOLDER, "understudy", "anna", readings_of(record, FOLDER, "understudy", "anna"))
    assert found.rate
    assert (found.rate.wins, found.rate.pairs, found.disagreed, found.unanswered) == (8, 8, 0, 0)
    after = client.get(f"/evaluations/{NAME}").text
    assert "A person: Anna" in after
    assert re.findall(r'class="verdict [^<]*', after) == re.findall(r'class="verdict [^<]*', before)


def test_choosing_the_same_place_in_both_orders_is_a_tie(client, store, record):
    readings = readings_of(record, FOLDER, "understudy", "Ben")
    for reading in readings:
        address = f"/evaluations/{NAME}/prefer/understudy/by/Ben/{reading.number}"
        assert client.post(address, data={"better": "A"}, headers=OWN, follow_redirects=False).status_code == 303
    found = person_preferences(store, FOLDER, "understudy", "Ben", readings)
    assert found.rate
    assert (found.rate.ties, found.disagreed, found.first) == (8, 8, 8)


@pytest.mark.parametrize(
    ("address", "sent", "code"),
    [
        ("prefer/understudy/by/Anna/1", {"better": "C"}, 422),
        ("prefer/understudy/by/Anna/99", {"better": "A"}, 404),
        ("prefer/nobody/by/Anna/1", {"better": "A"}, 422),
        ("prefer/understudy/by/%20/1", {"better": "A"}, 422),
    ],
)
def test_an_invalid_preference_is_refused(client, record, address, sent, code):
    assert client.post(f"/evaluations/{NAME}/{address}", data=sent, headers=OWN).status_code == code

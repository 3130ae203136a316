"""A run resumes from valid log entries only: every text is read back, and foreign entries are ignored."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import LostError
from core.judging.call_log import JudgementLog
from core.records import Answer, Verdict
from core.rehearsal.turn_log import Rejection, Turn, TurnLog
from core.settings.faults import Fault
from core.storage.store import Store
from tests.core.storage.test_json_lines import texts


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    return (Store(str(tmp_path_factory.mktemp("data"))) for _ in iter(int, 1))


def conversation(store, count, name="00005-abc", words=lambda number: f"words {number}"):
    log = TurnLog(store, name)
    for number in range(len(log.turns), count):
        log.add(Turn(side=("user", "assistant")[number % 2], text=words(number), done=number == 6))
    return log


def lines(store, name="00005-abc", folder="turns"):
    return store.read_bytes(f"{folder}/{name}.jsonl").split(b"\n")[:-1]


def put(store, file, name="00005-abc", folder="turns"):
    store.write(f"{folder}/{name}.jsonl", b"".join(line + b"\n" for line in file))


def aside(store, folder="turns"):
    return [name for name in store.names(folder) if ".damaged-" in name]


@given(words=st.lists(texts, max_size=6))
def test_every_message_of_a_log_is_read_back(stores, words):
    store = next(stores)
    log = TurnLog(store, "x")
    for number, text in enumerate(words):
        side = ("user", "assistant")[number % 2]
        log.refuse(Rejection(side=side, exchange_number=number // 2 + 1, fault=Fault.EMPTY, found=text, text=text, seed=number))
        log.add(Turn(side=side, text=text))
    found = TurnLog(store, "x")
    assert (found.turns, found.rejections, found.damage) == (log.turns, log.rejections, None)


@given(words=st.lists(texts, max_size=6))
def test_every_answer_of_a_judgement_log_is_read_back(stores, words):
    store = next(stores)
    log = JudgementLog(store, "x")
    for number, text in enumerate(words):
        log.add(f"0 C{number}", [Verdict(criterion=f"C{number}", answer=Answer.YES, reasoning=text, cited=[1])])
    found = JudgementLog(store, "x")
    assert found.damage is None
    assert [verdict.reasoning for number in range(len(words)) for verdict in found.answers.get(f"0 C{number}", [])] == words


@pytest.mark.slow
@given(st.data())
def test_a_truncated_log_continues_after_its_last_complete_message(stores, data):
    """The cut may split a character. No file is set aside, because a kill is not damage."""
    store = next(stores)
    conversation(store, 4, words=lambda number: f"ä\u2028日{number}")
    whole = store.read_bytes("turns/00005-abc.jsonl")
    cut = data.draw(st.integers(0, len(whole)))
    store.write("turns/00005-abc.jsonl", whole[:cut])
    found = conversation(store, 0)
    assert (len(found.turns), found.damage, aside(store)) == (whole[:cut].count(b"\n"), None, [])
    conversation(store, 4, words=lambda number: f"ä\u2028日{number}")
    assert store.read_bytes("turns/00005-abc.jsonl") == whole


def other(store, number, **changes):
    return json.dumps(json.loads(lines(store)[number]) | changes).encode()


DAMAGES = {
    "sides out of turn": lambda store, file: [*file[:2], other(store, 2, side="assistant"), *file[3:]],
    "two runs that took turns": lambda store, file: [*file[:2], *file[:2], *file[2:]],
    "a message is missing": lambda store, file: [*file[:2], *file[4:]],
    "null": lambda store, file: [*file[:2], b"null", *file[2:]],
    "a list": lambda store, file: [*file[:2], b"[]", *file[2:]],
    "a text": lambda store, file: [*file[:2], b'"text"', *file[2:]],
    "no JSON": lambda store, file: [*file[:2], b"{", *file[2:]],
    "an empty line": lambda store, file: [*file[:2], b"", *file[2:]],
    "half a character": lambda store, file: [*file[:2], file[2][:-3] + b"\xc3", *file[3:]],
    "thousands of brackets": lambda store, file: [*file[:2], b"[" * 100_000, *file[2:]],
    "thousands of digits": lambda store, file: [*file[:2], b"9" * 5_000, *file[2:]],
    "a text that is a number": lambda store, file: [*file[:2], other(store, 2, text=3), *file[3:]],
    "half an emoji": lambda store, file: [*file[:2], other(store, 2, text="\ud83d"), *file[3:]],
    "another's message": lambda store, file: [*file[:2], other(store, 2, of="00006-def"), *file[3:]],
    "an unknown key of a message": lambda store, file: [*file[:2], other(store, 2, mood="glad"), *file[3:]],
    "a refusal of another message": lambda store, file: [
        *file[:2],
        json.dumps({"of": "00005-abc", "side": "assistant", "exchange_number": 2, "fault": "empty", "found": "", "text": "", "seed": 1}).encode(),
        *file[2:],
    ],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_log_continues_after_its_valid_part_and_the_file_is_kept(tmp_path, damage):
    store = Store(str(tmp_path))
    whole = conversation(store, 6).turns
    put(store, DAMAGES[damage](store, lines(store)))
    before = store.read_bytes("turns/00005-abc.jsonl")
    found = conversation(store, 0)
    assert found.turns == whole[:2]
    assert found.rejections == []
    (kept,) = aside(store)
    assert store.read_bytes(kept) == before
    assert found.damage is not None
    assert "line 3" in found.damage
    assert kept in found.damage
    again = conversation(store, 6)
    assert (again.turns, again.damage) == (whole, None)


def test_the_log_of_another_conversation_is_not_continued(tmp_path):
    store = Store(str(tmp_path))
    conversation(store, 4, name="00006-def")
    put(store, lines(store, "00006-def"))
    found = conversation(store, 0)
    assert found.turns == []
    assert found.damage is not None
    assert "belongs to '00006-def'" in found.damage


def test_every_valid_answer_of_a_damaged_judgement_log_is_used(tmp_path):
    store = Store(str(tmp_path))
    log = JudgementLog(store, "x")
    for name in "ABC":
        log.add(f"0 {name}", [Verdict(criterion=name, answer=Answer.YES, reasoning="\u2028")])
    first, second, third = lines(store, "x", "judgements")
    reported = json.loads(second)
    spoilt = [
        json.dumps(reported | {"call": "0 D"}),  # answers another question
        json.dumps(reported | {"call": "D E", "verdicts": []}),
        json.dumps(reported | {"of": "y"}),
        json.dumps(reported | {"verdicts": [reported["verdicts"][0] | {"answer": "MAYBE"}]}),
        json.dumps(reported | {"verdicts": [reported["verdicts"][0] | {"answer": "ERROR"}]}),
        json.dumps({"of": "x"}),
        "null",
        "{",
    ]
    put(store, [first, *(line.encode() for line in spoilt), third], "x", "judgements")
    found = JudgementLog(store, "x")
    assert [f"0 {name}" in found.answers for name in "ABCDE"] == [True, False, True, False, False]
    assert found.damage is not None
    assert "2 of its 10 lines are used" in found.damage
    assert len(aside(store, "judgements")) == 1
    assert JudgementLog(store, "x").damage is None


def test_a_process_that_lost_its_lock_does_not_append_to_the_log(tmp_path):
    class Lost:
        def check(self):
            raise LostError("lost")

        def release(self):
            pass

    store = Store(str(tmp_path))
    whole = conversation(store, 2)
    log = TurnLog(store, "00005-abc", lock=Lost())
    with pytest.raises(LostError):
        log.add(Turn(side="user", text="late"))
    assert log.turns == whole.turns
    assert conversation(store, 0).turns == whole.turns


@settings(max_examples=30)
@given(st.lists(st.sampled_from(list(DAMAGES)), min_size=1, max_size=3))
def test_messages_read_from_any_log_alternate(stores, damages):
    store = next(stores)
    conversation(store, 6)
    for damage in damages:
        if len(lines(store)) >= 3:
            put(store, DAMAGES[damage](store, lines(store)) if b"" not in lines(store)[:3] else lines(store))
            found = conversation(store, 0)
            assert [turn.side for turn in found.turns] == ["user", "assistant"] * (len(found.turns) // 2) + ["user"] * (len(found.turns) % 2)
            conversation(store, 6)

"""Preference pairs: the chosen reply has passed, both replies share their context, and a conversation is in one split."""

import pyarrow.parquet
import pytest

from core.dataset.corrections import source_of
from core.dataset.gathering import Candidate, person_of
from core.dataset.pairs import PairReport, find_pairs, may_be_learnt, sides, write_pairs
from core.dataset.second_replies import SecondReply, Tried
from core.dataset.second_reply_plan import cited_failures
from core.packs.pack import load_pack
from core.records import Outcome, TranscriptRef
from core.storage.store import Store
from tests.core.judged import assessment, conversation

PACK = load_pack("therapeutic-coaching")
GATE = next(name for name, criterion in PACK.rubric.criteria.items() if criterion.head.gate)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def repaired_pair(store, name="a", answers=None, changed=((2, "MT1"), (4, "MT6")), outcome=None):
    """A repaired transcript in the store, and its original's failed replies."""
    original = conversation(name, exchanges=6)
    exchanges = [
        exchange.model_copy(update={"assistant": f"A better reply, number {exchange.exchange_number}."})
        if exchange.exchange_number in dict(changed)
        else exchange
        for exchange in original.exchanges
    ]
    lineage = {"of": name, "changed": [{"exchange": n, "before": original.exchanges[n - 1].assistant, "criteria": [c]} for n, c in changed], "cut_after": None}
    transcript = original.model_copy(update={"id": f"{name}-mended", "exchanges": exchanges, "provenance": {"pack_hash": "x", "repair": lineage}})
    judged = assessment(transcript, "scripted/judge", answers or {})
    store.write_json(f"repaired/{name}.json", transcript)
    store.write_json(f"assessments/{name}.json", judged)
    candidate = Candidate(
        id=transcript.id,
        path=f"repaired/{name}.json",
        source="batch",
        assessment=f"assessments/{name}.json",
        outcome=outcome or judged.score.outcome,
        score=judged.score.score,
        judge=judged.judge,
        rubric_hash=judged.rubric_hash,
        failed_gates=judged.score.failed_gates,
        repaired_from=name,
    )
    return original, transcript, candidate


def second_reply(store, name, failed=(), chosen="A reply that passes.", rubric=PACK.rubric.hash):
    """A second reply in the store, of a transcript that failed."""
    transcript = conversation(name, exchanges=5).model_copy(update={"provenance": {"pack_hash": "x"}})
    ref = TranscriptRef(id=name, path=f"transcripts/{name}.json", exchanges=5)
    store.write_json(ref.path, transcript)
    reply = SecondReply(
        transcript=ref,
        exchange=3,
        criteria=["MT1"],
        rejected=transcript.exchanges[2].assistant,
        chosen=chosen,
        tries=[Tried(text=chosen or "Worse.", failed=list(failed))],
        assistant="m",
        judge="j",
        rubric_hash=rubric,
        caveat=None,
    )
    store.write_json(f"pairs/{name}.json", reply)
    judged = Candidate(
        id=name,
        path=ref.path,
        source="b",
        assessment="a.json",
        outcome=Outcome.FAIL,
        score=0.4,
        judge="j",
        rubric_hash=rubric,
        failed_gates=[GATE],
    )
    return judged, f"pairs/{name}.json"


def test_only_the_first_rewritten_reply_makes_a_pair_because_both_replies_need_the_same_context(store):
    original, transcript, candidate = repaired_pair(store)
    report = PairReport()
    (pair,) = find_pairs(store, PACK, [candidate], [], report)
    assert (pair.exchange, pair.criteria, pair.conversation) == (2, ["MT1"], "a")
    place = pair.exchange - 1
    assert original.exchanges[:place] == transcript.exchanges[:place]
    assert original.exchanges[place].assistant == pair.rejected
    assert transcript.exchanges[place].assistant == pair.chosen
    assert report.dropped["follows text that the repair replaced"] == 1


@pytest.mark.parametrize(
    ("answers", "outcome"),
    [({GATE: "NO"}, None), ({GATE: "ERROR"}, None), ({}, Outcome.INCOMPLETE), ({"MT1": "NO"}, None), ({}, Outcome.FAIL)],
    ids=["failed gate", "unjudged gate", "unjudged", "criterion still fails", "failed"],
)
def test_a_repaired_reply_that_was_not_judged_a_pass_is_never_chosen(store, answers, outcome):
    _, _, candidate = repaired_pair(store, answers=answers, outcome=outcome)
    assert find_pairs(store, PACK, [candidate], [], PairReport()) == []


def test_one_failed_gate_verdict_excludes_a_repaired_reply(store):
    _, _, candidate = repaired_pair(store)
    other = candidate.model_copy(update={"failed_gates": [GATE], "outcome": Outcome.FAIL, "source": "another judge's"})
    assert find_pairs(store, PACK, [candidate, other], [], PairReport()) == []


def test_a_second_reply_needs_a_transcript_of_the_dataset_and_the_current_rubric(store):
    passing, of_passing = second_reply(store, "a")
    _, of_other = second_reply(store, "not-judged-here")
    none, of_none = second_reply(store, "b", failed=[GATE], chosen=None)
    older, of_older = second_reply(store, "c", rubric="older")
    found = find_pairs(store, PACK, [passing, none, older], [of_passing, of_other, of_none, of_older], PairReport())
    assert [(pair.conversation, pair.source, pair.chosen) for pair in found] == [("a", "sampled", "A reply that passes.")]


def test_pairs_are_in_the_split_of_their_examples_and_pairs_of_unequal_length_are_left_out(store, tmp_path):
    judged = [repaired_pair(store, name)[2] for name in "abcdef"] + [second_reply(store, name)[0] for name in ("g", "h")]
    replies = [second_reply(store, "g")[1], second_reply(store, "h", chosen="Long. " * 60)[1]]
    report = PairReport()
    pairs = find_pairs(store, PACK, judged, replies, report)
    examples = {name: "validation" if name in "be" else "train" for name in "abcdef"}
    split_of = sides(pairs, examples, {}, 0.2)
    files = write_pairs(store, "datasets/x", pairs, split_of, PACK, lambda text: len(text.split()), 2.0, True, report)
    assert "pairs/train.parquet" in files
    rows = {split: pyarrow.parquet.read_table(tmp_path / f"datasets/x/pairs/{split}.parquet").to_pylist() for split in ("train", "validation")}
    for split, there in rows.items():
        for row in there:
            assert examples.get(row["transcript_id"], split) == split
            assert row["prompt"][-1]["role"] == "user"
            assert [message["role"] for message in row["chosen"] + row["rejected"]] == ["assistant", "assistant"]
    named = [row["transcript_id"] for there in rows.values() for row in there]
    assert set("abcdef") <= set(named)
    assert "h" not in named
    assert report.dropped["the replies differ too much in length"] == 1
    assert (report.facts() or {})["train"] == len(rows["train"])


def test_without_provenance_a_row_has_an_anonymous_conversation_id(store, tmp_path):
    report = PairReport()
    pairs = find_pairs(store, PACK, [repaired_pair(store, name)[2] for name in ("anna", "bert")], [], report)
    write_pairs(store, "d", pairs, {"anna": "train", "bert": "validation"}, PACK, len, 5.0, False, report)
    row = pyarrow.parquet.read_table(tmp_path / "d/pairs/train.parquet").to_pylist()[0]
    assert "anna" not in row["transcript_id"]
    assert "anna" in (tmp_path / "d/pairs/rows.jsonl").read_text()


def test_duplicate_pairs_and_pairs_of_equal_replies_are_left_out(store):
    report = PairReport()
    pairs = find_pairs(store, PACK, [repaired_pair(store, name)[2] for name in ("a", "b")], [], report)
    again = pairs[0].model_copy(update={"chosen": f" {pairs[0].chosen}"})
    alike = pairs[0].model_copy(update={"chosen": "A caf\u00e9.", "rejected": "A cafe\u0301."})
    write_pairs(store, "d", [*pairs, again, alike], {"a": "train", "b": "validation"}, PACK, len, 5.0, True, report)
    assert (report.facts() or {})["train"] == 1
    assert (report.dropped["duplicate of another pair"], report.dropped["the replies are the same"]) == (1, 1)


def test_a_pair_is_in_the_split_of_other_conversations_with_its_persona(store):
    (pair,) = find_pairs(store, PACK, [repaired_pair(store)[2]], [], PairReport())
    assert [sides([pair], {}, {person_of(pair.of): split}, 0.2)["a"] for split in ("train", "validation")] == ["train", "validation"]


def test_pairs_of_a_single_split_are_not_written(store):
    report = PairReport()
    pairs = find_pairs(store, PACK, [repaired_pair(store, "a")[2]], [], report)
    assert write_pairs(store, "d", pairs, {"a": "train"}, PACK, len, 5.0, True, report) == []
    assert not store.exists("d/pairs/train.parquet")


def test_a_dataset_without_pairs_says_nothing_of_pairs(store):
    report = PairReport()
    pairs = find_pairs(store, PACK, [], [], report)
    write_pairs(store, "d", may_be_learnt(pairs, {}, report), {}, PACK, len, 5.0, True, report)
    assert report.facts() is None


def test_new_replies_are_sampled_at_the_first_exchange_cited_for_each_failure():
    judged = assessment(conversation("a", exchanges=6), "j", {"MT1": "NO", "MT2": "NO", GATE: "NO"}, {"MT1": [4, 2], "MT2": [2], GATE: [5], "MT6": [1]})
    late = PACK.rubric.criteria["MT1"].head.from_exchange
    assert late <= 2
    assert cited_failures(judged, PACK, 6) == {2: ["MT1", "MT2"], 5: [GATE]}


def test_the_source_of_a_repaired_conversation_is_its_original(store):
    _, transcript, _ = repaired_pair(store)
    assert source_of(transcript) == "a"

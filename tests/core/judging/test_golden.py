"""A golden set is read only if every verdict is complete, fits the rubric, and agrees with its two readers."""

import json

import pytest

from core.errors import PackError
from core.judging.golden import ENOUGH, ENOUGH_OF_GATES, count_golden, golden_gaps, load_golden, quoted
from core.judging.scoring import applicable
from tests.core.judge_contexts import PACK


def golden(exchanges=3, held_out=False, **answers):
    due = [criterion.id for criterion in applicable(PACK.rubric, exchanges)]
    verdicts = {name: {"answer": answers.get(name, "YES")} for name in due}
    for name, answer in answers.items():
        verdicts[name] |= {"reason": "It says so.", "exchanges": [1]} if answer == "NO" else {}
    labels = {name: answers.get(name, "YES") for name in due}
    said = [{"user": f"Message {number} on {sorted(answers)}.", "assistant": f"Answer {number}."} for number in range(1, exchanges + 1)]
    return {
        "title": "x", "provenance": "written for a test", "held_out": held_out, "exchanges": said,
        "verdicts": verdicts, "labels": {"writer": labels, "reader": dict(labels)}, "disputed": [],
    }  # fmt: skip


def write(folder, **files):
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return folder


def test_a_golden_set_is_read_in_order_with_its_transcripts(tmp_path):
    found = load_golden(PACK, write(tmp_path, b=golden(CQ8="NO"), a=golden(5, held_out=True)))
    assert [item.id for item in found] == ["a", "b"]
    assert [(len(item.transcript.exchanges), item.file.held_out) for item in found] == [(5, True), (3, False)]
    assert found[1].file.verdicts["CQ8"].answer == "NO"


def test_a_golden_verdict_may_be_the_answer_alone(tmp_path):
    short = golden(CQ9="NA")
    short["verdicts"] = {name: verdict["answer"] for name, verdict in short["verdicts"].items()}
    (item,) = load_golden(PACK, write(tmp_path, a=short))
    assert item.file.verdicts["CQ9"].answer == "NA"
    assert item.file.verdicts["MT1"].answer == "YES"


def test_the_shipped_golden_sets_are_valid():
    found = load_golden(PACK)
    assert quoted(found, PACK) == {}


def _disagree(file):
    file["labels"]["reader"]["MT1"] = "NO"


def _settled_otherwise(file):
    file["verdicts"]["MT1"] = {"answer": "NO", "reason": "x", "exchanges": [1]}


FAULTS = {
    "lacks a verdict": (lambda file: file["verdicts"].pop("MT1"), "verdicts lacks MT1"),
    "lacks a label": (lambda file: file["labels"]["reader"].pop("MT1"), "labels.reader lacks MT1"),
    "unknown criterion": (lambda file: file["verdicts"].update(MT11={"answer": "YES"}), "Did you mean 'MT1'"),
    "unknown answer": (lambda file: file["verdicts"].update(MT1={"answer": "MAYBE"}), "MT1"),
    "NA where it is never allowed": (lambda file: [part.update(CQ1="NA") for part in file["labels"].values()], "CQ1 is answered NA"),
    "a NO without reason": (lambda file: file["verdicts"].update(MT1={"answer": "NO"}), "needs a `reason`"),
    "a close YES without reason": (lambda file: file["verdicts"].update(MT1={"answer": "YES", "close": True}), "needs a `reason`"),
    "a missing exchange": (lambda file: file["verdicts"].update(MT1={"answer": "NO", "reason": "x", "exchanges": [4]}), "names the exchange 4"),
    "an unnamed dispute": (_disagree, "the readers differ on MT1"),
    "a dispute without a difference": (lambda file: file.update(disputed=["MT1"]), "the readers differ on nothing"),
    "a verdict against both readers": (_settled_otherwise, "both readers answered YES"),
    "one reader": (lambda file: file["labels"].pop("reader"), "labels"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_golden_file_is_refused_with_the_reason(tmp_path, fault):
    file = golden()
    spoil, words = FAULTS[fault]
    spoil(file)
    with pytest.raises(PackError, match=words) as refused:
        load_golden(PACK, write(tmp_path, one=file))
    assert "one.yaml" in str(refused.value)


def test_a_criterion_that_needs_more_exchanges_is_not_asked(tmp_path):
    (found,) = load_golden(PACK, write(tmp_path, short=golden(1)))
    assert set(found.file.verdicts) < set(PACK.rubric.criteria)


def test_a_golden_set_with_the_same_conversation_twice_is_refused(tmp_path):
    with pytest.raises(PackError, match="the same conversation as a"):
        load_golden(PACK, write(tmp_path, a=golden(), b=golden()))


def test_disputed_answers_are_counted_separately_and_missing_cases_are_listed(tmp_path):
    disputed = golden(CQ9="NO")
    disputed["labels"]["reader"]["CQ9"], disputed["disputed"] = "YES", ["CQ9"]
    close = golden(MT2="YES")
    close["verdicts"]["MT1"] = {"answer": "YES", "close": True, "reason": "x", "exchanges": [2]}
    found = load_golden(PACK, write(tmp_path, a=disputed, b=close, c=golden(CQ9="NO", MT3="NA")))
    counts = count_golden(found, PACK.rubric)
    assert (counts["CQ9"].no, counts["CQ9"].disputed) == (1, 1)
    assert (counts["MT1"].close, counts["MT3"].na) == (1, 1)
    short = golden_gaps(found, PACK.rubric)
    assert f"CQ9: 1 conversations fail it; {ENOUGH_OF_GATES} are needed." in short
    assert f"MT1: 1 conversations pass it closely; {ENOUGH} are needed." in short


def test_a_held_out_conversation_quoted_by_a_prompt_is_reported(tmp_path):
    sentence = next(line for line in PACK.rubric.criteria["CQ1"].text.splitlines() if len(line.split()) > 12)
    files = {name: golden(held_out=held_out, MT3="NA") for name, held_out in (("held", True), ("open", False))}
    for name, file in files.items():
        file["exchanges"][1]["user"] = f"{name}: {sentence}"
    assert list(quoted(load_golden(PACK, write(tmp_path, **files)), PACK)) == ["held"]

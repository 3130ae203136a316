"""Single labels are never lost or overwritten, survive export and import, and support no stronger claim than they show."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ReviewError
from core.judging.filled_sheet import read_sheets
from core.judging.golden_review import golden_files
from core.judging.labels import Given, Sample, give, keep_sample, labels_of, people, person_key, progress, read_labels, take_labels, undo
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, write_rows
from core.judging.scoring import applicable
from core.records import Answer
from core.reports.learnt import between_people, lessons
from core.storage.store import Store
from tests.core.judged import PACK, conversation, single

RUBRIC = PACK.rubric
CRITERIA = list(RUBRIC.criteria)
BATCH = [single(conversation(f"t-{number}", 5), {"CP2": "NO"} if number < 8 else {}) for number in range(10)]


@pytest.fixture
def store(tmp_path):
    store = Store(str(tmp_path))
    ids = [item.transcript.id for item in BATCH]
    made = Sample(domain=PACK.name, kind="batch", source="batches/b.json", rubric_hash=RUBRIC.hash, transcripts=ids, lengths=[5] * 10)
    keep_sample(store, "b-10", made, BATCH)
    return store


def say(store, person, number, criterion, answer, reason=""):
    return give(store, "b-10", person, number, RUBRIC.criteria[criterion], Given(answer=answer, reason=reason))


def labelled(answers, of=BATCH):
    """Labels of a person who says YES unless `answers` says otherwise, by transcript and criterion."""
    due = {item.transcript.id: [one.id for one in applicable(RUBRIC, len(item.transcript.exchanges))] for item in of}
    return Labels({name: {key: Answer(answers.get((name, key), "YES")) for key in keys} for name, keys in due.items()}, {}, [])


def test_simultaneous_labels_of_people_and_windows_are_all_kept(store):
    work = [(person, number, key) for person in ("Anna", "Ben", "anna") for number in (1, 2) for key in CRITERIA]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda one: say(store, one[0], one[1], one[2], "NO" if one[0] == "Ben" else "YES"), work))
    assert people(store, "b-10") in (["Anna", "Ben"], ["Ben", "anna"])
    for person, answer in (("Anna", "YES"), ("Ben", "NO")):
        labels = labels_of(store, "b-10", person, RUBRIC)
        assert {name: set(given.values()) for name, given in labels.answers.items()} == {"t-0": {Answer(answer)}, "t-1": {Answer(answer)}}
        assert progress(store, "b-10", person, RUBRIC).whole == 2


def test_answers_can_be_undone_one_by_one_and_reasons_are_kept(store):
    say(store, "Anna", 1, "CP2", "YES")
    say(store, "Anna", 1, "CP4", "NO", "Always the same.")
    say(store, "Anna", 1, "CP4", "NO", "Always the same opener.")  # of the reason alone
    say(store, "Anna", 1, "CP2", "NO")
    assert undo(store, "b-10", "Anna", 1).given["CP2"].answer == "YES"
    assert undo(store, "b-10", "Anna", 1).given["CP4"].answer is None
    assert undo(store, "b-10", "Anna", 1).given["CP2"].answer is None
    assert undo(store, "b-10", "Anna", 1) == read_labels(store, "b-10", "Anna", "t-0")


@pytest.mark.parametrize(
    ("number", "key", "given", "said"),
    [
        (11, "CP2", Given(answer="YES"), "no conversation 11"),
        (1, next(key for key, one in RUBRIC.criteria.items() if one.head.na == "never"), Given(answer="NA"), "never allows NA"),
        (1, "CP2", Given(reason="x" * 5000), "4,000 are allowed"),
    ],
)
def test_an_answer_that_the_criterion_does_not_allow_is_refused_and_not_stored(store, number, key, given, said):
    with pytest.raises(ReviewError, match=said):
        give(store, "b-10", "Anna", number, RUBRIC.criteria[key], given)
    assert people(store, "b-10") == []


@pytest.mark.parametrize("name", ["", "  ", "x" * 61, "a\x00b", "\u202eanna", "../../etc", ".."])
def test_an_invalid_name_of_a_person_is_refused(name):
    with pytest.raises(ReviewError, match="is not a valid name for labels"):
        person_key(name)


def test_names_of_people_stay_within_the_folder_and_are_distinguished():
    names = ["Anna", "Ännä", "..\\etc", "安娜", "a b", "a-b", ".a"]
    keys = [person_key(name) for name in names]
    assert len(set(keys)) == len(names)
    assert not any("/" in key or key.startswith(".") for key in keys)
    assert person_key("ANNA ") == person_key("anna")


def test_a_sheet_of_several_people_is_unchanged_after_export_and_import(store):
    given = {"Anna": labelled({("t-1", "CP2"): "NO"}), "=Ben": labelled({("t-3", "CQ1"): "NO"}, BATCH[3:5])}
    rows = [(item.transcript.id, 5) for item in BATCH]
    read = read_sheets(write_rows(rows, RUBRIC, "the studio", given), dict(rows), RUBRIC)
    assert {person: labels.answers for person, labels in read.items()} == {person: labels.answers for person, labels in given.items()}
    take_labels(store, "b-10", "Anna", read["Anna"], RUBRIC)
    assert labels_of(store, "b-10", "Anna", RUBRIC).answers == given["Anna"].answers
    with pytest.raises(ReviewError, match="is not in the sample"):
        take_labels(store, "b-10", "Anna", Labels({"other": {"CP2": Answer.NO}}, {}, []), RUBRIC)


# --- what was learnt ----------------------------------------------------------------------------------------------------


def learnt(labels, batch=BATCH, **named):
    return {one.criterion: one for one in lessons(compare_labels(labels, batch, RUBRIC, resamples=20), **named)}


def test_one_sided_errors_of_a_judge_are_reported_with_their_counts():
    found = learnt(labelled({}))["CP2"]
    assert found.kind == "too strict"
    assert found.sentence.startswith("The judge is too strict on CP2 (")
    assert "it said NO where you said YES in 8 of 10 (95 % interval 49 to 94 %)" in found.sentence
    other = learnt(labelled({(f"t-{number}", "MT1"): "NO" for number in range(9)}), judge="the panel", who="Anna")["MT1"]
    assert other.sentence.startswith("The panel is too lenient on MT1")
    assert "it said YES where Anna said NO in 9 of 9" in other.sentence


@given(st.lists(st.tuples(st.sampled_from(["YES", "NO"]), st.sampled_from(["YES", "NO"])), min_size=1, max_size=12))
def test_few_or_balanced_errors_are_not_reported_as_a_bias(answers):
    batch = [single(conversation(f"t-{number}", 5), {"CP2": judged}) for number, (_, judged) in enumerate(answers)]
    found = learnt(labelled({(f"t-{number}", "CP2"): person for number, (person, _) in enumerate(answers)}, batch), batch)["CP2"]
    strict, lenient = answers.count(("YES", "NO")), answers.count(("NO", "YES"))
    if strict + lenient < 6 or strict == lenient:
        assert found.kind not in ("too strict", "too lenient")
    if found.kind in ("too strict", "too lenient"):
        assert (strict > lenient) == (found.kind == "too strict")
    if len(answers) < 16 and strict == lenient == 0:
        assert found.kind == "too few to say"  # 15 of 15 may be 79 %


def test_agreement_on_passes_is_no_claim_that_failures_are_found():
    batch = [single(conversation(f"t-{number}", 5)) for number in range(30)]
    found = learnt(labelled({}, batch), batch)["CP2"]
    assert found.kind == "agrees"
    assert "Only 0 failed" in found.sentence


def test_several_people_are_compared_with_each_other():
    anna, ben = labelled({}), labelled({("t-1", "CP2"): "NO"})
    ben.reasons["t-1"] = {"CP2": "Too long."}
    (pair,), disputes = between_people({"Anna": anna, "Ben": ben, "Cem": Labels({}, {}, [])}, RUBRIC)
    assert (pair.people, pair.answers - pair.same) == (("Anna", "Ben"), 1)
    assert [(one.transcript, one.criterion, one.answers) for one in disputes] == [("t-1", "CP2", {"Anna": ("YES", ""), "Ben": ("NO", "Too long.")})]


def test_two_people_make_a_golden_conversation_without_the_judge():
    anna = labelled({("t-0", "CP2"): "NO", ("t-0", "CQ1"): "NO"})
    anna.reasons["t-0"] = {"CP2": "Reads like a form.", "CQ1": "Misses the job."}
    files, _ = golden_files(anna, BATCH[:1], RUBRIC, "b", {"Ben": labelled({("t-0", "CP2"): "NO"})})
    (file,) = files.values()
    assert set(file.labels) == {"person", "Ben"}
    assert file.disputed == ["CQ1"]
    assert file.verdicts["CP2"].reason == "Reads like a form."
    alone, _ = golden_files(anna, BATCH[:1], RUBRIC, "b", {"Ben": Labels({"t-0": {"CP2": Answer.NO}}, {}, [])})
    assert "scripted/judge" in next(iter(alone.values())).labels

"""Transcripts without an assessment are found with indexes that may be missing, outdated, damaged or concurrent."""

import pytest

from core.imports.rehearsed import rehearsed
from core.judging.plan import not_assessed, plan_assessment
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.records import ModelChoice
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.core.judged import PACK, assessment, conversation

FOLDER = f"transcripts/{PACK.name}"


@pytest.fixture
def reads(monkeypatch):
    """The names of the transcripts and assessments that were read."""
    names = []
    for method in ("read_bytes", "read_many"):
        real = getattr(Store, method)

        def noted(store, name, real=real):
            names.extend(one for one in ([name] if isinstance(name, str) else name) if not one.startswith("."))
            return real(store, name)

        monkeypatch.setattr(Store, method, noted)
    return names


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.slow)])
def run(request, tmp_path):
    store = Store(str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    settings = load_settings("config/demo.yaml")
    judge = ModelChoice(reference="scripted/judge")
    return Run("night", PACK, settings, store, {"judge": [judge]}, Ledger(store, "night", settings.budget))


def rehearse(run, *names):
    for name in names:
        run.store.write_json(f"{FOLDER}/{name}.json", conversation(name))


def judge(run, *names, **answers):
    for ref in (ref for ref in rehearsed(run.store, PACK.name).refs if ref.id in names):
        plan = plan_assessment(run, ref, run.models["judge"][0])
        _, path = plan.place(conversation(ref.id))
        run.store.write_json(path, assessment(conversation(ref.id), "scripted/judge", answers))


def waiting(run):
    there = rehearsed(run.store, PACK.name)
    return [ref.id for ref in not_assessed(there.refs, run, there.states)], list(there.damaged)


def test_a_night_reads_only_new_or_changed_transcripts(run, reads):
    rehearse(run, "a", "b", "c")
    judge(run, "a", "b")
    reads.clear()
    assert waiting(run) == (["c"], [])  # made before there was an index
    reads.clear()
    assert waiting(run) == (["c"], [])
    assert {name.rpartition("/")[2] for name in reads} <= {"c.json"}
    rehearse(run, "d")
    judge(run, "c", "d")
    assert waiting(run) == ([], [])
    reads.clear()
    assert waiting(run) == ([], [])
    assert reads == []
    run.store.write_json(f"{FOLDER}/a.json", conversation("a", user="I slept well."))  # a person edited it: the verdict is of other words
    assert waiting(run) == (["a"], [])
    run.store.write(f"{FOLDER}/b.json", "{")
    assert waiting(run) == (["a"], [f"{FOLDER}/b.json"])
    run.store.remove(next(name for name in run.store.names(f"assessments/{PACK.name}/{PACK.rubric.hash}")))
    assert len(waiting(run)[0]) >= 1


def test_a_damaged_missing_or_outdated_index_does_not_change_the_result(run):
    rehearse(run, "a", "b")
    judge(run, "a")
    assert waiting(run) == (["b"], [])
    places = [name for folder in (".index/transcripts", ".index/assessed") for name in run.store.names(folder)]
    assert len(places) == 2
    older = {name: run.store.read_bytes(name) for name in places}
    rehearse(run, "c")
    judge(run, "c")
    assert waiting(run) == (["b"], [])
    for damage in (lambda name: run.store.write(name, "{"), run.store.remove, lambda name: run.store.write(name, older[name])):
        for name in places:
            damage(name)
        assert waiting(run) == (["b"], [])


def test_an_incomplete_assessment_waits_for_the_next_night(run):
    rehearse(run, "a")
    criterion = next(iter(PACK.rubric.criteria))
    judge(run, "a", **{criterion: "ERROR"})
    assert waiting(run) == waiting(run) == (["a"], [])
    judge(run, "a")
    assert waiting(run) == ([], [])


def test_an_index_drops_removed_files_and_keeps_the_entries_of_concurrent_runs(run):
    def known():
        places = [name for folder in (".index/transcripts", ".index/assessed") for name in run.store.names(folder)]
        return [{file.rpartition("/")[2][0] for file in run.store.load_json(name)} for name in places]

    rehearse(run, "a", "b", "c")
    judge(run, "a", "b")
    waiting(run)
    earlier = rehearsed(run.store, PACK.name)
    rehearse(run, "d")
    judge(run, "d")
    waiting(run)
    judge(run, "c")
    assert not_assessed(earlier.refs, run, earlier.states) == []
    assert known() == [{"a", "b", "c", "d"}] * 2
    run.store.remove(f"{FOLDER}/b.json")
    rehearse(run, "e")
    judge(run, "e")
    assert not_assessed(rehearsed(run.store, PACK.name).refs[:1], run) == []  # a part of them
    assert waiting(run) == ([], [])
    assert known() == [{"a", "c", "d", "e"}] * 2

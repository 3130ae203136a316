"""Rounds of improvement: what is corrected and learnt, resumption without paying twice, and when a series stops.

Training, export and the arms of the evaluation have tests of their own; here the understudy is a scripted model.
"""

import asyncio
import json
import shutil

import pytest
import yaml

import flows.improvement
from core.errors import EvaluationError, SettingsError
from core.evaluation.record import EvaluationRecord
from core.improvement.rounds import Began, Round
from core.records import Assessment, AssessmentBatch, ModelRef, Outcome, Transcript
from core.storage.json_lines import read_objects
from core.storage.store import open_store
from core.training.latest import keep_exports, latest_dataset, latest_exports
from flows.assessment import assessment
from flows.dataset import dataset
from flows.evaluation import evaluation
from flows.generation import generation
from flows.improvement import improvement
from tasks.evaluation import choose_arms
from tests.flows.conftest import write_settings

DOMAIN = "therapeutic-coaching"
ARMS = {"base": "scripted/0.2", "understudy": "scripted/0.3"}
ROLES = {"user_simulator": "scripted/user", "assistant": "scripted/0.9", "judges": ["scripted/judge"], "repairer": "scripted/repairer"}
PERSONAS = 2
NUMBERS = {"conversations": 4, "corrections": 2, "floor": 0.5, "rounds": 2, "stop_without_gain": False}


def settings_of(tmp_path, **improvement):
    return write_settings(
        tmp_path,
        roles=ROLES,
        improvement={**NUMBERS, **improvement},
        generation={"conversations": 8, "exchanges": [3, 4]},
        evaluation={"personas": PERSONAS, "exchanges": 2, "battery_tries": 0, "general_max_tokens": 0, "pairwise": False},
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, prefect_server):
    """A data root with a dataset of eight conversations, and the dataset."""
    folder = tmp_path_factory.mktemp("made")
    settings = settings_of(folder)

    async def make():
        return await dataset(await assessment(batch=await generation(settings=settings), settings=settings), settings=settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        return folder / "data", asyncio.run(make())


@pytest.fixture
def understudy(made, tmp_path, data_root, monkeypatch):
    """Make a poor understudy, trained on eight conversations, whose successors are no better; return the settings and the list of datasets trained on."""
    settings, (root, made_of) = settings_of(tmp_path), made
    shutil.copytree(root, data_root)
    trained = []

    def model(name):
        return ModelRef(path=f"models/{name}", name=name)

    async def train(examples, domain, _settings):
        trained.append(examples)
        return model("base"), model(f"adapter-{len(trained)}")

    async def make_gguf(base, adapter, examples, domain, _settings, exported_base):
        return keep_exports(open_store(), domain, exported_base, model(adapter.name.replace("adapter", "understudy")), examples)

    async def compare(before, after, examples, domain, settings, first_seed):
        return await evaluation(domain=domain, settings=settings, arms=ARMS, first_seed=first_seed)

    async def play(run, exported, named):
        return await choose_arms(run, exported, ARMS)

    for name, stand_in in (("training", train), ("export", make_gguf), ("evaluation", compare)):
        monkeypatch.setattr(flows.improvement, name, stand_in)
    monkeypatch.setattr("tasks.corrections.choose_arms", play)
    monkeypatch.setattr("tasks.improvement.read_runtime", lambda: None)
    keep_exports(open_store(), DOMAIN, model("base"), model("understudy-0"), made_of)
    return settings, trained


def rounds(data_root):
    return [Round.model_validate_json(path.read_text(encoding="utf-8")) for path in sorted(data_root.glob(f"improvement/{DOMAIN}/*/*/round.json"))]


async def test_two_rounds_correct_failed_replies_and_add_them_to_all_earlier_data(understudy, data_root):
    settings, trained = understudy
    first = latest_dataset(open_store(), DOMAIN)
    found = await improvement(settings=settings)
    one, two = rounds(data_root)
    assert (one.number, two.number, one.latest) == (1, 2, two.before)
    assert not set(one.seeds) & set(two.seeds)
    assert max(one.seeds + two.seeds) < 9000
    assert "round 2" in found.summary

    store, kept = open_store(), json.loads((data_root / first.path / "manifest.json").read_text(encoding="utf-8"))
    manifest = store.load_json(f"{trained[1].path}/manifest.json")
    assert {entry["id"] for entry in kept["transcripts"]} <= {entry["id"] for entry in manifest["transcripts"]}
    corrections = [entry for entry in manifest["transcripts"] if entry.get("round")]
    assert {entry["round"] for entry in corrections} == {1, 2}
    for entry in corrections:
        transcript, judged = store.load(entry["source_file"], Transcript), store.load(entry["assessment"], Assessment)
        played = next(data_root.glob(f"practice/{DOMAIN}/{transcript.provenance['correction']['of']}.json"))
        original = Transcript.model_validate_json(played.read_text(encoding="utf-8"))
        assert transcript.exchanges[:-1] == original.exchanges[: len(transcript.exchanges) - 1]
        assert transcript.exchanges[-1].assistant != original.exchanges[len(transcript.exchanges) - 1].assistant
        assert judged.score.failed_gates == []
    rows = list(read_objects(store.read_bytes(f"{trained[1].path}/conversations/rows.jsonl")))
    sides = {}
    for row in rows:
        if row["round"]:
            assert [times > 0 for times in row["slices"]] == [False] * (len(row["slices"]) - 1) + [True]
            sides.setdefault(str(row["transcript_id"]).split("-corrected-")[0], set()).add(row["split"])
    assert all(len(side) == 1 for side in sides.values())
    assert {row["split"] for row in rows if row["round"] == 1} == {"train", "validation"}
    assert not [row for row in read_objects(store.read_bytes(f"{trained[1].path}/rows.jsonl")) if "-corrected-" in str(row["transcript_id"])]

    evaluated = [store.load(one.compared.path, EvaluationRecord) for one in (one, two) if one.compared]
    blocks = [{persona.seed for persona in record.personas} for record in evaluated]
    assert not blocks[0] & blocks[1]
    assert min(min(block) for block in blocks) >= 9000 + 2 * PERSONAS  # not those of the evaluation or its confirmation
    assert [set(record.models) for record in evaluated] == [{"base", "understudy"}] * 2

    # practice and corrections reach no other dataset
    other = store.load_json(f"{(await dataset(settings=settings)).path}/manifest.json")
    assert not [entry for entry in other["transcripts"] if entry.get("round") or entry["source_file"].startswith("practice/")]
    practice = AssessmentBatch.model_validate_json(next(data_root.glob(f"improvement/{DOMAIN}/*/001/practice.json")).read_text(encoding="utf-8"))
    assert {item.outcome for item in practice.assessments} <= {Outcome.PASS, Outcome.FAIL}


async def test_an_interrupted_round_continues_and_a_finished_one_is_not_repeated(understudy, data_root, monkeypatch):
    settings, trained = understudy

    async def stop(*_):
        raise KeyError("interrupted")

    whole = flows.improvement.export
    monkeypatch.setattr(flows.improvement, "export", stop)
    with pytest.raises(KeyError):
        await improvement(rounds=1, settings=settings)
    made = {path: path.stat().st_mtime_ns for folder in ("practice", "corrections", "assessments") for path in data_root.glob(f"{folder}/**/*.json")}
    assert made
    began = Began.model_validate_json(next(data_root.glob(f"improvement/{DOMAIN}/*/001/began.json")).read_text(encoding="utf-8"))
    assert began.dataset == latest_dataset(open_store(), DOMAIN)
    monkeypatch.setattr(flows.improvement, "export", whole)
    found = await improvement(rounds=1, settings=settings)
    assert {path: path.stat().st_mtime_ns for path in made} == made
    assert trained[0] == trained[1]
    count = len(trained)
    again = await improvement(rounds=1, settings=settings)
    assert (again.path, again.summary) == (found.path, found.summary)
    assert len(trained) == count
    assert (await improvement(settings=settings, show=True)).path == found.path


async def test_a_round_that_does_not_ship_ends_the_series_and_the_earlier_understudy_stays_the_latest(understudy, tmp_path, data_root):
    settings, _ = understudy
    before = latest_exports(open_store(), DOMAIN, None, None, None)
    settings = settings_of(tmp_path, stop_without_gain=True)
    found = await improvement(settings=settings)
    (one,) = rounds(data_root)
    assert one.compared
    assert one.compared.decision != "ship"
    assert (one.kept, one.latest) == (False, one.before)
    assert "Round 1 does not ship" in found.summary["stopped"]
    assert latest_exports(open_store(), DOMAIN, None, None, None) == before
    assert before
    assert latest_dataset(open_store(), DOMAIN) == before.dataset
    await improvement(settings=settings)
    assert len(rounds(data_root)) == 1
    await improvement(settings=settings_of(tmp_path, stop_without_gain=True, corrections=1))  # changed settings allow another round
    assert [one.number for one in rounds(data_root)] == [1, 2]


async def test_without_an_understudy_or_with_slices_the_error_says_what_to_do_before_anything_is_played(tmp_path, data_root):
    settings = settings_of(tmp_path)
    with pytest.raises(EvaluationError, match="understudy run"):
        await improvement(settings=settings)
    training = yaml.safe_load((tmp_path / "tiny.yaml").read_text(encoding="utf-8"))
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump({**training, "learn": "slices"}), encoding="utf-8")
    with pytest.raises(SettingsError, match="each_reply_once"):
        await improvement(settings=settings)

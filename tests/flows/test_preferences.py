"""Preferences as a flow: each failed reply gets a passing one, requested once; both are in the dataset, and the training learns from the pair."""

import json
import math

import pyarrow.parquet
import pytest
import yaml

from core.dataset.second_replies import SecondReply
from core.evaluation.record import EvaluationRecord
from core.records import Assessment, AssessmentBatch, Transcript
from core.settings.pipeline import load_training
from core.storage.store import open_store
from core.training.preferred import preferred_of
from flows.assessment import assessment
from flows.dataset import dataset
from flows.evaluation import evaluation
from flows.export import export
from flows.generation import generation
from flows.preferences import preferences
from flows.repair import repair
from flows.training import training
from tests.conftest import needs
from tests.flows.conftest import write_settings
from tests.tiny import tiny_settings

pytestmark = pytest.mark.usefixtures("forked", "trainers")


def calls(data_root):
    return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in data_root.glob("ledger/**/*.jsonl"))


async def test_failed_replies_get_passing_alternatives_and_the_pairs_train_a_preferred_understudy(tmp_path, data_root):
    settings = write_settings(
        tmp_path,
        roles={"user_simulator": "scripted/user", "assistant": "scripted/mixed", "judges": ["scripted/judge"], "repairer": "scripted/repairer"},
        repair={"max_score_gap": 0.5, "max_rewrite_share": 1.0},
        generation={"conversations": 12, "exchanges": [4, 5], "concurrency": 8},
        preferences={"length_ratio": 20.0},
        evaluation={"personas": 2, "exchanges": 2, "max_tokens": 24, "suite_items": 1, "general_max_tokens": 0, "battery_tries": 0, "pairwise": False},
    )
    await generation(settings=settings)
    store, judged = open_store(), await assessment(settings=settings)
    assessed = {item.transcript.id: store.load(item.path, Assessment) for item in AssessmentBatch.model_validate_json(store.read(judged)).assessments}
    found = await preferences(settings=settings)
    replies = [store.load(name, SecondReply) for name in store.names("pairs/therapeutic-coaching", ".json")]
    passing = [reply for reply in replies if reply.chosen]
    assert passing
    assert found.summary["pairs"] == f"{len(passing)} of {len(replies)} exchanges"
    for reply in replies:
        transcript = store.load(reply.transcript.path, Transcript)
        assert reply.rejected == transcript.exchanges[reply.exchange - 1].assistant
        assert set(reply.criteria) <= {*assessed[transcript.id].score.failed_checks, *assessed[transcript.id].score.failed_gates}
        assert len(reply.tries) <= 3
        assert (reply.chosen is None) == all(tried.failed for tried in reply.tries)
    assert not [*data_root.glob("turns/*again*"), *data_root.glob("judgements/*again*")]

    paid = calls(data_root)
    assert (await preferences(settings=settings)).summary["pairs"] == found.summary["pairs"]
    assert calls(data_root) == paid

    await repair(settings=settings)
    made = await dataset(settings=settings)
    manifest = store.load_json(f"{made.path}/manifest.json")
    rows = {split: pyarrow.parquet.read_table(store.local(f"{made.path}/pairs/{split}.parquet")).to_pylist() for split in ("train", "validation")}
    assert {row["source"] for there in rows.values() for row in there} == {"repair", "sampled"}
    assert not {row["transcript_id"] for row in rows["train"]} & {row["transcript_id"] for row in rows["validation"]}
    assert (manifest["pairs"]["train"], manifest["pairs"]["validation"]) == (len(rows["train"]), len(rows["validation"]))
    known = [json.loads(line) for line in store.read(f"{made.path}/rows.jsonl").splitlines()]
    learnt = {entry["transcript_id"].partition("-mended-")[0] for entry in known if entry["split"] == "train"}
    held = [json.loads(line)["transcript_id"] for line in store.read(f"{made.path}/pairs/rows.jsonl").splitlines() if '"validation"' in line]
    assert held
    assert not learnt & set(held)
    assert "config_name: pairs" in store.read(f"{made.path}/README.md")
    assert list(data_root.glob("hub/datasets/**/pairs/train.parquet"))

    needs("trl")
    numbers = tiny_settings() | {"pairs": {"batch-size": 4, "max-steps": 2, "learning-rate": 0.001, "reply-prompts": 1, "reply-tokens": 8}}
    numbers["train"] |= {"max-length": 2048}  # the longest pair of so few is longer than what others of the tests learn
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(numbers), encoding="utf-8")
    _, adapter = await training(settings=settings)
    preferred = preferred_of(store, adapter, load_training(str(tmp_path / "tiny.yaml")))
    assert preferred
    assert preferred.path != adapter.path
    metrics = store.load_json(f"{preferred.path}/metrics.json")
    assert metrics["loss_curve"][0]["loss"] == pytest.approx(math.log(2), abs=1e-3)  # before a step, policy and reference are the same adapter
    card = next(path.read_text(encoding="utf-8") for path in data_root.glob("hub/models/**/commits/*/README.md") if "Preference training" in path.read_text())
    assert "reward accuracy" in card
    before = {path: path.stat().st_mtime_ns for path in data_root.glob("models/preferred/*/*")}
    await training(settings=settings)
    assert {path: path.stat().st_mtime_ns for path in data_root.glob("models/preferred/*/*")} == before

    await export(settings=settings)
    compared = await evaluation(settings=settings)
    record = store.load(compared.path, EvaluationRecord)
    assert set(record.comparison.arms) == {"base", "understudy", "preferred"}
    assert set(record.comparison.comparisons) == {"understudy", "preferred"}
    assert record.files["preferred"] != record.files["understudy"]
    assert compared.summary["decision on preferred"]

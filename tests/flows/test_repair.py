"""Repair as a flow: conversations that almost passed are repaired, reported, and marked and limited in the dataset."""

import asyncio
import json
import shutil

import pytest
import yaml

from core.errors import BudgetError, SettingsError, TranscriptError
from core.records import AssessmentBatch, Outcome, Transcript
from core.scripted.chat import ScriptedChat
from core.storage.store import open_store
from flows.assessment import assessment
from flows.dataset import dataset
from flows.generation import generation
from flows.repair import repair
from tests.flows.conftest import write_settings


def repair_settings(tmp_path, **changes):
    return write_settings(
        tmp_path,
        roles={"user_simulator": "scripted/user", "assistant": "scripted/mixed", "judges": ["scripted/judge"], "repairer": "scripted/repairer"},
        repair={"max_score_gap": 0.5, "max_rewrite_share": 1.0, **changes.pop("repair", {})},
        generation={"conversations": 14, "exchanges": [4, 5], "concurrency": 8},
        **changes,
    )


@pytest.fixture(scope="module")
def judged(tmp_path_factory):
    """A data root with judged conversations, and their batch."""
    folder = tmp_path_factory.mktemp("judged")
    settings = repair_settings(folder)

    async def make():
        await generation(settings=settings)
        return await assessment(settings=settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        return folder / "data", asyncio.run(make())


@pytest.fixture
def batch(judged, data_root):
    """The batch, in a data root of the test's own."""
    made, name = judged
    shutil.copytree(made, data_root)
    return name


async def test_repaired_transcripts_pass_name_their_original_and_are_marked_and_limited_in_the_dataset(tmp_path, batch):
    settings = repair_settings(tmp_path)
    before = AssessmentBatch.model_validate_json(open_store().read(batch))
    found = await repair(settings=settings)
    after = AssessmentBatch.model_validate_json(open_store().read(found.path))
    rescued = [item for item in after.assessments if item.outcome is Outcome.PASS]
    assert rescued
    failed_gates = {item.transcript.id for item in before.assessments if json.loads(open_store().read(item.path))["score"]["failed_gates"]}
    for item in after.assessments:
        repaired = Transcript.model_validate_json(open_store().read(item.transcript.path))
        reported = repaired.provenance["repair"]
        assert reported["of"] not in failed_gates
        original = Transcript.model_validate_json(open_store().read(f"transcripts/therapeutic-coaching/{reported['of']}.json"))
        assert [e.user for e in repaired.exchanges] == [e.user for e in original.exchanges][: len(repaired.exchanges)]
        assert "repair" not in original.provenance
    made_of = await dataset(settings=settings)
    manifest = json.loads(open_store().read(f"{made_of.path}/manifest.json"))
    marked = [entry for entry in manifest["transcripts"] if "mended_from" in entry]
    passed = sum(item.outcome is Outcome.PASS for item in before.assessments)
    most = int(0.2 * passed / 0.8)
    assert len(marked) == min(len(rescued), most)
    assert ("| repaired |" in open_store().read(f"{made_of.path}/README.md")) == bool(marked)
    beyond = [entry for entry in manifest["left_out"] if entry["reason"].startswith("repaired: beyond 20 %")]
    assert len(beyond) == len(rescued) - len(marked)
    given = yaml.safe_load((tmp_path / "settings.yaml").read_text(encoding="utf-8"))
    given["repair"]["in_dataset"] = False
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    manifest = json.loads(open_store().read(f"{(await dataset(settings=settings)).path}/manifest.json"))
    assert not any("mended_from" in entry for entry in manifest["transcripts"])


async def test_a_second_run_repairs_nothing_again(tmp_path, data_root, batch):
    settings = repair_settings(tmp_path)
    first = await repair(batch=batch, settings=settings)
    before = {path: path.stat().st_mtime_ns for path in data_root.glob("repaired/*/*.json")}
    assert await repair(batch=batch, settings=settings) == first
    assert {path: path.stat().st_mtime_ns for path in data_root.glob("repaired/*/*.json")} == before
    repaired_again = await repair(batch=first.path, settings=settings)
    assert repaired_again.summary["repaired"].startswith("0 of ")


async def test_a_repair_that_is_stopped_between_its_calls_pays_for_each_call_once(tmp_path, data_root, batch, monkeypatch):
    settings, repairer, budget, asked = repair_settings(tmp_path, repair={"concurrency": 1}), ScriptedChat.complete, [1, 4, 1000], []

    async def until_spent(model, request):
        if request.role == "repairer":
            budget[0] -= 1
            if budget[0] < 0:
                raise BudgetError("Budget reached.")
            asked.append((request.item, request.seed))
        return await repairer(model, request)

    monkeypatch.setattr(ScriptedChat, "complete", until_spent)
    for _ in range(2):
        with pytest.raises(BudgetError):
            await repair(batch=batch, settings=settings)
        budget.pop(0)
    await repair(batch=batch, settings=settings)
    assert len(asked) > 5
    assert len(set(asked)) == len(asked)


async def test_a_threshold_that_no_conversation_reaches_repairs_nothing_and_the_report_says_why(tmp_path, data_root, batch):
    settings = repair_settings(tmp_path, repair={"max_score_gap": 0.0})
    found = await repair(settings=settings)
    assert found.summary["repaired"].startswith("0 of ")
    text = next(data_root.glob("reports/*/repairs.md")).read_text(encoding="utf-8")
    assert "its score is more than 0 below the threshold of 0.8" in text


async def test_without_a_repairer_or_assessments_the_error_says_what_to_do(tmp_path, data_root):
    with pytest.raises(TranscriptError, match="understudy assess"):
        await repair(settings=repair_settings(tmp_path))
    given = yaml.safe_load((tmp_path / "settings.yaml").read_text(encoding="utf-8"))
    given["roles"]["repairer"] = None
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(given), encoding="utf-8")
    with pytest.raises(SettingsError, match=r"roles\.repairer is null"):
        await repair(settings=str(tmp_path / "settings.yaml"))

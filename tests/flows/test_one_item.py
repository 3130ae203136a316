"""An unreadable item is named and left out; a batch without any result fails and can be run again."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, FlowRunFilter, FlowRunFilterName

from core.errors import NothingMadeError
from core.records import AssessmentBatch, TranscriptBatch
from core.storage.store import open_store
from flows.assessment import assessment
from flows.dataset import dataset
from flows.generation import generation
from flows.nightly import nightly
from flows.pilot import pilot
from tests.flows.conftest import write_settings
from tests.flows.test_commands import finish

HAIKU = "anthropic/claude-haiku-5-5"
REFUSED = {"fault": {"status": 400}}


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    return provider


def paid(tmp_path, stub, *roles):
    return write_settings(
        tmp_path,
        roles={role: [HAIKU] if role == "judges" else HAIKU for role in roles},
        models={"anthropic": {"concurrency": 10, "options": {"base_url": stub.url}}},
        generation={"conversations": 3, "exchanges": [3, 3], "concurrency": 1},
        assessment={"judging": {"mode": "single", "shuffle": True, "confirm_gates": "never"}},
        calls={"attempts": 1, "first_backoff_seconds": 0.01},
        budget={"usd": 5},
        nightly={"conversations": 2, "budget": {"usd": 5, "tokens": None}, "for_judging": 0.3},
    )


async def state_of(flow):
    async with get_client() as client:
        runs = await client.read_flow_runs(flow_run_filter=FlowRunFilter(name=FlowRunFilterName(like_=f"{flow}-")))
    state = max(runs, key=lambda run: run.created).state
    return state and state.name


async def test_a_generation_without_any_conversation_fails_and_can_be_tried_again(tmp_path, data_root, stub):
    settings = paid(tmp_path, stub, "user_simulator", "assistant")
    stub.set(faults=[REFUSED])
    with pytest.raises(NothingMadeError, match=r"0 of 3 conversations were made\. 3 times: .*same command tries these again"):
        await generation(settings=settings)
    assert await state_of("generation") == "Failed"
    stub.set(faults=[])
    assert len(open_store().load(await generation(settings=settings), TranscriptBatch).transcripts) == 3


def test_the_command_of_a_failed_batch_ends_with_an_exit_code_and_one_sentence(tmp_path, data_root, stub, command):
    stub.set(faults=[REFUSED])
    code, printed = finish(command("generate", f"--settings={paid(tmp_path, stub, 'user_simulator', 'assistant')}"))
    assert code == 1
    assert "Error: 0 of 3 conversations were made." in printed
    assert "Traceback" not in printed


async def test_an_assessment_of_errors_alone_fails_and_does_not_replace_the_latest_one(tmp_path, data_root, stub):
    small = write_settings(tmp_path, generation={"conversations": 3, "exchanges": [3, 3]})
    await generation(settings=small)
    good = await assessment(settings=small)
    settings = paid(tmp_path, stub, "judges")
    stub.set(faults=[REFUSED])
    with pytest.raises(NothingMadeError, match="0 of 3 assessments were made"):
        await assessment(settings=settings)
    assert await state_of("assessment") == "Failed"
    assert open_store().read("batches/latest-assessments-therapeutic-coaching") == good
    stub.set(faults=[])
    assert {item.outcome == "incomplete" for item in open_store().load(await assessment(settings=settings), AssessmentBatch).assessments} == {False}


@pytest.mark.parametrize("flow", [nightly, pilot])
async def test_a_night_or_pilot_without_any_conversation_fails(tmp_path, data_root, stub, flow, monkeypatch):
    monkeypatch.setattr("core.reports.night_state.ends_at", lambda *_: datetime.max.replace(tzinfo=UTC))
    stub.set(faults=[REFUSED])
    with pytest.raises(NothingMadeError, match="conversations were made"):
        await flow(settings=paid(tmp_path, stub, "user_simulator", "assistant"))


BROKEN = (b"", b"null", b"{}", b'{"id": ', b"\xff\xfe\x00", b"[" * 100_000, b'{"id": "\\ud83d", "exchanges": []}')


async def test_damaged_files_in_the_data_root_are_left_out_and_named(tmp_path, data_root):
    settings = write_settings(tmp_path, generation={"conversations": 17, "exchanges": [3, 3]})
    await generation(settings=settings)
    whole = open_store().load(await assessment(settings=settings), AssessmentBatch)
    paths = sorted((data_root / "transcripts/therapeutic-coaching").glob("*.json"))
    unreadable, unjudged, rest = paths[:7], paths[7:14], paths[14:]
    judged = {item.transcript.id: data_root / item.path for item in whole.assessments}
    for number, content in enumerate(BROKEN):
        unreadable[number].write_bytes(content)
        unreadable[number].with_name(f"notes-{number}.json").write_bytes(content)
        judged[unjudged[number].stem].write_bytes(content)
        (data_root / f"batches/assessments-{number}.json").write_bytes(content)
    found = open_store().load(await assessment(settings=settings), AssessmentBatch)
    assert {item.transcript.id for item in found.assessments} == {path.stem for path in rest}
    named = " ".join(f"{item.name} {item.reason}" for item in found.left_out)
    for number in range(len(BROKEN)):
        assert all(part in named for part in (unreadable[number].name, f"notes-{number}.json", unjudged[number].stem)), BROKEN[number][:20]
    manifest = json.loads(open_store().read(f"{(await dataset(settings=settings)).path}/manifest.json"))
    assert {entry["id"] for entry in manifest["left_out"]} >= {path.stem for path in (*unreadable, *unjudged)}
    again = open_store().load(await generation(settings=settings), TranscriptBatch)
    assert (len(again.transcripts), len(again.left_out)) == (10, 7)
    await nightly(night="2026-11-01", conversations=1, settings=settings)


async def test_the_artifact_of_a_dataset_names_everything_it_leaves_out(tmp_path, data_root, settings):
    folder = tmp_path / "talks"
    folder.mkdir()
    await generation(settings=settings)
    reported: dict[str, Any] = {}
    for number, path in enumerate(sorted((data_root / "transcripts/therapeutic-coaching").glob("*.json"))):
        reported = json.loads(path.read_text(encoding="utf-8")) | {"id": f"t{number}"}
        (folder / f"t{number}.json").write_text(json.dumps(reported), encoding="utf-8")
    (folder / "cut.json").write_text('{"id": "cut", "exch', encoding="utf-8")
    reported["exchanges"] = [part | {"user": f"{part['user']} Or not."} for part in reported["exchanges"]]
    (folder / f"{reported['id']}-copy.json").write_text(json.dumps(reported), encoding="utf-8")
    batch = await assessment(transcripts=str(folder), settings=settings)
    found = await dataset(assessed=batch, settings=settings)
    manifest = json.loads(open_store().read(f"{found.path}/manifest.json"))
    assert {"cut.json", "t9-copy.json"} <= set(manifest["not_read"])
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter(key={"any_": ["dataset-therapeutic-coaching"]}))
    text = str(max(artifacts, key=lambda artifact: str(artifact.created)).data)
    for entry in manifest["left_out"]:
        assert entry["id"] in text
    assert "cut.json" in text
    assert "t9-copy.json" in text
    assert "cut.json" not in open_store().read(f"{found.path}/README.md")  # file names of one's own are not published

"""Assessment batches through the providers' SDKs against a loopback server: panels, checkpoints, budgets and resumed runs."""

import json
from pathlib import Path

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from core.errors import SettingsError
from core.llm.bills import read_entries
from core.records import AssessmentBatch
from core.storage.store import Store, open_store
from flows.assessment import assessment
from tests.flows.conftest import write_settings

JUDGES = ["anthropic/claude-haiku-5-5", "openai/gpt-6-luna"]


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    return provider


@pytest.fixture
def folder(tmp_path):
    """Four transcripts; what wrote one of them is known."""
    place = tmp_path / "transcripts"
    place.mkdir()
    for number in range(4):
        pairs = [{"user": f"My boss moved the deadline again, day {day} of case {number}.", "assistant": "That sounds heavy."} for day in range(1, 5)]
        wrote = {"provenance": {"assistant": "anthropic/claude-sonnet-5-5"}} if number == 0 else {}
        (place / f"t{number}.json").write_text(json.dumps({"id": f"t{number}", "exchanges": pairs, **wrote}), encoding="utf-8")
    return str(place)


def settings_of(tmp_path, stub, judges=JUDGES, **more):
    addresses = {"anthropic": stub.url, "openai": f"{stub.url}/v1"}
    models = {name: {"concurrency": 10, "options": {"base_url": url}} for name, url in addresses.items()}
    how = {"mode": "single", "shuffle": True, "confirm_gates": "never"} | more.pop("judging", {})
    return write_settings(tmp_path, roles={"judges": list(judges)}, models=models, assessment={"judging": how}, **({"budget": {"usd": 5}} | more))


def read(name):
    return AssessmentBatch.model_validate_json(open_store().read(name))


def called(stub):
    return sum(stats["calls"] for stats in stub.stats().values())


def report(batch, ending="report.md"):
    (found,) = open_store().local("reports").glob(f"{batch.removeprefix('batches/').removesuffix('.json')}*/{ending}")
    return found.read_text(encoding="utf-8")


async def test_each_judge_of_a_panel_judges_each_transcript_once_and_the_report_shows_their_agreement(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub)
    batch = await assessment(transcripts=folder, settings=settings)
    record = read(batch)
    assert record.judges == JUDGES
    assert [item.transcript.id for item in record.assessments] == ["t0", "t1", "t2", "t3"]
    assert all(set(item.by_judge) == set(JUDGES) for item in record.assessments)
    assert called(stub) == 8
    text = report(batch)
    assert "| judged by | anthropic/claude-haiku-5-5, openai/gpt-6-luna |" in text
    for expected in ("Krippendorff's alpha", "Cohen's kappa", "Small n (4 transcripts)", "rank correlation", "| judge | openai/gpt-6-luna | 4 |"):
        assert expected in text
    assert "anthropic/claude-haiku-5-5 judges its own family: in 1 of 4 transcripts" in text
    page = report(batch, "report.html")
    assert all(judge in page for judge in JUDGES)
    assert "moved the deadline again, day 4 of case 3" in page
    assert len(report(batch, "checkpoint.jsonl").splitlines()) == 4
    async with get_client() as client:
        artifacts = await client.read_artifacts(artifact_filter=ArtifactFilter.model_validate({"key": {"like_": "%therapeutic-coaching"}}))
    newest = {item.key: item for item in sorted(artifacts, key=lambda item: str(item.created))}
    assert "# Assessment: therapeutic-coaching" in str(newest["assessment-therapeutic-coaching"].data)
    rows = json.loads(str(newest["criteria-therapeutic-coaching"].data))
    assert len(rows) == 17
    assert {"criterion", "passes", "YES", "NO", "NA", "ERROR"} <= set(rows[0])
    # again: nothing is asked, and the same comes of it
    assert await assessment(transcripts=folder, settings=settings) == batch
    assert called(stub) == 8


async def test_only_transcripts_without_a_valid_checkpoint_are_judged(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub, JUDGES[:1])
    batch = await assessment(transcripts=folder, settings=settings)
    lines = report(batch, "checkpoint.jsonl").splitlines()
    old = {"judge": None, "rubric_hash": None, "words": None}
    kept = [json.dumps(json.loads(lines[0]) | old), lines[1], lines[2][:200], json.dumps(json.loads(lines[3]) | {"rubric_hash": "older"})]
    (tmp_path / "prior.jsonl").write_text("\n".join(kept) + "\n", encoding="utf-8")
    stub.reset()
    other = settings_of(tmp_path, stub, JUDGES[1:])
    again = read(await assessment(transcripts=folder, checkpoints=str(tmp_path / "prior.jsonl"), settings=other))
    assert called(stub) == 2  # t2, whose line is cut, and t3, whose rubric is another
    assert [item.transcript.id for item in again.assessments] == ["t0", "t1", "t2", "t3"]
    records = [json.loads(open_store().read(item.path)) for item in again.assessments]
    assert [record["judge"] for record in records] == ["unknown judge (checkpoint)", JUDGES[0], JUDGES[1], JUDGES[1]]
    assert [record["score"]["score"] for record in records[:2]] == [json.loads(line)["score"] for line in lines[:2]]


async def test_an_unusable_answer_leaves_an_assessment_incomplete_until_the_next_run(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub, JUDGES[:1], judging={"mode": "category"}, calls={"attempts": 1})
    stub.set(faults=[{"when": {"contains": "of case 2"}, "fault": {"kind": "invalid"}}])
    record = read(await assessment(transcripts=folder, settings=settings))
    assert [item.outcome == "incomplete" for item in record.assessments] == [False, False, True, False]
    first = called(stub)
    stub.set(faults=[])
    stub.reset()
    name = await assessment(transcripts=folder, settings=settings)
    assert all(item.outcome != "incomplete" for item in read(name).assessments)
    assert called(stub) == 6 < first  # the incomplete one's six calls and no other
    assert "| incomplete | 0 of 4" in report(name)


async def test_an_incomplete_assessment_is_not_repeated_in_the_same_run(tmp_path, data_root, stub, folder):
    stub.set(faults=[{"when": {"contains": "of case 2"}, "fault": {"status": 400}}])
    name = await assessment(transcripts=folder, settings=settings_of(tmp_path, stub, JUDGES[:1]))
    assert called(stub) == 4
    text = report(name)
    assert "| incomplete | 1 of 4" in text
    assert "over 3 of 4 |" in text
    assert "| unusable answers | 17 of 68 |" in text
    assert "## Incomplete" in text
    assert "- t2: CP2, CP4" in text


async def test_repeated_judgements_are_reported_as_stability_and_change_no_outcome(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub, JUDGES[:1])
    once = await assessment(transcripts=folder, settings=settings)
    before = called(stub)
    assert await assessment(transcripts=folder, repeat=3, sample=2, settings=settings) == once
    assert called(stub) == before + 2 * 2  # the first of three is there already
    (text,) = [path.read_text(encoding="utf-8") for path in data_root.glob("reports/*-*-*/report.md")]
    assert "## Stability of the judges" in text
    assert "2 transcripts were judged several times" in text
    assert "Small n (2 transcripts)" in text


def finish(process):
    output = process.communicate(timeout=120)[0]
    return process.returncode, output


def test_a_panel_stopped_by_its_budget_resumes_and_pays_for_nothing_twice(tmp_path, data_root, stub, folder, command):
    how = {"judging": {"mode": "category"}}
    for name in ("t2", "t3"):
        Path(folder, f"{name}.json").unlink()
    small = settings_of(tmp_path, stub, **how, budget={"usd": None, "tokens": 60_000})
    code, output = finish(command("assess", f"--transcripts={folder}", f"--settings={small}"))
    assert code == 3, output
    assert "Budget reached" in output
    sent = called(stub)
    assert 0 < sent < 2 * 2 * 6  # two judges, two transcripts, a call for each category and one for the gates
    large = settings_of(tmp_path, stub, **how, budget={"usd": None, "tokens": 100_000_000})
    code, output = finish(command("assess", f"--transcripts={folder}", f"--settings={large}"))
    assert code == 0, output
    assert called(stub) == 2 * 2 * 6
    assert not list(data_root.glob("judgements/*"))
    ledger = [entry for place in data_root.glob("ledger/*") for entry in read_entries(Store(str(data_root)), place.name)]
    assert len(ledger) == 2 * 2 * 6


@pytest.mark.parametrize(
    ("roles", "panel", "reported"),
    [
        ([JUDGES[0], JUDGES[0]], {}, "names anthropic/claude-haiku-5-5 more than once"),
        (JUDGES, {"by_criterion": {"CQ99": "majority"}}, "by_criterion names 'CQ99'"),
    ],
)
async def test_an_invalid_panel_is_reported_before_any_call(tmp_path, data_root, stub, folder, roles, panel, reported):
    path = settings_of(tmp_path, stub)
    text = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    text["roles"]["judges"], text["assessment"]["panel"] = roles, {"criteria": "majority", "gates": "any_fail", **panel}
    (tmp_path / "bad.yaml").write_text(json.dumps(text), encoding="utf-8")
    with pytest.raises(SettingsError, match=reported):
        await assessment(transcripts=folder, settings=str(tmp_path / "bad.yaml"))
    assert called(stub) == 0


def test_a_missing_checkpoint_is_reported_before_any_call(tmp_path, data_root, stub, folder, command):
    code, output = finish(command("assess", f"--transcripts={folder}", "--checkpoints=none.jsonl", f"--settings={settings_of(tmp_path, stub)}"))
    assert code == 2, output
    assert len([line for line in output.splitlines() if line.startswith("Error: ") and "none.jsonl does not exist" in line]) == 1
    assert "Traceback" not in output
    assert called(stub) == 0

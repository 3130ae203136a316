"""Successive nights: new personas each night, nothing judged twice or forgotten, and an error only where a person is needed."""

import json
from datetime import UTC, datetime

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from core.errors import AuthError, NothingMadeError, PersonaError, SettingsError
from core.records import AssessmentBatch, Transcript
from core.reports.nights import NightReport
from core.storage.store import open_store
from flows.dataset import dataset
from flows.generation import generation
from flows.nightly import nightly
from tests.flows.conftest import write_settings

HAIKU = "anthropic/claude-haiku-5-5"


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    return provider


def nightly_settings(tmp_path, **changes):
    given = {"conversations": 4, "budget": {"usd": 5, "tokens": None}, "for_judging": 0.3, "until": "06:00", "timezone": "Europe/Berlin", "nights": 3}
    return write_settings(tmp_path, nightly=given | changes.pop("nightly", {}), **changes)


def paid(tmp_path, stub, **changes):
    return nightly_settings(
        tmp_path,
        roles={"user_simulator": HAIKU, "assistant": HAIKU},
        models={"anthropic": {"concurrency": 10, "options": {"base_url": stub.url}}},
        generation={"exchanges": [3, 3], "concurrency": 1},
        calls={"attempts": 2, "first_backoff_seconds": 0.01},
        **changes,
    )


def report(found):
    return NightReport.model_validate_json(open_store().read(found.path))


def seeds(data_root):
    return sorted(json.loads(path.read_text(encoding="utf-8"))["provenance"]["seed"] for path in data_root.glob("transcripts/*/*.json"))


async def test_each_night_rehearses_new_personas_and_each_conversation_is_judged_once_and_can_enter_the_dataset(tmp_path, data_root):
    settings = nightly_settings(tmp_path, gather={"floors": 0.0})
    first, second = [report(await nightly(night=name, settings=settings)) for name in ("2026-11-01", "2026-11-02")]
    assert seeds(data_root) == list(range(8))
    assert (first.made, second.made) == (first.assessed, second.assessed) == (4, 4)
    assert first.passed + first.failed + first.incomplete == 4
    assert len(list(data_root.glob("assessments/*/*/*.json"))) == 8
    batches = [AssessmentBatch.model_validate_json(path.read_text(encoding="utf-8")) for path in data_root.glob("batches/assessments-*.json")]
    assert sum(len(batch.assessments) for batch in batches) == 8
    assert (await dataset(settings=settings)).transcripts == first.passed + second.passed > 2


async def test_a_night_that_is_run_again_keeps_its_personas(tmp_path, data_root):
    settings = nightly_settings(tmp_path)
    await nightly(night="2026-11-01", settings=settings)
    gone = next(data_root.glob("transcripts/*/*.json"))
    gone.unlink()
    again = report(await nightly(night="2026-11-01", settings=settings))
    assert again.made == 4
    assert seeds(data_root) == list(range(4))


async def test_a_night_also_judges_conversations_of_the_day_and_does_not_reuse_their_personas(tmp_path, data_root):
    settings = nightly_settings(tmp_path)
    await generation(conversations=3, first_seed=10, settings=settings)
    found = report(await nightly(settings=settings))
    assert (found.made, found.assessed) == (4, 7)
    assert found.night.first_seed == 13
    assert abs((datetime.fromisoformat(found.night.name) - datetime.now()).days) <= 1


async def test_the_report_in_the_ui_lists_earlier_nights(tmp_path, data_root):
    settings = nightly_settings(tmp_path, nightly={"nights": 1})
    for name in ("2026-11-01", "2026-11-02", "2026-11-03"):
        found = await nightly(night=name, conversations=1, settings=settings)
    async with get_client() as client:
        wanted = ArtifactFilter.model_validate({"key": {"any_": ["nightly-therapeutic-coaching"]}})
        (artifact, *_) = await client.read_artifacts(artifact_filter=wanted, limit=1)
    text = open_store().read(found.path.replace(".json", ".md"))
    assert artifact.data is not None
    assert "| 2026-11-03 **this one** |" in text
    rows = [line for line in text.splitlines() if line.startswith("| 2026-11-")]
    assert [row[2:12] for row in rows] == ["2026-11-03", "2026-11-02"]  # this one and one before
    assert "The simulated users" in text


async def test_the_next_night_makes_the_conversations_that_failed(tmp_path, data_root, stub):
    settings = paid(tmp_path, stub, nightly={"conversations": 3})
    whole = report(await nightly(night="2026-11-01", settings=settings))
    assert whole.made == 3
    (victim,) = data_root.glob("transcripts/*/00002-*.json")
    persona = Transcript.model_validate_json(victim.read_text(encoding="utf-8")).persona
    assert persona is not None
    victim.unlink()
    stub.set(faults=[{"when": {"contains": f"You play one person, {persona['name']}"}, "fault": {"status": 500}}])
    second = report(await nightly(night="2026-11-02", settings=settings))
    assert (second.made, second.left) == (3, 1)
    assert any("500" in reason for reason in second.left_out)
    stub.set(faults=[])
    third = report(await nightly(night="2026-11-03", settings=settings))
    assert (third.made, third.taken_up, third.left) == (4, 1, 0)
    assert seeds(data_root) == list(range(9))


async def test_a_spent_budget_ends_a_night_without_an_error_and_the_next_night_continues(tmp_path, data_root, stub):
    small = paid(tmp_path, stub, nightly={"budget": {"usd": None, "tokens": 60_000}})
    first = report(await nightly(night="2026-11-01", settings=small))
    assert first.stopped
    assert 0 < first.made < 4
    second = report(await nightly(night="2026-11-02", settings=paid(tmp_path, stub)))
    assert second.taken_up == first.left
    assert second.left == 0
    assert seeds(data_root) == list(range(8))


async def test_a_share_of_the_budget_is_reserved_for_judging(tmp_path, data_root, stub):
    settings = paid(tmp_path, stub, nightly={"conversations": 8, "budget": {"usd": None, "tokens": 200_000}, "for_judging": 0.6})
    found = report(await nightly(night="2026-11-01", settings=settings))
    assert found.stopped
    assert "the rest is reserved for judging" in found.stopped
    assert 0 < found.made < 8
    assert found.assessed == found.made


async def test_a_night_begins_nothing_after_its_end_time(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr("core.reports.night_state.ends_at", lambda *_: datetime.now(UTC))
    settings = nightly_settings(tmp_path, nightly={"conversations": 2})
    with pytest.raises(NothingMadeError, match=r"The night of 2026-11-01 made nothing: the end time was reached\. The next night continues it"):
        await nightly(night="2026-11-01", settings=settings)
    assert list(data_root.glob("nights/*/reports/2026-11-01.md"))
    monkeypatch.undo()
    monkeypatch.setenv("UNDERSTUDY_DATA", str(data_root))
    assert report(await nightly(night="2026-11-02", settings=settings)).made == 2 + 2  # and those of the night before


async def test_a_wrong_key_fails_the_run_and_the_report_asks_for_a_person(tmp_path, data_root, stub, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "bad-key-of-mine")
    with pytest.raises(AuthError):
        await nightly(night="2026-11-01", settings=paid(tmp_path, stub))
    (text,) = data_root.glob("nights/*/reports/*.md")
    assert "Needs a person" in text.read_text(encoding="utf-8")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")


async def test_an_outage_of_the_provider_does_not_ask_for_a_person(tmp_path, data_root, stub):
    stub.set(faults=[{"fault": {"status": 503}}])
    settings = paid(tmp_path, stub)
    with pytest.raises(NothingMadeError, match="0 of 4 conversations were made"):
        await nightly(night="2026-11-01", settings=settings)
    (text,) = data_root.glob("nights/*/reports/*.md")
    assert "Needs a person" not in text.read_text(encoding="utf-8")


async def test_a_night_never_uses_the_personas_of_the_evaluation(tmp_path, data_root):
    settings = nightly_settings(tmp_path, generation={"conversations": 1, "first_seed": 8998})
    with pytest.raises(PersonaError, match="from 9000 on are kept for the evaluation"):
        await nightly(settings=settings)
    assert seeds(data_root) == []


async def test_the_name_of_a_night_must_be_a_date(tmp_path, data_root):
    with pytest.raises(SettingsError, match=r"night is 'yesterday'\. Write it as a date"):
        await nightly(night="yesterday", settings=nightly_settings(tmp_path))
    assert not (data_root / "nights").exists()

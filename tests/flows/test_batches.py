"""Batch judging at half the price: a batch that outlasts its night, and a command that is killed while it submits one."""

import os
import signal
import time

import pytest

from core.llm.bills import read_entries
from core.records import AssessmentBatch
from core.reports.night_state import NightlyState
from core.reports.nights import NightReport
from core.storage.store import Store, open_store
from flows.assessment import assessment
from flows.generation import generation
from flows.nightly import nightly
from tests.flows.conftest import write_settings

JUDGE = "anthropic/claude-haiku-5-5"


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, batch_s=0, cache_enabled=False)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setattr("core.judging.batch_answers.FIRST_PAUSE", 0.05)
    return provider


def batched(folder, stub, **changes):
    return write_settings(
        folder,
        roles={"judges": [JUDGE]},
        models={"anthropic": {"options": {"base_url": stub.url}}},
        generation={"conversations": 3, "exchanges": [3, 3], "minimum_exchanges": 3},
        assessment={"batch": True, "judging": {"mode": "single", "confirm_gates": "never"}},
        budget={"usd": 5, "tokens": None},
        **changes,
    )


async def test_the_next_night_collects_the_answers_of_a_batch_that_outlasted_its_night(tmp_path, data_root, stub, monkeypatch, caplog):
    settings = batched(tmp_path, stub, nightly={"conversations": 2, "budget": {"usd": 5, "tokens": None}})
    stub.set(batch_s=3600)
    with monkeypatch.context() as hour:
        hour.setattr(NightlyState, "should_stop", lambda _: bool(stub.batches()))
        first = await report(nightly(night="2026-11-01", settings=settings))
    assert (first.made, first.assessed, first.trouble) == (2, 0, [])
    assert first.stopped
    assert f"Batch {stub.batches()[0]['id']} of {JUDGE} has not ended" in first.stopped
    assert "still with the providers" not in caplog.text
    (tmp_path / "off").mkdir()
    await assessment(settings=write_settings(tmp_path / "off"))  # where batches are off, nothing takes their answers
    (tmp_path / "other").mkdir()
    await assessment(settings=write_settings(tmp_path / "other", assessment={"batch": True}))  # by another judge
    assert caplog.text.count(f"Batches that are paid for and still with the providers: 1 ({JUDGE}).") == 2
    stub.set(batch_s=0)
    second = await report(nightly(night="2026-11-02", settings=settings))
    assert (second.made, second.assessed, second.stopped) == (2, 4, None)
    assert stub.stats()["anthropic.batch"]["calls"] == 4
    assert "anthropic" not in stub.stats()
    assert stub.served_twice() == []


async def report(night):
    return NightReport.model_validate_json(open_store().read((await night).path))


async def test_a_command_killed_while_submitting_pays_for_one_batch(tmp_path, data_root, stub, command):
    settings = batched(tmp_path, stub)
    await generation(settings=settings)
    # the provider makes the batch, but its answer with the id never arrives
    stub.set(batch_s=3600, batch_others=2, faults=[{"at": "create", "times": 1, "fault": {"kind": "hang", "seconds": 3600}}])
    killed = command("assess", f"--settings={settings}")
    until = time.monotonic() + 120
    while not stub.batches() and killed.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert len(stub.batches()) == 1
    stub.set(batch_s=0)
    again = command("assess", f"--settings={settings}")
    output = again.communicate(timeout=180)[0]
    assert again.returncode == 0, output
    assert len(stub.batches()) == 1, output
    assert stub.served_twice() == []
    assert "anthropic" not in stub.stats()
    (name,) = data_root.glob("batches/assessments-*.json")
    assert len(AssessmentBatch.model_validate_json(name.read_text(encoding="utf-8")).assessments) == 3
    (bill,) = {folder.name for folder in data_root.glob("ledger/assessment-*")}
    paid = read_entries(Store(str(data_root)), bill)
    assert [entry["outcome"] for entry in paid] == ["ok"] * 3
    assert all(entry["prices"].endswith(", batch") for entry in paid)

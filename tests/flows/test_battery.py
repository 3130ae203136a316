"""The safety battery as a user runs it: each arm answers the same openings and is judged on their gate, and the figures appear next to the decision."""

import logging

import pytest

from core.errors import RunStoppedError
from core.evaluation.record import EvaluationRecord
from core.llm.bills import read_entries
from core.packs.pack import load_pack
from core.records import Answer, Assessment, Transcript
from core.storage.store import Store, open_store
from flows.evaluation import evaluation
from tests.flows.conftest import write_settings

DOMAIN = "therapeutic-coaching"
HAIKU, LUNA = "anthropic/claude-haiku-5-5", "openai/gpt-6-luna"
ARMS = {"base": "scripted/0.0", "understudy": "scripted/1.0"}


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True, answer_text=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    return provider


def settings_of(tmp_path, **changes):
    few = {"personas": 2, "exchanges": 1, "general_max_tokens": 0, "battery_tries": 2, "suite_items": 4, "pairwise": False}
    return write_settings(tmp_path, evaluation={**few, **changes.pop("evaluation", {})}, **changes)


def paid_settings(tmp_path, stub, **changes):
    models = {
        "anthropic": {"concurrency": 10, "options": {"base_url": stub.url}},
        "openai": {"concurrency": 10, "options": {"base_url": f"{stub.url}/v1"}},
    }
    few = {"attempts": 2, "first_backoff_seconds": 0.01, "unusable_answers": 2}
    return settings_of(tmp_path, models=models, budget={"usd": 5}, calls=few, **changes)


def record_of(found):
    return EvaluationRecord.model_validate_json(open_store().read(found.path))


def text_of(found, name):
    return open_store().read(found.path.replace("comparison.json", name))


async def test_each_arm_answers_the_same_openings_and_their_gates_count_in_the_decision(tmp_path, data_root, caplog):
    caplog.set_level(logging.INFO, logger="prefect.flow_runs")
    found = await evaluation(arms=ARMS, settings=settings_of(tmp_path))
    battery = record_of(found).battery
    assert battery is not None
    openings = {opening.id: opening for opening in load_pack(DOMAIN).battery.openings}
    met = {arm: [(item.opening, item.attempt) for item in battery.items if item.arm == arm] for arm in ARMS}
    assert met["base"] == met["understudy"]
    assert len(met["base"]) == 8
    assert {item.gate for item in battery.items} == {"CQ8", "CQ9"}
    for item in battery.items:
        assert item.transcript is not None
        assert item.assessment is not None
        transcript = Transcript.model_validate_json(open_store().read(item.transcript))
        assert [exchange.user for exchange in transcript.exchanges] == openings[item.opening].messages
        assert transcript.persona is not None
        assert transcript.persona["country"] == openings[item.opening].country
        verdicts = Assessment.model_validate_json(open_store().read(item.assessment)).verdicts
        assert [(verdict.criterion, verdict.answer) for verdict in verdicts] == [(item.gate, item.answer)]

    # the figures appear next to the decision, and too few openings cannot ship
    record, text, page = record_of(found), text_of(found, "report.md"), text_of(found, "report.html")
    conditions = {item.text: item for item in record.comparison.comparisons["understudy"].decided.conditions if "battery" in item.text}
    assert sorted(text[:3] for text in conditions) == ["CQ8", "CQ8", "CQ9", "CQ9"]  # compared with the base, and regardless of the base
    assert not any(item.holds for item in conditions.values())
    assert any("even without a failure" in item.found for item in conditions.values())
    assert record.comparison.comparisons["understudy"].decided.decision != "ship"
    decision, _, rest = text.partition("| arm | model |")
    assert "conversations of the battery that call for CQ8, in " in decision
    assert "## Safety battery" in rest
    failed = [item for item in battery.items if item.answer is Answer.NO]
    assert failed  # an assistant of quality 0 sometimes does harm and names no help
    for item in failed:
        assert f"](report.html#{item.gate}-{item.opening})" in text
        assert f'id="{item.gate}-{item.opening}"' in page
    lines = [line.getMessage() for line in caplog.records]
    reported = next(place for place, line in enumerate(lines) if line.startswith("Battery, CQ9: 2 openings × 2 tries cannot show the margin of 15 %"))
    played = next(place for place, line in enumerate(lines) if "Safety battery played by the base" in line)
    assert reported < played


async def test_a_second_run_pays_nothing_and_the_report_counts_each_call_of_the_first(tmp_path, data_root, stub):
    everything = {"battery_tries": 1, "general_max_tokens": 40, "pairwise": True}
    settings = paid_settings(tmp_path, stub, roles={"judges": [LUNA]}, evaluation=everything)
    arms = {"base": HAIKU, "understudy": LUNA}
    first = await evaluation(arms=arms, settings=settings)
    (folder,) = data_root.glob("ledger/*")
    entries = read_entries(Store(str(data_root)), folder.name)
    played = [entry for entry in entries if entry["item"].startswith("battery-")]
    assert {entry["role"] for entry in played} == {"assistant", "judge"}
    for role, model in {(entry["role"], entry["model"]) for entry in entries}:
        count = sum((entry["role"], entry["model"]) == (role, model) for entry in entries)
        assert f"| {model} | {count:,} |" in text_of(first, "report.md")
    assert await evaluation(arms=arms, settings=settings) == first
    assert len(read_entries(Store(str(data_root)), folder.name)) == len(entries)


async def test_a_battery_that_was_stopped_continues_with_the_answers_it_has(tmp_path, data_root, stub):
    arms = {"base": HAIKU, "understudy": "scripted/0.9"}
    settings = paid_settings(tmp_path, stub)
    stub.set(faults=[{"protocol": "anthropic", "when": {"calls": [5]}, "fault": {"status": 401}}])
    with pytest.raises(RunStoppedError):
        await evaluation(arms=arms, settings=settings)
    (folder,) = data_root.glob("ledger/*")
    paid = len(read_entries(Store(str(data_root)), folder.name))
    stub.set(faults=[])
    record = record_of(await evaluation(arms=arms, settings=settings))
    assert record.battery is not None
    messages = {opening.id: opening.messages for opening in load_pack(DOMAIN).battery.openings}
    needed = sum(len(messages[item.opening]) for item in record.battery.items if item.arm == "base")
    answered = [
        entry
        for entry in read_entries(Store(str(data_root)), folder.name)
        if entry["model"] == HAIKU and entry["item"].startswith("battery-") and entry["output_tokens"]
    ]
    assert paid > 0
    assert len(answered) == needed


async def test_a_lost_try_counts_against_the_arm_and_is_repeated_in_the_next_run(tmp_path, data_root, stub):
    arms = {"base": "scripted/0.9", "understudy": HAIKU}
    settings = paid_settings(tmp_path, stub)
    whole = record_of(await evaluation(arms=arms, settings=settings))
    assert whole.battery is not None
    victim = next(item for item in whole.battery.items if item.arm == "understudy" and item.gate == "CQ8")
    for item in whole.battery.items:
        if item.arm == "understudy" and item.opening == victim.opening:
            (data_root / item.transcript).unlink()
    words = next(opening for opening in load_pack(DOMAIN).battery.openings if opening.id == victim.opening).messages[0][:40]
    stub.set(faults=[{"protocol": "anthropic", "when": {"contains": words}, "fault": {"kind": "refuse"}}])
    found = await evaluation(arms=arms, settings=settings)
    record = record_of(found)
    assert record.battery is not None
    assert record.battery.arms["understudy"]["CQ8"].lost == 2
    apart = record.battery.differences["understudy"]["CQ8"]
    assert apart.openings == 1
    assert apart.worst_bound > apart.upper_bound
    assert "with lost tries counted against the arm" in text_of(found, "report.md")
    stub.set(faults=[])
    assert record_of(await evaluation(arms=arms, settings=settings)).battery == whole.battery

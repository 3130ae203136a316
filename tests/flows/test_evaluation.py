"""Evaluations as a user runs them: any number of models, power stated beforehand, blind judges, resumption, and clear messages for bad input."""

import csv
import json
import logging
import re
from collections import Counter
from io import StringIO
from pathlib import Path

import pytest
import yaml

from core.errors import EvaluationError, NothingMadeError, PersonaError, RunStoppedError, SettingsError, UnderstudyError
from core.evaluation.record import EvaluationRecord
from core.llm.bills import read_entries
from core.records import Transcript
from core.storage.store import Store, open_store
from flows.evaluation import evaluation
from flows.terminal.review import review
from tests.flows.conftest import write_settings

ARMS = {"base": "scripted/0.2", "understudy": "scripted/0.9"}
HAIKU, LUNA = "anthropic/claude-haiku-5-5", "openai/gpt-6-luna"
ONLY_CONVERSATIONS = {"general_max_tokens": 0, "battery_tries": 0, "pairwise": False}
"""No general prompts, safety battery or pairwise readings."""


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True, answer_text=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    return provider


def settings_of(tmp_path, **changes):
    return write_settings(tmp_path, evaluation={"personas": 3, "exchanges": 2, **changes.pop("evaluation", {})}, **changes)


def paid_settings(tmp_path, stub, **changes):
    models = {
        "anthropic": {"concurrency": 10, "options": {"base_url": stub.url}},
        "openai": {"concurrency": 10, "options": {"base_url": f"{stub.url}/v1"}},
    }
    few = {"attempts": 2, "first_backoff_seconds": 0.01, "unusable_answers": 2}
    return settings_of(tmp_path, models=models, budget={"usd": 5}, calls=few, **changes)


def record_of(found):
    return EvaluationRecord.model_validate_json(open_store().read(found.path))


def entries(data_root):
    return [entry for folder in sorted(data_root.glob("ledger/*")) for entry in read_entries(Store(str(data_root)), folder.name)]


def text_of(found, name):
    return open_store().read(found.path.replace("comparison.json", name))


async def test_any_number_of_models_is_compared_with_the_base_on_the_same_personas(tmp_path, data_root):
    changes = {"personas": 2, "battery_tries": 0, "pairwise": False, "arms": {"prompted base": "base under assistant"}}
    found = await evaluation(arms={**ARMS, "third": "scripted/0.5"}, settings=settings_of(tmp_path, evaluation=changes))
    record = record_of(found)
    assert list(record.models.items()) == [
        *(("base", "scripted/0.2"), ("understudy", "scripted/0.9")),
        *(("prompted base", "scripted/0.2 under assistant.md"), ("third", "scripted/0.5")),
    ]
    assert set(record.comparison.comparisons) == {"understudy", "prompted base", "third"}
    assert Counter((item.arm, item.persona) for item in record.played) == {(arm, seed): 1 for arm in record.models for seed in (9000, 9001)}
    assert record.comparison.comparisons["understudy"].score.difference > 0
    assert record.battery is None
    assert "No safety battery was played" in text_of(found, "report.md")
    # the simulated user opens with the same words in all arms
    first = {}
    for item in record.conversations:
        opening = Transcript.model_validate_json(open_store().read(item.transcript)).exchanges[0].user
        first.setdefault(item.persona, set()).add(opening)
    assert {len(openings) for openings in first.values()} == {1}
    for name in ("report.md", "report.html"):
        assert "no measure of real quality" in text_of(found, name)
    assert set(record.general) == {"base", "understudy", "third"}  # a model is asked once, whatever its prompts in the domain
    asked = record.refusals.answers
    assert (record.refusals.judge, set(asked)) == ("scripted/judge", {"base", "understudy", "third"})
    assert {(item.wanted, item.found is None) for answers in asked.values() for item in answers} == {("declined", False), ("helped", False)}
    decided = {
        arm: [item.text for item in one.decided.conditions if "less often than the base" in item.text] for arm, one in record.comparison.comparisons.items()
    }
    # nothing can be forgotten without a training: the base under another prompt has no such condition
    assert {arm: len(texts) for arm, texts in decided.items()} == {"understudy": 3, "third": 3, "prompted base": 0}
    assert "Not listed: prompted base, the same model as one above under another prompt." in text_of(found, "report.md")
    assert {name: lengths.median for name, lengths in record.lengths.items()} == dict.fromkeys(record.models, 2)
    assert found.summary["decision on third"]
    # the scripted judge has not been calibrated, so a person reviews the conversations without knowing the arms
    assert "This judge has not been measured (scripted/judge)" in text_of(found, "report.md")
    sheet = Path(review(sample=8, evaluation="latest").data["sheet"])
    header, *rows = list(csv.reader(StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert len(rows) == 8
    assert not {"understudy", "third", "scripted"} & set(re.findall(r"[a-z]+", sheet.read_text(encoding="utf-8")))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *([cell or "yes" for cell in row] for row in rows)])
    assert "## third against base: " in review(sheet=str(sheet)).text
    assert "labelled 2 conversations of base" in text_of(found, "review.md")


async def test_the_log_says_what_the_evaluation_can_detect_before_the_first_call(tmp_path, data_root, caplog):
    caplog.set_level(logging.INFO, logger="prefect.flow_runs")
    short = {"scripted/0.2": {"concurrency": 1000, "context": 1500}}
    small = {"personas": 6, "exchanges": 3, "suite_items": 1, "pairwise": False}
    await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation=small, models=short))
    lines = [record.getMessage() for record in caplog.records]
    first_call = next(place for place, line in enumerate(lines) if "answered by" in line or "Played by" in line)
    for beginning in (
        "6 of 6 conversations of base will be cut: beyond exchange",
        "6 personas × 1 trial show a true difference of",
        "Without any failed gate 6 personas show",
        "By the whole rule (gain, p, interval, passes, safety, missing, battery, suites, prompts) 6 pers",
    ):
        assert any(line.startswith(beginning) for line in lines[:first_call]), beginning


async def test_the_spread_of_a_pilot_replaces_the_assumed_spread(tmp_path, data_root):
    few = {**ONLY_CONVERSATIONS, "trials": 2}
    first = await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation=few))
    pilot = str(data_root / first.path)
    power = {"wanted": 0.8, "between": 0.05, "within": 0.15, "base_mean": 0.7, "pilot": pilot}
    again = record_of(await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation={**few, "power": power})))
    assert again.plan
    assert "from a pilot of 3 personas and 6 pairs" in again.plan.spread.source
    assert again.played == record_of(first).played  # no conversation was played again


async def test_an_evaluation_that_its_budget_stopped_keeps_its_conversations_and_continues(tmp_path, data_root, stub):
    arms = {"base": HAIKU, "understudy": LUNA}
    few = {**ONLY_CONVERSATIONS, "trials": 2, "concurrency": 1}
    small = paid_settings(tmp_path, stub, evaluation=few)
    small_budget = yaml.safe_load((tmp_path / "settings.yaml").read_text(encoding="utf-8")) | {"budget": {"usd": None, "tokens": 36_000}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small_budget), encoding="utf-8")
    with pytest.raises(RunStoppedError, match="Budget reached"):
        await evaluation(arms=arms, settings=small)
    made, paid = len(list(data_root.glob("evaluations/transcripts/*/*.json"))), len(entries(data_root))
    assert made > 0
    paid_settings(tmp_path, stub, evaluation=few)
    record = record_of(await evaluation(arms=arms, settings=small))
    assert all(item.score for item in record.played)
    finished = {item.stem for item in data_root.glob("evaluations/transcripts/*/*.json")}
    assert len(finished) == 12
    again = [entry["item"] for entry in entries(data_root)[paid:]]
    assert len(again) < len(entries(data_root))


async def test_the_judge_does_not_see_which_model_answered(tmp_path, data_root, stub):
    roles = {"judges": [LUNA]}
    stub.set(log_bodies=True)
    await evaluation(arms={"base": "scripted/0.2", "secret-contender": "scripted/0.9"}, settings=paid_settings(tmp_path, stub, roles=roles))
    requests = json.dumps([call for call in stub.log() if call["protocol"] == "responses"])
    assert requests != "[]"
    for name in ("secret-contender", "understudy", "scripted/0"):
        assert name not in requests


async def test_an_arm_whose_answers_are_empty_stops_the_evaluation_before_a_conversation_is_paid_for(tmp_path, data_root, stub):
    stub.set(faults=[{"protocol": "responses", "fault": {"kind": "empty"}}])
    with pytest.raises(NothingMadeError, match=r"understudy \(openai/gpt-6-luna\) answered none of 3 general prompts"):
        await evaluation(arms={"base": HAIKU, "understudy": LUNA}, settings=paid_settings(tmp_path, stub))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


async def test_an_arm_that_stops_answering_is_reported_and_only_its_missing_conversations_are_played_again(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub, evaluation=ONLY_CONVERSATIONS)
    whole = record_of(await evaluation(arms={"base": "scripted/0.2", "understudy": LUNA}, settings=settings))
    (kept,) = [item for item in whole.conversations if item.arm == "understudy" and item.persona == 9000]
    for item in whole.conversations:
        if item.arm == "understudy" and item != kept:
            (data_root / item.transcript).unlink()
    stub.set(faults=[{"protocol": "responses", "fault": {"status": 500}}])
    with pytest.raises(
        NothingMadeError, match=r"Personas with a conversation completed by both base and understudy: 1; at least 2 are needed.*2 of understudy"
    ):
        await evaluation(arms={"base": "scripted/0.2", "understudy": LUNA}, settings=settings)
    stub.set(faults=[])
    completed = record_of(await evaluation(arms={"base": "scripted/0.2", "understudy": LUNA}, settings=settings))
    assert completed.comparison == whole.comparison


async def test_conversations_that_the_simulated_user_breaks_off_are_counted_and_not_compared(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub, roles={"user_simulator": HAIKU}, evaluation={**ONLY_CONVERSATIONS, "personas": 4})
    whole = record_of(await evaluation(arms=ARMS, settings=settings))
    (victim,) = [item for item in whole.conversations if item.arm == "base" and item.persona == 9002]
    (data_root / victim.transcript).unlink()
    persona = next(item for item in whole.personas if item.seed == 9002)
    stub.set(faults=[{"protocol": "anthropic", "when": {"contains": f"You play one person, {persona.name}"}, "fault": {"kind": "refuse"}}])
    record = record_of(await evaluation(arms=ARMS, settings=settings))
    missing = record.comparison.arms["base"].missing
    assert (missing.simulator_broke, missing.completed, missing.lost) == (1, 3, 0)
    assert record.comparison.comparisons["understudy"].score.pairs == 3
    shares = {item.kind: item for item in record.comparison.comparisons["understudy"].missing}
    assert shares["broken by the simulated user"].base_share == 0.25
    assert shares["broken by the simulated user"].unequal


async def test_no_figure_is_nan_or_infinite_when_the_arms_are_equal(tmp_path, data_root, stub):
    stub.set(answer_text="I hear you.")
    settings = paid_settings(tmp_path, stub, evaluation={"personas": 2})
    found = await evaluation(arms={"base": HAIKU, "understudy": LUNA}, settings=settings)
    for text in (text_of(found, "report.md"), open_store().read(found.path), " ".join(found.summary.values())):
        assert "nan" not in text.lower().replace("finance", "").replace("financ", "").split()
        assert "NaN" not in text
        assert "Infinity" not in text


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"arms": {"understudy": "scripted/0.9"}}, EvaluationError, "Nothing to compare: understudy is given, and no export of therapeutic-coaching exists"),
        ({}, EvaluationError, "Nothing to compare: no arm is given"),
        ({"arms": {"base": "scripted/0.9", "understudy": "scripted/0.9"}}, EvaluationError, "base and understudy are the same model"),
        ({"arms": {"base": "nobody/x", "understudy": "scripted/0.9"}}, SettingsError, "Unknown model reference 'nobody/x'"),
        ({"arms": {"base": "scripted/0.2", "": "scripted/0.9"}}, SettingsError, "'' is not a valid arm name"),
        ({"arms": {"base": "scripted/0.2", "understudy": "llama-cpp/no/such.gguf"}}, SettingsError, "no/such.gguf does not exist"),
        ({"arms": {"base": "scripted/0.2", "understudy": "openai/sk-ant-12345678901234567890"}}, SettingsError, "looks like a key"),
        ({"arms": ARMS, "personas": "nowhere.json"}, PersonaError, "nowhere.json"),
    ],
)
async def test_bad_input_is_refused_and_nothing_is_played(tmp_path, data_root, arguments, error, message):
    with pytest.raises(error, match=message):
        await evaluation(settings=settings_of(tmp_path), arms=arguments.get("arms"), personas=arguments.get("personas"))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


async def test_a_single_persona_is_refused_in_the_settings_and_in_a_file(tmp_path, data_root):
    with pytest.raises(UnderstudyError, match="shows no spread between them"):
        await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation={"personas": 1}))
    path = tmp_path / "one.json"
    path.write_text("[9001]", encoding="utf-8")
    with pytest.raises(PersonaError, match="gives 1 persona"):
        await evaluation(arms=ARMS, settings=settings_of(tmp_path), personas=str(path))


async def test_a_damaged_model_file_is_reported_before_anything_is_played(tmp_path, data_root):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")
    (data_root / "half.gguf").parent.mkdir(exist_ok=True)
    (data_root / "half.gguf").write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(SettingsError, match=r"cannot load .*half\.gguf"):
        await evaluation(arms={"base": "scripted/0.2", "understudy": "llama-server/half.gguf"}, settings=settings_of(tmp_path))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


def test_the_command_takes_arms_as_pairs_and_personas_from_a_file(tmp_path, data_root, command):
    personas = tmp_path / "personas.yaml"
    personas.write_text(yaml.safe_dump([9500, 9501]), encoding="utf-8")
    arms = "--arms=base=scripted/0.2,better=scripted/0.9,rich=base under assistant"
    process = command("evaluate", arms, f"--personas={personas}", f"--settings={settings_of(tmp_path, evaluation=ONLY_CONVERSATIONS)}")
    output = process.communicate(timeout=240)[0]
    assert process.returncode == 0, output
    for line in ("better difference", "rich difference", "decision"):
        assert line in output
    (record,) = data_root.glob("evaluations/*/comparison.json")
    assert {item.persona for item in EvaluationRecord.model_validate_json(record.read_text(encoding="utf-8")).played} == {9500, 9501}


async def test_a_second_understudy_ships_only_after_a_confirmation_on_new_personas(tmp_path, data_root):
    settings, second = settings_of(tmp_path, evaluation={**ONLY_CONVERSATIONS, "personas": 4}), {**ARMS, "understudy": "scripted/0.95"}
    await evaluation(arms=ARMS, settings=settings)
    with pytest.raises(EvaluationError, match=r"Nothing to confirm: .*scripted/0.95"):
        await evaluation(arms=second, settings=settings, confirm=True)
    tried = record_of(await evaluation(arms=second, settings=settings))
    assert [len(tried.attempts), tried.confirm] == [1, False]
    assert "confirm it (understudy evaluate --confirm)" in tried.comparison.comparisons["understudy"].decided.reason
    found = await evaluation(arms=second, settings=settings, confirm=True)
    confirmed = record_of(found)
    assert {item.persona for item in confirmed.played} == set(range(9004, 9008))
    assert [len(confirmed.attempts), confirmed.confirm] == [0, True]
    assert "A confirmation, on personas that no model had met" in text_of(found, "report.md")
    assert await evaluation(arms=second, settings=settings, confirm=True) == found
    with pytest.raises(PersonaError, match="Give either personas"):
        await evaluation(arms=second, settings=settings, personas="mine.yaml", confirm=True)

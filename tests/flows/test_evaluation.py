"""Evaluations as a user runs them: of any number of models, their power stated beforehand, judged blindly, resumed, with clear words for bad input."""

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
FEW = {"personas": 3, "trials": 1}
"""Where it does not matter what the statistics say."""
ALONE = {"general_max_tokens": 0, "battery_tries": 0, "pairwise": False}
"""The conversations without what is asked beside them."""


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True, answer_text=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    return provider


def settings_of(tmp_path, **changes):
    return write_settings(tmp_path, evaluation={"personas": 7, "trials": 2, "exchanges": 3, **changes.pop("evaluation", {})}, **changes)


def paid_settings(tmp_path, stub, **changes):
    models = {
        "anthropic": {"concurrency": 10, "options": {"base_url": stub.url}},
        "openai": {"concurrency": 10, "options": {"base_url": f"{stub.url}/v1"}},
    }
    few = {"attempts": 2, "first_backoff_seconds": 0.01, "unusable_answers": 2}
    return settings_of(tmp_path, models=models, budget={"usd": 5}, calls=few, **changes)


def read(found):
    return EvaluationRecord.model_validate_json(open_store().read(found.path))


def entries(data_root):
    return [entry for folder in sorted(data_root.glob("ledger/*")) for entry in read_entries(Store(str(data_root)), folder.name)]


def beside(found, name):
    return open_store().read(found.path.replace("comparison.json", name))


async def test_any_number_of_models_is_compared_with_the_base_on_the_same_personas(tmp_path, data_root):
    rich = {"personas": 2, "battery_tries": 0, "pairwise": False, "arms": {"prompted base": "base under assistant"}}
    found = await evaluation(arms={**ARMS, "third": "scripted/0.5"}, settings=settings_of(tmp_path, evaluation=rich))
    record = read(found)
    assert list(record.models.items()) == [
        *(("base", "scripted/0.2"), ("understudy", "scripted/0.9")),
        *(("prompted base", "scripted/0.2 under assistant.md"), ("third", "scripted/0.5")),
    ]
    assert set(record.comparison.comparisons) == {"understudy", "prompted base", "third"}
    met = {arm: {(item.persona, item.trial) for item in record.played if item.arm == arm} for arm in record.models}
    assert met["base"] == met["understudy"] == met["prompted base"] == met["third"] == {(seed, trial) for seed in (9000, 9001) for trial in range(2)}
    assert record.comparison.comparisons["understudy"].score.difference > 0
    # the simulator begins alike in all arms
    first = {}
    for item in record.conversations:
        words = Transcript.model_validate_json(open_store().read(item.transcript)).exchanges[0].user
        first.setdefault(item.persona, set()).add(words)
    assert {len(words) for words in first.values()} == {1}
    for name in ("report.md", "report.html"):
        assert "no measure of real quality" in beside(found, name)
    assert set(record.general) == {"base", "understudy", "third"}  # a model is asked once, whatever its prompts in the domain
    asked = record.refusals.answers
    assert (record.refusals.judge, set(asked)) == ("scripted/judge", {"base", "understudy", "third"})
    assert {(item.wanted, item.found is None) for answers in asked.values() for item in answers} == {("declined", False), ("helped", False)}
    decided = {
        arm: [item.text for item in one.decided.conditions if "less often than the base" in item.text] for arm, one in record.comparison.comparisons.items()
    }
    # nothing can be forgotten without a training: the base under another prompt has no such condition
    assert {arm: len(texts) for arm, texts in decided.items()} == {"understudy": 3, "third": 3, "prompted base": 0}
    assert "Not listed: prompted base, the same model as one above under another prompt." in beside(found, "report.md")
    assert {name: lengths.median for name, lengths in record.lengths.items()} == dict.fromkeys(record.models, 3)
    assert found.summary["decision on third"]
    # nobody has measured the scripted judge, and a person can review the conversations without knowing the arms
    assert "Nobody has measured this judge (scripted/judge)" in beside(found, "report.md")
    sheet = Path(review(sample=8, evaluation="latest").data["sheet"])
    header, *rows = list(csv.reader(StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert len(rows) == 8
    assert not {"understudy", "third", "scripted"} & set(re.findall(r"[a-z]+", sheet.read_text(encoding="utf-8")))
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *([cell or "yes" for cell in row] for row in rows)])
    assert "## third against base: " in review(sheet=str(sheet)).text
    assert "labelled 2 conversations of base" in beside(found, "review.md")


async def test_what_it_can_find_is_said_before_the_first_call(tmp_path, data_root, caplog):
    caplog.set_level(logging.INFO, logger="prefect.flow_runs")
    await evaluation(
        arms=ARMS, settings=settings_of(tmp_path, evaluation={"trials": 1, "suite_items": 1}, models={"scripted/0.2": {"concurrency": 1000, "context": 1500}})
    )
    lines = [record.getMessage() for record in caplog.records]
    cut = next(place for place, line in enumerate(lines) if line.startswith("7 of 7 conversations of base will be cut: beyond exchange"))
    reported = next(place for place, line in enumerate(lines) if line.startswith("7 personas × 1 trials show a true difference of"))
    margin = next(place for place, line in enumerate(lines) if line.startswith("Without any failed gate 7 personas show"))
    shipped = next(
        place
        for place, line in enumerate(lines)
        if line.startswith("By the whole rule (gain, p, interval, passes, safety, missing, battery, suites, prompts) 7 pers")
    )
    played = next(place for place, line in enumerate(lines) if "answered by" in line or "Played by" in line)
    assert max(reported, margin, shipped, cut) < played


async def test_a_pilot_s_spread_takes_the_place_of_the_assumed_one(tmp_path, data_root):
    few = {**ALONE, "personas": 3}
    first = await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation=few))
    pilot = str(data_root / first.path)
    power = {"wanted": 0.8, "between": 0.05, "within": 0.15, "base_mean": 0.7, "pilot": pilot}
    again = read(await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation={**few, "power": power})))
    assert again.plan
    assert "from a pilot of 3 personas and 6 pairs" in again.plan.spread.source
    assert again.played == read(first).played  # nothing was played again for that


async def test_run_again_it_pays_nothing_and_says_the_same_and_its_costs_are_those_of_the_evaluation_alone(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub, evaluation=FEW)
    arms = {"base": HAIKU, "understudy": LUNA}
    first = await evaluation(arms=arms, settings=settings)
    paid, text = Counter(entry["model"] for entry in entries(data_root)), beside(first, "report.md")
    assert all(paid[model] and f"| {model} | {paid[model]:,} |" in text for model in (HAIKU, LUNA))
    assert await evaluation(arms=arms, settings=settings) == first
    assert len(entries(data_root)) == paid.total()


async def test_stopped_by_its_budget_it_goes_on_where_it_was(tmp_path, data_root, stub):
    arms = {"base": HAIKU, "understudy": LUNA}
    few = {**ALONE, "personas": 3, "trials": 2, "concurrency": 1}
    small = paid_settings(tmp_path, stub, evaluation=few)
    small_budget = yaml.safe_load((tmp_path / "settings.yaml").read_text(encoding="utf-8")) | {"budget": {"usd": None, "tokens": 36_000}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(small_budget), encoding="utf-8")
    with pytest.raises(RunStoppedError, match="Budget reached"):
        await evaluation(arms=arms, settings=small)
    made, paid = len(list(data_root.glob("evaluations/transcripts/*/*.json"))), len(entries(data_root))
    assert made > 0
    paid_settings(tmp_path, stub, evaluation=few)
    record = read(await evaluation(arms=arms, settings=small))
    assert all(item.score for item in record.played)
    finished = {item.stem for item in data_root.glob("evaluations/transcripts/*/*.json")}
    assert len(finished) == 12
    again = [entry["item"] for entry in entries(data_root)[paid:]]
    assert len(again) < len(entries(data_root))


async def test_the_judge_is_not_shown_whose_conversation_it_reads(tmp_path, data_root, stub):
    roles = {"judges": [LUNA]}
    stub.set(log_bodies=True)
    await evaluation(arms={"base": "scripted/0.2", "secret-contender": "scripted/0.9"}, settings=paid_settings(tmp_path, stub, roles=roles, evaluation=FEW))
    asked = json.dumps([call for call in stub.log() if call["protocol"] == "responses"])
    assert asked.count("secret-contender") == 0
    assert "understudy" not in asked
    assert "scripted/0" not in asked


async def test_an_arm_that_answers_with_nothing_is_found_before_the_others_are_paid_for(tmp_path, data_root, stub):
    stub.set(faults=[{"protocol": "responses", "fault": {"kind": "empty"}}])
    with pytest.raises(NothingMadeError, match=r"understudy \(openai/gpt-6-luna\) answered none of 3 general prompts"):
        await evaluation(arms={"base": HAIKU, "understudy": LUNA}, settings=paid_settings(tmp_path, stub))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


async def test_an_arm_that_stops_answering_costs_its_conversations_and_is_reported(tmp_path, data_root, stub):
    """All but one persona's conversations of the understudy fail."""
    settings = paid_settings(tmp_path, stub, evaluation={**ALONE, **FEW})
    whole = read(await evaluation(arms={"base": "scripted/0.2", "understudy": LUNA}, settings=settings))
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
    mended = read(await evaluation(arms={"base": "scripted/0.2", "understudy": LUNA}, settings=settings))
    assert mended.comparison == whole.comparison


async def test_conversations_that_the_simulated_user_spoils_are_counted_and_not_compared(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub, roles={"user_simulator": HAIKU}, evaluation={**ALONE, "personas": 4, "trials": 1})
    whole = read(await evaluation(arms=ARMS, settings=settings))
    (victim,) = [item for item in whole.conversations if item.arm == "base" and item.persona == 9002]
    (data_root / victim.transcript).unlink()
    persona = next(item for item in whole.personas if item.seed == 9002)
    stub.set(faults=[{"protocol": "anthropic", "when": {"contains": f"You play one person, {persona.name}"}, "fault": {"kind": "refuse"}}])
    record = read(await evaluation(arms=ARMS, settings=settings))
    missing = record.comparison.arms["base"].missing
    assert (missing.simulator_broke, missing.completed, missing.lost) == (1, 3, 0)
    assert record.comparison.comparisons["understudy"].score.pairs == 3
    shares = {item.kind: item for item in record.comparison.comparisons["understudy"].missing}
    assert shares["broken by the simulated user"].base_share == 0.25
    assert shares["broken by the simulated user"].unequal


async def test_equal_arms_give_no_figure_that_is_no_number(tmp_path, data_root, stub):
    """The same scripted quality under two names: all differences may be zero."""
    (tmp_path / "one").mkdir()
    stub.set(answer_text="I hear you.")
    settings = paid_settings(tmp_path / "one", stub, evaluation={"personas": 2, "trials": 1})
    found = await evaluation(arms={"base": HAIKU, "understudy": LUNA}, settings=settings)
    for text in (beside(found, "report.md"), open_store().read(found.path), " ".join(found.summary.values())):
        assert "nan" not in text.lower().replace("finance", "").replace("financ", "").split()
        assert "NaN" not in text
        assert "Infinity" not in text


async def test_personas_of_a_file_are_met_in_place_of_sampled_ones(tmp_path, data_root):
    path = tmp_path / "personas.yaml"
    path.write_text(yaml.safe_dump([9500, 9501, 9502]), encoding="utf-8")
    record = read(await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation={**ALONE, "trials": 1}), personas=str(path)))
    assert {item.persona for item in record.played} == {9500, 9501, 9502}


@pytest.mark.parametrize(
    ("asked", "error", "said"),
    [
        ({"arms": {"understudy": "scripted/0.9"}}, EvaluationError, "Nothing to compare: understudy is given and nothing of therapeutic-coaching was exported"),
        ({}, EvaluationError, "Nothing to compare: no arm is given"),
        ({"arms": {"base": "scripted/0.9", "understudy": "scripted/0.9"}}, EvaluationError, "base and understudy are the same model"),
        ({"arms": {"base": "nobody/x", "understudy": "scripted/0.9"}}, SettingsError, "Unknown model reference 'nobody/x'"),
        ({"arms": {"base": "scripted/0.2", "": "scripted/0.9"}}, SettingsError, "'' is not a valid arm name"),
        ({"arms": {"base": "scripted/0.2", "understudy": "llama-cpp/no/such.gguf"}}, SettingsError, "no/such.gguf does not exist"),
        ({"arms": {"base": "scripted/0.2", "understudy": "openai/sk-ant-12345678901234567890"}}, SettingsError, "looks like a key"),
        ({"arms": ARMS, "personas": "nowhere.json"}, PersonaError, "nowhere.json"),
    ],
)
async def test_bad_input_is_refused_with_what_to_do(tmp_path, data_root, asked, error, said):
    with pytest.raises(error, match=said):
        await evaluation(settings=settings_of(tmp_path), arms=asked.get("arms"), personas=asked.get("personas"))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


async def test_one_persona_is_refused_in_the_settings_and_in_a_file(tmp_path, data_root):
    with pytest.raises(UnderstudyError, match="shows no spread between them"):
        await evaluation(arms=ARMS, settings=settings_of(tmp_path, evaluation={"personas": 1}))
    path = tmp_path / "one.json"
    path.write_text("[9001]", encoding="utf-8")
    with pytest.raises(PersonaError, match="gives 1 persona"):
        await evaluation(arms=ARMS, settings=settings_of(tmp_path), personas=str(path))


async def test_a_damaged_file_is_reported_before_anything_is_played(tmp_path, data_root):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")
    (data_root / "half.gguf").parent.mkdir(exist_ok=True)
    (data_root / "half.gguf").write_bytes(b"GGUF" + b"\0" * 40)
    with pytest.raises(SettingsError, match=r"cannot load .*half\.gguf"):
        await evaluation(arms={"base": "scripted/0.2", "understudy": "llama-server/half.gguf"}, settings=settings_of(tmp_path))
    assert not list(data_root.glob("evaluations/transcripts/*/*.json"))


def test_from_the_terminal_arms_are_given_as_pairs(tmp_path, data_root, command):
    process = command(
        "evaluate", "--arms=base=scripted/0.2,better=scripted/0.9,rich=base under assistant", f"--settings={settings_of(tmp_path, evaluation={**ALONE, **FEW})}"
    )
    said = process.communicate(timeout=240)[0]
    assert process.returncode == 0, said
    assert "better difference" in said
    assert "rich difference" in said
    assert "decision" in said


async def test_a_second_understudy_ships_only_once_it_is_confirmed_on_personas_that_nobody_has_met(tmp_path, data_root):
    settings, second = settings_of(tmp_path, evaluation={**ALONE, "trials": 1}), {**ARMS, "understudy": "scripted/0.95"}
    await evaluation(arms=ARMS, settings=settings)
    with pytest.raises(EvaluationError, match=r"Nothing to confirm: .*scripted/0.95"):
        await evaluation(arms=second, settings=settings, confirm=True)
    tried = read(await evaluation(arms=second, settings=settings))
    assert [len(tried.attempts), tried.confirm] == [1, False]
    assert "confirm it (understudy evaluate --confirm)" in tried.comparison.comparisons["understudy"].decided.reason
    found = await evaluation(arms=second, settings=settings, confirm=True)
    confirmed = read(found)
    assert {item.persona for item in confirmed.played} == set(range(9007, 9014))
    assert [len(confirmed.attempts), confirmed.confirm] == [0, True]
    assert "A confirmation, on personas that no model had met" in beside(found, "report.md")
    assert await evaluation(arms=second, settings=settings, confirm=True) == found
    with pytest.raises(PersonaError, match="Give either personas"):
        await evaluation(arms=second, settings=settings, personas="mine.yaml", confirm=True)

"""Paid runs against a loopback provider: the bill, what is kept, what ends a run, and how it continues."""

from datetime import date

import pytest
import yaml

from core.llm.bills import read_entries
from core.llm.probe import retiring
from core.packs.pack import load_pack
from core.records import Transcript, TranscriptBatch
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import load_settings
from core.storage.store import Store, open_store
from flows.generation import generation
from flows.terminal.check_models import check_models
from tests.flows.conftest import write_settings


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True, requests_per_minute=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    return provider


def paid_settings(folder, stub, **changes):
    """Three conversations of three exchanges: six calls each, of which nothing but their number matters here."""
    return write_settings(
        folder,
        roles={"user_simulator": "anthropic/claude-haiku-5-5", "assistant": "anthropic/claude-haiku-5-5"},
        **{
            "models": {"anthropic": {"concurrency": 10, "options": {"base_url": stub.url}}},
            "generation": {"conversations": 3, "exchanges": [3, 3], "minimum_exchanges": 3, "concurrency": 3},
            "budget": {"usd": 1, "tokens": None},
            **changes,
        },
    )


def calls(data_root):
    store = Store(str(data_root))
    return [entry for folder in sorted(data_root.glob("ledger/*")) for entry in read_entries(store, folder.name)]


async def test_the_bill_is_what_the_provider_counted_and_the_same_run_again_costs_nothing(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub)
    first = await generation(settings=settings)
    batch = TranscriptBatch.model_validate_json(open_store().read(first))
    assert len(batch.transcripts) == 3
    stats, paid = stub.stats()["anthropic"], calls(data_root)
    assert stats["ok"] == len(paid) == 3 * 3 * 2
    assert sum(entry["input_tokens"] for entry in paid) == stats["tokens"]["input"]
    assert sum(entry["cache_read_tokens"] for entry in paid) == stats["tokens"]["cache_read"]
    assert sum(entry["output_tokens"] for entry in paid) == stats["tokens"]["output"]
    assert {entry["item"] for entry in paid} == {item.id for item in batch.transcripts}
    assert all(entry["usd"] > 0 and entry["prices"].startswith("genai-prices") and entry["usage"] for entry in paid)
    assert await generation(settings=settings) == first
    assert stub.stats()["anthropic"]["calls"] == stats["calls"]


async def test_a_conversation_that_always_fails_costs_no_other(tmp_path, data_root, stub):
    settings = paid_settings(tmp_path, stub, calls={"attempts": 2, "first_backoff_seconds": 0.01})
    whole = TranscriptBatch.model_validate_json(open_store().read(await generation(conversations=4, settings=settings)))
    victim = Transcript.model_validate_json(open_store().read(whole.transcripts[2].path))
    assert victim.persona is not None
    stub.set(faults=[{"when": {"contains": f"You play one person, {victim.persona['name']}"}, "fault": {"status": 500}}])
    batch = TranscriptBatch.model_validate_json(open_store().read(await generation(conversations=6, first_seed=0, settings=settings)))
    kept, lost = {item.id for item in batch.transcripts}, batch.left_out
    assert {item.id for item in whole.transcripts} <= kept  # of the first run
    assert len(kept) + len(lost) == 6
    (data_root / victim_path(data_root, victim.id)).unlink()
    batch = TranscriptBatch.model_validate_json(open_store().read(await generation(conversations=4, settings=settings)))
    assert [item.id for item in batch.transcripts] == [item.id for item in whole.transcripts if item.id != victim.id]
    assert "500" in batch.left_out[0].reason


def victim_path(data_root, name):
    return next(data_root.glob(f"transcripts/*/{name}.json")).relative_to(data_root)


def finish(process):
    output = process.communicate(timeout=120)[0]
    return process.returncode, output


def test_a_spent_budget_ends_the_run_cleanly_and_a_larger_one_continues_it(tmp_path, data_root, stub, command):
    small = paid_settings(tmp_path, stub, budget={"usd": None, "tokens": 120_000}, generation={"conversations": 6, "exchanges": [3, 3], "concurrency": 1})
    code, output = finish(command("generate", f"--settings={small}"))
    assert code == 3, output
    assert output.count("\nError: Budget reached: this run has used") == 1
    assert "Traceback" not in output
    paid, made = calls(data_root), list(data_root.glob("transcripts/*/*.json"))
    assert 0 < len(made) < 6
    assert sum(entry["input_tokens"] + entry["output_tokens"] for entry in paid) <= 120_000
    code, output = finish(command("generate", f"--settings={small}"))
    assert code == 3, output
    assert len(calls(data_root)) == len(paid)  # nothing more was sent
    large = yaml.safe_load((tmp_path / "settings.yaml").read_text(encoding="utf-8")) | {"budget": {"usd": None, "tokens": 1_000_000}}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(large), encoding="utf-8")
    code, output = finish(command("generate", f"--settings={small}"))
    assert code == 0, output
    assert len(list(data_root.glob("transcripts/*/*.json"))) == 6
    assert len({entry["run"] for entry in calls(data_root)}) == 1
    finished = {file.stem for file in made}
    again = [entry for entry in calls(data_root)[len(paid) :] if entry["item"] in finished]
    assert again == []


def test_a_wrong_key_ends_the_run_with_one_line_and_almost_no_calls(tmp_path, data_root, stub, command):
    code, output = finish(command("generate", f"--settings={paid_settings(tmp_path, stub)}", ANTHROPIC_API_KEY="bad-key-of-mine"))
    assert code == 3
    assert output.count("\nError: anthropic/claude-haiku-5-5 answered 401") == 1, output
    assert "Check the key" in output
    assert "bad-key-of-mine" not in output
    assert "Traceback" not in output
    assert stub.stats()["anthropic"]["calls"] <= 3


def test_a_missing_key_is_reported_before_any_call(tmp_path, data_root, stub, command):
    code, output = finish(command("generate", f"--settings={paid_settings(tmp_path, stub)}", ANTHROPIC_API_KEY=""))
    assert code == 2
    assert output.strip().startswith("Error: No key for anthropic/claude-haiku-5-5. Set the environment variable ANTHROPIC_API_KEY")
    assert len(output.strip().splitlines()) == 1


def test_a_key_in_a_parameter_is_refused_and_not_repeated(command):
    code, output = finish(command("generate", "api_key=sk-ant-api03-abcdefgh"))
    assert code == 2
    assert "looks like a key" in output
    assert "abcdefgh" not in output


def test_an_unpriced_model_under_a_budget_in_money_is_refused(tmp_path, data_root, stub, command):
    roles = {"user_simulator": "anthropic/claude-haiku-5-5", "assistant": "anthropic/claude-next-9"}
    settings = yaml.safe_load((tmp_path / paid_settings(tmp_path, stub)).read_text(encoding="utf-8"))
    settings["roles"] |= roles
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    code, output = finish(command("generate", f"--settings={tmp_path / 'settings.yaml'}"))
    assert code == 2
    assert "No price is known for anthropic/claude-next-9" in output
    assert stub.stats().get("anthropic", {}).get("calls", 0) == 0


def test_check_models_reports_the_abilities_limits_and_price_of_each_role_s_model(tmp_path, data_root, stub, command):
    stub.set(requests_per_minute=4000)
    code, output = finish(command("check-models", f"--settings={paid_settings(tmp_path, stub)}"))
    assert code == 0, output
    lines = output.splitlines()
    assert lines[0] == "ok     anthropic/claude-haiku-5-5  (user_simulator, assistant)"
    assert "structured output ok" in lines[1]
    assert "4,000 requests/min" in lines[1]
    assert "0.1 in, 0.5 out (USD per million tokens, genai-prices" in lines[1]
    assert stub.stats()["anthropic"]["calls"] == 1


@pytest.mark.parametrize(
    ("roles", "environment", "reported"),
    [
        ({}, {"ANTHROPIC_API_KEY": "expired-key"}, "answered 401"),
        ({"assistant": "anthropic/unknown-model"}, {}, "Check the model's name"),
        ({"assistant": "openai-compatible/qwen"}, {"OPENAI_COMPATIBLE_BASE_URL": "http://127.0.0.1:9/v1"}, "cannot be reached at http://127.0.0.1:9/v1"),
        ({"assistant": "openai-compatible/html"}, {"OPENAI_COMPATIBLE_BASE_URL": "STUB/v1"}, "is not an answer of an OpenAI-compatible API"),
        ({"assistant": "openai-compatible/qwen"}, {}, "set the option base_url"),
        ({"assistant": "mistral/large"}, {}, "Unknown model reference 'mistral/large'. Allowed: provider/model"),
        ({"assistant": "llama-cpp/nowhere.gguf"}, {}, "nowhere.gguf does not exist"),
    ],
    ids=["expired key", "unknown model", "unreachable", "no API", "no address", "unknown provider", "no such GGUF"],
)
async def test_check_models_reports_a_problem_in_one_line(tmp_path, data_root, stub, monkeypatch, roles, environment, reported):
    for name, value in environment.items():
        monkeypatch.setenv(name, value.replace("STUB", stub.url))
    stub.set(faults=[{"when": {}, "model": "html", "fault": {"kind": "html"}}])
    path = paid_settings(tmp_path, stub, budget={"usd": None, "tokens": None})
    given = load_settings(path)
    found = await check_models(given.model_copy(update={"roles": given.roles.model_copy(update=roles)}), "therapeutic-coaching")
    (problem,) = [check.problem for check in found if check.problem]
    assert reported in problem
    assert "\n" not in problem


def test_a_model_that_is_switched_off_soon_is_reported():
    dates = {"openai": {"gpt-5-mini": date(2026, 12, 11)}}
    assert (
        retiring("openai/gpt-5-mini", dates, date(2026, 11, 21))
        == "openai/gpt-5-mini will be switched off on 2026-12-11. Choose another model in the settings."
    )
    assert "was switched off" in str(retiring("openai/gpt-5-mini", dates, date(2026, 12, 12)))
    assert retiring("openai/gpt-5-mini", dates, date(2026, 1, 1)) is None
    assert retiring("openai/gpt-6-luna", dates, date(2026, 11, 21)) is None


def test_a_malformed_answer_costs_one_conversation_of_six(tmp_path, data_root, stub, command):
    generation = {"conversations": 6, "exchanges": [1, 1], "minimum_exchanges": 1}
    settings = paid_settings(tmp_path, stub, calls={"attempts": 2, "first_backoff_seconds": 0.01}, generation=generation)
    names = [persona.name for persona in sample_batch(load_pack("therapeutic-coaching"), 0, 6, (1, 1))]
    victim = next(name for name in names if names.count(name) == 1)  # of the first one that has a name alone
    mutation = {"kind": "mutate", "path": ["content"], "json": "null"}
    stub.set(faults=[{"when": {"contains": f"You play one person, {victim}"}, "fault": mutation}])
    reported, _ = (process := command("generate", f"--settings={settings}")).communicate(timeout=180)
    assert process.returncode == 0, reported
    assert "Traceback" not in reported
    assert "Rehearsed 5 of 6 conversations" in reported, reported
    assert "1 left out (1 × the response is not one of the provider's API)" in reported
    assert all(entry["usd"] is not None for entry in calls(data_root))

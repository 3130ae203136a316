"""Model references become models: errors before any call, and shared clients."""

import asyncio

import pytest

from blocks.chat import PROVIDERS, choose, load_chat_model
from core.errors import SettingsError
from core.packs.pack import load_pack
from core.records import ModelChoice
from tests.blocks.conftest import KEY, ask

PACK = load_pack("therapeutic-coaching")


@pytest.mark.parametrize("reference", ["mistral/large", "claude-haiku-5-5", "anthropic/", "/gemma", "Anthropic/claude-haiku-5-5"])
def test_the_error_for_an_unknown_provider_lists_the_known_ones(reference):
    with pytest.raises(SettingsError) as refused:
        choose(reference, {})
    assert repr(reference) in str(refused.value)
    assert all(name in str(refused.value) for name in PROVIDERS)


@pytest.mark.parametrize(
    ("reference", "allowed"),
    [
        ("anthropic/claude-haiku-5-5", "base_url, effort, thinking"),
        ("openai/gpt-6-luna", "base_url, effort, temperature"),
        ("openai-compatible/gemma", "base_url, temperature, top_p"),
        ("google/gemini-3.8-flash", "base_url, temperature, thinking"),
        ("claude-cli/claude-sonnet-5-5", "base_url, effort, program"),
        ("llama-cpp/model.gguf", "context, temperature, threads"),
        ("scripted/user", "none"),
    ],
)
def test_the_error_for_an_unknown_option_lists_the_known_ones(reference, allowed):
    with pytest.raises(SettingsError) as refused:
        choose(reference, {"temperatur": 0.2})
    assert "'temperatur'" in str(refused.value)
    assert f"Allowed: {allowed};" in str(refused.value)


def test_the_error_for_an_invalid_option_value_lists_the_allowed_ones():
    with pytest.raises(SettingsError) as refused:
        choose("anthropic/claude-haiku-5-5", {"effort": "huge"})
    assert "effort" in str(refused.value)
    assert all(word in str(refused.value) for word in ("huge", "'low'", "'max'"))


@pytest.mark.parametrize(
    ("reference", "options"),
    [
        ("anthropic/claude-haiku-5-5", {"api_key": KEY}),
        ("openai/gpt-6-luna", {"base_url": f"http://127.0.0.1/{KEY}"}),
        (KEY, {}),
        (f"anthropic/{KEY}", {}),
        ("google/AIza0123456789012345678901", {}),
    ],
)
def test_an_option_that_would_store_a_key_is_refused_without_repeating_the_key(reference, options):
    with pytest.raises(SettingsError, match="saved block") as refused:
        choose(reference, options)
    assert KEY not in str(refused.value)
    assert "AIza" not in str(refused.value)


async def test_all_calls_of_a_model_share_one_client(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    choice = choose("openai/gpt-6-luna", {"effort": "low"})
    model = await load_chat_model(choice, PACK)
    assert await load_chat_model(ModelChoice.model_validate(choice.model_dump()), PACK) is model
    for other in (choose("openai/gpt-6-luna", {"effort": "high"}), choose("openai/gpt-6-sol", {"effort": "low"})):
        assert await load_chat_model(other, PACK) is not model


def test_a_client_belongs_to_one_event_loop(stub, monkeypatch):
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"{stub.url}/v1")
    choice = choose("openai-compatible/gemma", {})

    async def answer():
        model = await load_chat_model(choice, PACK)
        return model, (await model.complete(ask())).text

    (first, said), (second, again) = asyncio.run(answer()), asyncio.run(answer())
    assert first is not second
    assert said == again != ""

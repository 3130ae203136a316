"""Models saved as a block are loaded by name, and their keys are never shown."""

import json

import pytest
from prefect.client.orchestration import get_client

from blocks.anthropic import Anthropic
from blocks.chat import PROVIDERS, choose_saved, load_chat_model
from blocks.openai import OpenAI
from blocks.openai_compatible import OpenAICompatible
from core.errors import SettingsError
from core.packs.pack import load_pack
from core.records import ModelChoice

KEY = "sk-test-0123456789"


async def test_a_saved_block_names_a_model_with_its_options_and_key(monkeypatch):
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    await Anthropic(model="claude-haiku-5-5", effort="low", api_key=KEY).asave("my-judge")
    choice = await choose_saved("my-judge")
    assert choice == ModelChoice(reference="anthropic/claude-haiku-5-5", options={"effort": "low"}, block="my-judge")
    assert KEY not in choice.model_dump_json()
    model = await load_chat_model(choice, load_pack("therapeutic-coaching"))
    assert model.reference == "anthropic/claude-haiku-5-5"


async def test_the_saved_document_does_not_show_the_key():
    await OpenAICompatible(model="gemma", base_url="http://127.0.0.1:8080/v1", api_key=KEY).asave("my-server")
    async with get_client() as client:
        document = await client.read_block_document_by_name("my-server", "understudy-openai-compatible", include_secrets=False)
    assert document.data["base_url"] == "http://127.0.0.1:8080/v1"
    assert KEY not in json.dumps(document.model_dump(mode="json"))


async def test_an_unknown_name_is_refused_with_the_providers_and_a_key_is_not_repeated():
    with pytest.raises(SettingsError) as refused:
        await choose_saved("nobody")
    assert "'nobody'" in str(refused.value)
    assert all(name in str(refused.value) for name in PROVIDERS)
    with pytest.raises(SettingsError, match="looks like a key") as refused:
        await choose_saved(KEY)
    assert KEY not in str(refused.value)


async def test_a_name_saved_for_two_providers_is_refused():
    await Anthropic(model="claude-haiku-5-5", api_key=KEY).asave("twice")
    await OpenAI(model="gpt-6-luna", api_key=KEY).asave("twice")
    with pytest.raises(SettingsError, match="2 saved blocks are called 'twice'"):
        await choose_saved("twice")


async def test_a_block_that_no_longer_exists_is_named_in_the_error():
    choice = ModelChoice(reference="openai/gpt-6-luna", block="gone")
    with pytest.raises(SettingsError, match="'gone' no longer exists"):
        await load_chat_model(choice, load_pack("therapeutic-coaching"))

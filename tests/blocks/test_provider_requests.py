"""The requests that arrive at a provider, beyond what the stub itself would refuse."""

import json

import pytest

from core.llm.chat import Message
from core.rehearsal.turns import USER_SCHEMA
from tests.blocks.conftest import PROVIDERS, ask, make_block
from tests.stub.cache import tokens_of

STEERING = (Message("user", "Begin."), Message("assistant", "I slept badly."), Message("user", "Since when?"), Message("user", "Be brief today."))
"""What a user simulator is sent: the last message is for this turn only."""


async def test_sampling_options_are_sent_only_if_they_are_set(model, provider, stub):
    await model.complete(ask(schema=USER_SCHEMA))
    (sent,) = stub.log()
    assert (sent["model"], sent["status"]) == (PROVIDERS[provider].model, 200)
    assert not {"temperature", "top_p", "top_k", "topP", "topK"} & {*sent["body"], *sent["body"].get("generationConfig", {})}


@pytest.mark.parametrize(
    ("provider", "options", "expected"),
    [
        ("anthropic", {"effort": "low", "thinking": "disabled"}, {"output_config": {"effort": "low"}, "thinking": {"type": "disabled"}}),
        ("openai", {"effort": "none", "temperature": 0.2}, {"reasoning": {"effort": "none"}, "temperature": 0.2}),
        ("openai-compatible", {"temperature": 0.2, "top_p": 0.9}, {"temperature": 0.2, "top_p": 0.9}),
        # Google takes both spellings of a name
        ("google", {"thinking": "LOW", "temperature": 0.2}, {"thinkingConfig": {"thinking_level": "LOW"}, "temperature": 0.2}),
    ],
)
async def test_a_blocks_options_are_sent(stub, provider, options, expected):
    await make_block(provider, stub.url, **options).get_client().complete(ask())
    (sent,) = stub.log()
    found = sent["body"] | sent["body"].get("generationConfig", {})
    assert {name: found[name] for name in expected} == expected


async def test_an_anthropic_request_may_have_both_schema_and_effort(stub):
    await make_block("anthropic", stub.url, effort="low").get_client().complete(ask(schema=USER_SCHEMA))
    (sent,) = stub.log()
    assert sent["body"]["output_config"]["effort"] == "low"
    assert sent["body"]["output_config"]["format"]["schema"]["properties"].keys() == USER_SCHEMA["properties"].keys()


@pytest.mark.parametrize("provider", ["openai"])
async def test_openai_is_asked_to_store_nothing_and_to_enforce_the_schema(model, stub):
    await model.complete(ask(schema=USER_SCHEMA))
    (sent,) = stub.log()
    assert sent["body"]["store"] is False
    form = sent["body"]["text"]["format"]
    assert (form["type"], form["strict"], form["schema"]) == ("json_schema", True, USER_SCHEMA)


@pytest.mark.parametrize("provider", ["openai"])
async def test_each_agent_of_a_conversation_has_one_cache_entry(model, stub):
    name = "generation/therapeutic-coaching/" + "0" * 64
    for number, role in ((1, "assistant"), (1, "user_simulator"), (1, "assistant"), (2, "assistant")):
        await model.complete(ask(item=f"{name}{number}", role=role))
    keys = [sent["body"]["prompt_cache_key"] for sent in stub.log()]
    assert keys[0] == keys[2]
    assert len(set(keys)) == 3
    assert all(len(key) <= 64 for key in keys)


@pytest.mark.parametrize(("volatile", "marked"), [(1, "Since when?"), (0, "Be brief today."), (4, "Be kind.")])
async def test_anthropics_cache_breakpoint_follows_the_last_repeated_message(stub, volatile, marked):
    await make_block("anthropic", stub.url).get_client().complete(ask(messages=STEERING, volatile=volatile))
    body = stub.log()[0]["body"]
    blocks = [*body["system"], *(block for message in body["messages"] for block in message["content"])]
    assert [block["text"] for block in blocks] == ["Be kind.", *(message.content for message in STEERING)]
    assert "cache_control" not in body
    assert [block["text"] for block in blocks if "cache_control" in block] == list(dict.fromkeys(["Be kind.", marked]))


@pytest.mark.parametrize(("volatile", "marked"), [(1, "Since when?"), (0, "Be brief today."), (4, "Be kind.")])
@pytest.mark.parametrize("name", ["gpt-5.6", "gpt-6-luna"])
async def test_openais_last_cache_breakpoint_follows_the_last_repeated_message(stub, name, volatile, marked):
    await make_block("openai", stub.url, model=name).get_client().complete(ask(messages=STEERING, volatile=volatile))
    body = stub.log()[0]["body"]
    blocks = [block for item in body["input"] if isinstance(item["content"], list) for block in item["content"]]
    assert body["prompt_cache_options"]["mode"] == "explicit"
    assert [block["text"] for block in blocks if "prompt_cache_breakpoint" in block][-1] == marked


@pytest.mark.parametrize("provider", ["openai-compatible"])
async def test_the_prompt_contains_the_schema_for_compatible_servers(model, stub):
    await model.complete(ask(schema=USER_SCHEMA))
    await model.complete(ask())
    structured, plain = [sent["body"] for sent in stub.log()]
    assert structured["response_format"]["json_schema"]["schema"] == USER_SCHEMA
    assert structured["messages"][0]["role"] == "system"
    assert structured["messages"][0]["content"].startswith("Be kind.")
    assert json.dumps(USER_SCHEMA) in structured["messages"][0]["content"]
    assert "response_format" not in plain
    assert plain["messages"][0] == {"role": "system", "content": "Be kind."}


@pytest.mark.parametrize("provider", ["openai-compatible"])
async def test_consecutive_user_messages_are_joined_for_strict_chat_templates(model, stub):
    stub.set(strict_alternation=True)
    assert (await model.complete(ask(messages=STEERING, volatile=1))).text
    messages = stub.log()[0]["body"]["messages"]
    assert [message["role"] for message in messages] == ["system", "user", "assistant", "user"]
    assert messages[-1]["content"].split() == ["Since", "when?", "Be", "brief", "today."]


@pytest.mark.parametrize("provider", ["openai-compatible", "google"])
async def test_the_seed_is_sent_within_the_range_of_the_servers(model, stub):
    for seed in (7, 2**63 + 11, 2**63 + 11):
        await model.complete(ask(seed=seed))
    small, large, again = [(sent["body"] | sent["body"].get("generationConfig", {}))["seed"] for sent in stub.log()]
    assert small == 7
    assert 0 <= large == again < 2**31


async def test_an_empty_system_prompt_is_not_sent(model, stub):
    assert (await model.complete(ask(system=""))).usage.input_tokens == tokens_of("Hello.")

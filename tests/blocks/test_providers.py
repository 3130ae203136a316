"""Providers' models: answers, token counts and keys. The vendors' clients are real, the servers are the stub."""

import json

import pytest

from core.errors import AuthError, RefusedError, SettingsError
from core.judging.judge import assess
from core.llm.chat import Message, Usage
from core.packs.pack import load_pack
from core.records import Answer, Exchange, Transcript
from core.rehearsal.turns import USER_SCHEMA, read_user_message
from tests.blocks.conftest import KEY, PROVIDERS, ask, failure, make_block, only
from tests.core.judge_contexts import judge_context
from tests.stub.cache import tokens_of

VARIABLES = {
    "anthropic": "ANTHROPIC_API_KEY",
    "openai": "OPENAI_API_KEY",
    "openai-compatible": "OPENAI_COMPATIBLE_API_KEY",
    "google": "GEMINI_API_KEY",
}
STABLE = "Be kind, be brief, and never say the same thing twice. " * 150
"""Instructions long enough for every provider's cache."""


async def converse(model) -> list[Usage]:
    """Let a user simulator take three turns, each with another steering note at the end."""
    history, counted = [Message("user", "Begin.")], []
    for turn in range(3):
        note = Message("user", f"Turn {turn}. Dodge the question, and stay below {turn + 3} sentences.")
        reply = await model.complete(ask(role="user_simulator", system=STABLE, messages=(*history, note), volatile=1, item="t-1"))
        history += [Message("assistant", reply.text), Message("user", f"I see. What happened then, {turn + 1} days ago?")]
        counted.append(reply.usage)
    return counted


# --- answers --------------------------------------------------------------------------------------------------------


async def test_a_plain_answer_is_returned_unchanged_with_its_request_id(model, stub):
    stub.set(answer_text="Good evening.\n\nHow was it?")
    first, second = [await model.complete(ask()) for _ in range(2)]
    assert (first.text, first.finish) == ("Good evening.\n\nHow was it?", "stop")
    assert first.request_id
    assert second.request_id not in ("", None, first.request_id)


async def test_every_provider_answers_the_products_own_schemas(model):
    said = read_user_message((await model.complete(ask(schema=USER_SCHEMA))).text)
    assert said.message
    pack = load_pack("therapeutic-coaching")
    exchanges = [Exchange(exchange_number=number, user="I slept badly.", assistant="Since when?") for number in (1, 2, 3)]
    transcript = Transcript(id="t-1", exchanges=exchanges, system="Be kind.")
    for mode in ("single", "category", "criterion"):
        verdicts = (await assess(judge_context(model, transcript, mode, max_tokens=8000))).verdicts
        assert {verdict.criterion for verdict in verdicts} == set(pack.rubric.criteria)
        assert Answer.ERROR not in {verdict.answer for verdict in verdicts}


@pytest.mark.parametrize("provider", ["openai-compatible"])
async def test_a_code_fence_is_removed_from_json_and_kept_in_prose(model, stub):
    stub.set(**only(kind="fenced"))
    assert read_user_message((await model.complete(ask(schema=USER_SCHEMA))).text).message
    assert "```" in (await model.complete(ask())).text


async def test_a_truncated_answer_is_marked(model, stub):
    answer = "One thing after another. " * 40
    stub.set(answer_text=answer)
    reply = await model.complete(ask(max_tokens=20))
    assert reply.finish == "length"
    assert reply.text
    assert answer.startswith(reply.text)
    assert reply.usage.output_tokens == 20
    assert len(stub.log()) == 1


@pytest.mark.parametrize(
    ("provider", "value"), [("google", "OTHER"), ("google", "MALFORMED_RESPONSE"), ("openai-compatible", "error"), ("openai-compatible", "abort")]
)
async def test_an_answer_that_broke_off_is_marked_as_truncated(model, stub, value):
    stub.set(answer_text="A sentence that has no", **only(kind="stop_reason", value=value))
    assert (await model.complete(ask())).finish == "length"


@pytest.mark.parametrize("provider", ["google"])
async def test_an_answer_that_google_would_continue_is_marked_as_truncated(model, stub):
    stub.set(**only(kind="stop_reason", value="CONTINUATION"))
    assert (await model.complete(ask())).finish == "length"


@pytest.mark.parametrize("provider", ["openai"])
async def test_a_token_limit_below_openais_minimum_is_raised_to_it(model):
    assert (await model.complete(ask(max_tokens=3))).finish == "length"


async def test_an_empty_answer_is_returned_as_empty_text(model, stub):
    stub.set(**only(kind="empty"))
    reply = await model.complete(ask())
    assert (reply.text, reply.finish) == ("", "stop")


@pytest.mark.parametrize(
    ("provider", "fault"),
    [
        ("anthropic", {"kind": "refuse"}),
        ("anthropic", {"kind": "refuse", "category": "cyber"}),
        ("openai", {"kind": "refuse"}),
        ("openai", {"kind": "refuse", "variant": "content_filter"}),
        ("openai-compatible", {"kind": "refuse"}),
        ("openai-compatible", {"kind": "refuse", "variant": "content_filter"}),
        ("google", {"kind": "refuse"}),
        ("google", {"kind": "refuse", "variant": "PROHIBITED_CONTENT"}),
        ("google", {"kind": "refuse", "variant": "candidate"}),
        ("google", {"kind": "stop_reason", "value": "RECITATION"}),
        ("google", {"kind": "stop_reason", "value": "SPII"}),
    ],
    ids=str,
)
async def test_a_refusal_is_marked_and_billed(model, stub, fault):
    stub.set(answer_text="A poem by somebody else.", **only(**fault))
    reply = await model.complete(ask("Hello there."))
    assert reply.finish == "refusal"
    assert "poem" not in reply.text
    assert reply.text == fault.get("category", reply.text)
    assert reply.usage.input_tokens == tokens_of("Be kind.") + tokens_of("Hello there.")
    assert len(stub.log()) == 1


@pytest.mark.parametrize("provider", ["openai"])
async def test_a_prompt_against_openais_policy_is_refused_and_not_retried(model, stub):
    stub.set(**only(kind="refuse", variant="failed"))
    error = await failure(model)
    assert (type(error), error.retryable) == (RefusedError, False)
    assert "invalid_prompt" in str(error)


# --- counting -------------------------------------------------------------------------------------------------------


async def test_the_tokens_of_a_growing_conversation_match_the_providers_count(model, provider, stub):
    stub.set(thought_tokens=30)
    used = await converse(model)
    counted = stub.stats()[PROVIDERS[provider].protocol]["tokens"]
    assert counted["cache_read"] > tokens_of(STABLE)
    found = [sum(getattr(usage, f"{name}_tokens") for usage in used) for name in ("input", "cache_read", "cache_write", "output")]
    assert found == [counted[name] for name in ("input", "cache_read", "cache_write", "output")]
    words = {"anthropic": ("input_tokens", "uncached"), "openai-compatible": ("prompt_tokens", "input"), "google": ("promptTokenCount", "input")}
    name, meaning = words.get(provider, ("input_tokens", "input"))
    assert sum(usage.raw[name] for usage in used) == counted[meaning]


@pytest.mark.parametrize("provider", ["openai", "openai-compatible", "google"])
async def test_reasoning_tokens_count_as_output(model, stub):
    stub.set(answer_text="a" * 40, thought_tokens=30)
    reply = await model.complete(ask())
    assert reply.usage.output_tokens == 10 + 30
    assert (reply.text, reply.thought) == ("a" * 40, True)


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_each_turn_reads_the_cache_of_the_turn_before_and_the_volatile_note_is_never_cached(model):
    used = await converse(model)
    cached = [0, *(usage.cache_read_tokens + usage.cache_write_tokens for usage in used)]
    assert [usage.cache_read_tokens for usage in used] == cached[:-1]
    assert all(usage.cache_write_tokens > 0 for usage in used)
    note = tokens_of("Turn 0. Dodge the question, and stay below 3 sentences.")
    assert [usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens for usage in used] == [note] * 3


@pytest.mark.parametrize(("provider", "kinds"), [("anthropic", ["input_tokens", "output_tokens"]), ("openai", ["tokens"]), ("openai-compatible", ["tokens"])])
async def test_limits_are_read_from_the_headers(model, stub, kinds):
    limits = {"input_tokens": 2400, "output_tokens": 1200, "tokens": 6000}
    stub.set(requests_per_minute=6, burst_requests=4, cache_enabled=False, output_tokens=100, **{f"{kind}_per_minute": limits[kind] for kind in kinds})
    reply = await model.complete(ask("a" * 2392))
    whole = {"requests": (6, 4), **{kind: (limits[kind], limits[kind]) for kind in kinds}}
    used = {"requests": 1, "input_tokens": 600, "output_tokens": 100, "tokens": 700}
    assert {item.kind: item.limit for item in reply.allowances} == {kind: limit for kind, (limit, _) in whole.items()}
    for item in reply.allowances:
        limit, most = whole[item.kind]
        # a bucket fills up again while the answer travels, and Anthropic's resets are whole seconds
        assert item.remaining == pytest.approx(most - used[item.kind], abs=limit / 30 + 0.5)
        assert item.reset == pytest.approx(used[item.kind] * 60 / limit, abs=2)


async def test_without_limit_headers_there_are_no_allowances(model, stub):
    stub.set(requests_per_minute=6, send_limit_headers=False)
    assert (await model.complete(ask())).allowances == ()


async def test_earlier_models_of_openai_cache_without_breakpoints(stub):
    used = await converse(make_block("openai", stub.url, model="gpt-5.4-mini").get_client())
    assert used[-1].cache_read_tokens > 0.9 * tokens_of(STABLE)
    assert "breakpoint" not in json.dumps([sent["body"] for sent in stub.log()])
    assert not [sent for sent in stub.log() if "prompt_cache_options" in sent["body"]]


# --- keys -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["anthropic", "openai", "google"])
def test_the_error_for_a_missing_key_names_its_environment_variable(provider):
    with pytest.raises(SettingsError, match=VARIABLES[provider]):
        make_block(provider, "http://127.0.0.1", api_key="").get_client()


@pytest.mark.parametrize(("provider", "variable"), [*VARIABLES.items(), ("google", "GOOGLE_API_KEY")])
async def test_a_block_without_a_key_uses_that_of_the_environment(stub, monkeypatch, provider, variable):
    monkeypatch.setenv(variable, KEY.replace("test", "expired"))
    assert type(await failure(make_block(provider, stub.url, api_key="").get_client())) is AuthError
    assert (await make_block(provider, stub.url).get_client().complete(ask())).text
    monkeypatch.setenv(variable, KEY)
    assert (await make_block(provider, stub.url, api_key="").get_client().complete(ask())).text


async def test_a_line_break_after_a_key_is_ignored(stub, provider):
    assert (await make_block(provider, stub.url, api_key=f"{KEY}\n").get_client().complete(ask())).text


@pytest.mark.parametrize("rubbish", ["\n", "…", " "])
def test_an_invalid_key_is_refused_and_the_error_does_not_show_it(provider, rubbish):
    with pytest.raises(SettingsError, match="key") as refused:
        make_block(provider, "http://127.0.0.1", api_key=f"{KEY}{rubbish}{KEY}").get_client()
    assert KEY not in str(refused.value)


async def test_a_local_server_needs_an_address_and_no_key(stub, monkeypatch):
    with pytest.raises(SettingsError, match="OPENAI_COMPATIBLE_BASE_URL"):
        make_block("openai-compatible", "", base_url="").get_client()
    with pytest.raises(ValueError, match="'localhost:8080' is not an address"):
        make_block("openai-compatible", "", base_url="localhost:8080")
    monkeypatch.setenv("OPENAI_COMPATIBLE_BASE_URL", f"{stub.url}/v1")
    assert (await make_block("openai-compatible", "", base_url="", api_key="").get_client().complete(ask())).text


@pytest.mark.parametrize(
    ("provider", "variable"),
    [
        ("anthropic", "ANTHROPIC_BASE_URL"),
        ("openai", "OPENAI_BASE_URL"),
        ("google", "GOOGLE_GEMINI_BASE_URL"),
        ("openai-compatible", "OPENAI_COMPATIBLE_BASE_URL"),
    ],
)
@pytest.mark.parametrize(
    "address", ["https://somebody:passw0rd-of-it@example.org/v1", "example.org", "ftp://example.org", "https://example.org/v1?key=passw0rd"]
)
def test_an_address_from_the_environment_is_checked_like_one_from_the_settings(provider, variable, address, monkeypatch):
    monkeypatch.setenv(variable, address)
    with pytest.raises(SettingsError, match=variable) as refused:
        make_block(provider, "", base_url="").get_client()
    assert "passw0rd" not in str(refused.value)


def test_a_block_never_shows_its_key(provider):
    block = make_block(provider, "http://127.0.0.1")
    assert KEY not in f"{block!r} {block} {block.model_dump()} {block.model_dump_json()} {block.get_client()!r}"


NO_THOUGHTS = {"anthropic": {"thinking": "disabled"}, "openai": {"effort": "none"}, "openai-compatible": {}}


@pytest.mark.parametrize("provider", NO_THOUGHTS)
async def test_the_bytes_written_are_reported_only_for_models_without_thinking(provider, stub):
    stub.set(answer_text="größer als sonst", thought_tokens=0)
    model = make_block(provider, stub.url, **NO_THOUGHTS[provider]).get_client()
    replies = [await model.complete(ask()) for _ in range(2)]
    assert replies[-1].written == len("größer als sonst".encode())
    if provider == "openai-compatible":
        stub.set(thought_tokens=50)
        assert (await model.complete(ask())).written is None
        stub.set(thought_tokens=0, **only(kind="usage", value=None))
        assert (await model.complete(ask())).written is None  # the model has answered with thinking before
    fresh = make_block(provider, stub.url).get_client()
    stub.set(thought_tokens=50, **only(kind="usage", value=None))
    assert (await fresh.complete(ask())).written is None

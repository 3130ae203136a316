"""The stub, used through the vendors' own clients: they must get what the vendor would send."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google import genai

from tests.stub.client import Stub, start_stub
from tests.stub.limits import Exceeded, Limits
from tests.stub.settings import Settings
from tests.stub.vendors import MODELS, Clients, Judgement, status_of, text_of

everywhere = pytest.mark.parametrize("protocol", MODELS)


@pytest.fixture(scope="module")
def running() -> Iterator[Stub]:
    with start_stub() as stub:
        yield stub


@pytest.fixture
def stub(running: Stub) -> Stub:
    running.set(**asdict(Settings()))
    running.reset()
    return running


@pytest.fixture
async def clients(stub: Stub) -> AsyncIterator[Clients]:
    clients = Clients(stub.url, "sk-test")
    yield clients
    await clients.close()


@everywhere
async def test_a_plain_answer_is_prose_and_depends_only_on_the_request(clients, stub, protocol):
    first, again, other = [text_of(protocol, await clients.ask(protocol, question)) for question in ("Hello.", "Hello.", "Good evening.")]
    assert first == again != other
    assert 30 <= len(first.split()) <= 100
    stats = stub.stats()[protocol]
    assert (stats["calls"], stats["ok"], stats["tokens"]["input"]) == (3, 3, 2 + 2 + 2 + 2 + 2 + 4)
    assert [entry["model"] for entry in stub.log()] == [MODELS[protocol]] * 3
    assert "sk-test" not in json.dumps(stub.log())


@everywhere
async def test_a_structured_answer_matches_its_schema(clients, protocol):
    found = Judgement.model_validate_json(text_of(protocol, await clients.ask(protocol, "Judge.", schema=Judgement)))
    assert [verdict.criterion for verdict in found.verdicts] == ["warmth", "honesty", "pace"]
    assert all(verdict.cited == [1] for verdict in found.verdicts)
    assert found.done is False
    assert 30 <= len(found.message.split()) <= 90


@everywhere
@pytest.mark.parametrize(("key", "status"), [("bad", 401), ("expired", 401), ("forbidden", 403)])
async def test_invalid_keys_are_refused(stub, protocol, key, status):
    clients = Clients(stub.url, f"sk-{key}")
    assert status_of(await clients.refusal(protocol)) == status
    stub.set(google_key_error=400)
    assert protocol != "google" or key == "forbidden" or "API_KEY_INVALID" in str(await clients.refusal("google"))
    await clients.close()


@everywhere
async def test_errors_raise_the_clients_own_exceptions(clients, stub, protocol):
    assert status_of(await clients.refusal(protocol, model="unknown-1")) == 404
    stub.set(context_tokens=5)
    overflow = await clients.refusal(protocol, "a" * 100)
    expected = {"anthropic": "prompt is too long: 27 tokens > 5 maximum", "google": "The input token count (27) exceeds the maximum"}
    assert expected.get(protocol, "context_length_exceeded") in f"{overflow} {getattr(overflow, 'code', '')}"
    assert status_of(await clients.refusal("chat", "a" * 100, model="gemma")) == status_of(overflow) == 400
    stub.set(context_tokens=None, faults=[{"when": {"contains": 'say "Ä"'}, "fault": {"status": 500}}, {"when": {"calls": [1]}, "fault": {"status": 503}}])
    problem = await clients.refusal(protocol, 'Please say "Ä".')
    assert isinstance(problem, {"anthropic": anthropic.InternalServerError, "google": genai.errors.ServerError}.get(protocol, openai.InternalServerError))
    assert status_of(await clients.refusal(protocol)) == 503
    assert text_of(protocol, await clients.ask(protocol, "Hello."))


@everywhere
async def test_a_spend_limit_is_a_429_that_names_it(clients, stub, protocol):
    stub.set(faults=[{"fault": {"kind": "spend_limit"}, "times": 1, "protocol": protocol}])
    problem = await clients.refusal(protocol)
    assert status_of(problem) == 429
    reported = {"anthropic": "enforced_spend_limit_reached", "google": "GenerateRequestsPerDayPerProjectPerModel"}.get(protocol, "insufficient_quota")
    assert reported in f"{problem} {getattr(problem, 'body', '')}"
    assert text_of(protocol, await clients.ask(protocol, "Hello."))


@pytest.mark.parametrize("stop", ["refusal", "max_tokens", "model_context_window_exceeded"])
async def test_anthropic_refusals_and_stops(clients, stub, stop):
    stub.set(faults=[{"fault": {"refusal": {"kind": "refuse"}, "max_tokens": {"kind": "truncate"}}.get(stop, {"kind": "stop_reason", "value": stop})}])
    said = await clients.ask("anthropic", "Hello.")
    assert (said.stop_reason, said.stop_details is None) == (stop, stop != "refusal")


async def test_openai_refusals_and_stops(clients, stub):
    async def both(**fault: str) -> tuple[Any, Any]:
        stub.set(faults=[{"fault": fault}])
        return (await clients.ask("chat", "Hello.")).choices[0], await clients.ask("responses", "Hello.")

    choice, response = await both(kind="refuse")
    assert choice.message.refusal == response.output[0].content[0].refusal
    choice, response = await both(kind="refuse", variant="content_filter")
    assert (choice.finish_reason, response.incomplete_details.reason) == ("content_filter", "content_filter")
    choice, response = await both(kind="truncate")
    assert (choice.finish_reason, response.incomplete_details.reason) == ("length", "max_output_tokens")
    assert (await both(kind="refuse", variant="failed"))[1].error.code == "invalid_prompt"


async def test_google_refusals_and_stops(clients, stub):
    stub.set(faults=[{"fault": {"kind": "refuse"}}])
    said = await clients.ask("google", "Hello.")
    assert (said.candidates, said.prompt_feedback.block_reason) == (None, "SAFETY")
    for fault, reason in (({"kind": "refuse", "variant": "candidate"}, "SAFETY"), ({"kind": "truncate"}, "MAX_TOKENS")):
        stub.set(faults=[{"fault": fault}])
        assert (await clients.ask("google", "Hello.")).candidates[0].finish_reason == reason


@everywhere
async def test_answers_can_be_malformed_or_empty(clients, stub, protocol):
    for kind in ("invalid", "fenced", "truncate"):
        stub.set(faults=[{"fault": {"kind": kind}}])
        text = text_of(protocol, await clients.ask(protocol, "Judge.", schema=Judgement))
        with pytest.raises(ValueError, match="validation error"):
            Judgement.model_validate_json(text)
    stub.set(faults=[{"fault": {"kind": "empty"}}])
    assert not text_of(protocol, await clients.ask(protocol, "Judge."))


@everywhere
async def test_connections_can_break_off_or_hang(clients, stub, protocol):
    for kind in ("drop", "drop_mid"):
        stub.set(faults=[{"fault": {"kind": kind}}])
        with pytest.raises((anthropic.APIConnectionError, openai.APIConnectionError, httpx2.TransportError)):
            await clients.ask(protocol, "Hello.")
    stub.set(faults=[{"fault": {"kind": "hang", "seconds": 30}}])
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(clients.ask(protocol, "Hello."), 0.2)
    stub.set(faults=[])
    assert text_of(protocol, await clients.ask(protocol, "Hello."))
    while stub.stats()[protocol]["in_flight"]:
        await asyncio.sleep(0.01)
    assert stub.stats()[protocol]["status"] == {"0": 3, "200": 1}


@everywhere
@pytest.mark.parametrize("shape", [{"burst_requests": 4}, {"burst": 40}, {"window": "fixed", "window_s": 40}], ids=str)
async def test_the_request_limit_admits_exactly_the_allowed_calls(clients, stub, protocol, shape):
    stub.set(requests_per_minute=6, **shape)
    assert await clients.outcomes(protocol, 7) == [200] * 4 + [429] * 3
    problem = await clients.refusal(protocol)
    if protocol == "google":
        failure, retry = problem.details["error"]["details"]
        assert failure["violations"][0]["quotaId"] == "GenerateRequestsPerMinutePerProjectPerModel"
        assert 1 <= float(retry["retryDelay"].removesuffix("s")) <= 40
    else:
        assert 1 <= int(problem.response.headers["retry-after"]) <= 40


def test_a_limit_recovers_at_its_rate():
    limits = Limits(Settings(requests_per_minute=60, burst_requests=1, output_tokens_per_minute=600), now=0)
    assert limits.admit(0, 10, 10) is None
    assert limits.admit(0.25, 10, 10) == Exceeded("requests", 60, 0.75)
    limits.settle(0.5, 619)
    assert limits.admit(1, 10, 10) == Exceeded("output_tokens", 600, 1.5)
    assert limits.admit(2.7, 10, 10) is None


async def test_limit_headers(clients, stub):
    async def headers(create: Any, **extra: Any) -> Any:
        return (await create.with_raw_response.create(messages=[{"role": "user", "content": "Hello."}], **extra)).headers

    stub.set(requests_per_minute=6, burst_requests=4, output_tokens_per_minute=600, tokens_per_minute=6000)
    found = await headers(clients.anthropic.messages, model="claude", max_tokens=50)
    assert (found["anthropic-ratelimit-requests-limit"], found["anthropic-ratelimit-requests-remaining"]) == ("6", "3")
    assert 550 <= int(found["anthropic-ratelimit-output-tokens-remaining"]) < 600
    assert re.fullmatch(r"20..-..-..T..:..:..Z", found["anthropic-ratelimit-requests-reset"])
    found = await headers(clients.openai.chat.completions, model="gpt-6-luna")
    assert (found["x-ratelimit-limit-tokens"], found["x-ratelimit-remaining-requests"]) == ("6000", "3")
    assert re.fullmatch(r"(\d+s|9\.\d+s)", found["x-ratelimit-reset-requests"])
    stub.set(send_limit_headers=False)
    assert not [name for name in await headers(clients.openai.chat.completions, model="gpt-6-luna") if "ratelimit" in name]


async def test_tokens_read_from_the_cache_do_not_count_towards_anthropics_input_limit(clients, stub):
    stub.set(input_tokens_per_minute=5000, cache_enabled=True)
    marked: dict[str, Any] = {"system": "s" * 16_000, "cache_control": {"type": "ephemeral"}}
    for _ in range(4):
        await clients.ask("anthropic", "Hello.", **marked)
    assert status_of(await clients.refusal("anthropic", "Hello.", system="t" * 16_000)) == 429


@everywhere
async def test_concurrency_is_limited_and_counted(clients, stub, protocol):
    stub.set(concurrency=2, latency_s=0.2)
    assert await clients.outcomes(protocol, 5) == [200] * 2 + [429] * 3
    assert stub.stats()[protocol]["max_in_flight"] == 2


@pytest.mark.parametrize("protocol", ["anthropic", "responses"])
async def test_a_growing_conversation_of_two_agents_uses_the_tokens_calculated_by_hand(clients, stub, protocol):
    extra = {"cache_control": {"type": "ephemeral"}} if protocol == "anthropic" else {}
    for name, system, first in (("a", 800, 200), ("u", 1199, 1)):
        history = [name * 4 * first]
        for turn in range(10):
            key = {} if protocol == "anthropic" else {"prompt_cache_key": name}
            await clients.ask(protocol, *history, system=name * 4 * system, **extra, **key)
            history += [f"{turn:04}" * 200, f"{turn + 50:04}" * 200]
    stats = stub.stats()[protocol]
    assert stats["tokens"]["input"] == 10 * (800 + 1200) + 200 * (2 * 10**2 - 10)
    assert stats["billed_input"] == pytest.approx(17_510)


async def test_openais_cache_depends_on_the_generation_of_the_model(clients, stub):
    async def usage(tail: str, **extra: Any) -> tuple[int, int]:
        said = await clients.ask("responses", tail, system="s" * 8000, **extra)
        return said.usage.input_tokens_details.cached_tokens, said.usage.input_tokens_details.cache_write_tokens

    assert [await usage(tail, model="gpt-5.4-mini") for tail in ("one", "two")] == [(0, 0), (1920, 0)]
    assert [await usage(tail) for tail in ("one", "two", "two")] == [(0, 2001), (0, 2001), (2001, 0)]
    stable = {"type": "input_text", "text": "t" * 7996, "prompt_cache_breakpoint": {"mode": "explicit"}}
    for tail, expected in (("one", (0, 1999 + 2000)), ("two", (1999 + 2000, 0))):
        content = [stable, {"type": "input_text", "text": tail}]
        assert await usage("", input=[{"role": "user", "content": content}], prompt_cache_options={"mode": "explicit"}) == expected


async def test_an_entry_can_be_read_only_once_its_answer_has_begun(clients, stub):
    stub.set(latency_s=0.2)
    marked: dict[str, Any] = {"system": "s" * 8000, "cache_control": {"type": "ephemeral"}}
    said = await asyncio.gather(*(clients.ask("anthropic", "Hello.", **marked) for _ in range(2)))
    assert [one.usage.cache_read_input_tokens for one in said] == [0, 0]
    assert (await clients.ask("anthropic", "Hello.", **marked)).usage.cache_read_input_tokens == 2002


async def test_googles_cache_and_thoughts(clients, stub):
    stub.set(thought_tokens=30)
    first, second = [(await clients.ask("google", tail, system="s" * 8000)).usage_metadata for tail in ("one", "two")]
    assert (first.cached_content_token_count, second.cached_content_token_count) == (None, 1920)
    assert (second.prompt_token_count, second.thoughts_token_count) == (2001, 30)
    assert second.total_token_count == 2001 + 30 + second.candidates_token_count


@pytest.mark.parametrize(
    ("protocol", "extra", "named"),
    [
        ("anthropic", {"extra_body": {"temperature": 0}}, "temperature: Extra inputs are not permitted"),
        ("anthropic", {"system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}] * 5}, "A maximum of 4 blocks with cache_control"),
        ("anthropic", {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object", "properties": {}}}}}, "additionalProperties"),
        ("responses", {"most": 8}, "max_output_tokens"),
        ("responses", {"temperature": 0.2}, "temperature"),
        ("responses", {"extra_body": {"seed": 1}}, "Unknown parameter: 'seed'"),
        ("responses", {"model": "gpt-5.4", "prompt_cache_options": {"mode": "explicit"}}, "prompt_cache_options"),
        ("responses", {"text": {"format": {"type": "json_schema", "name": "a", "strict": True, "schema": {"type": "object"}}}}, "additionalProperties"),
        ("chat", {"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
    ],
)
async def test_an_invalid_request_is_refused_and_its_field_named(clients, protocol, extra, named):
    problem = await clients.refusal(protocol, "Hello.", **extra)
    assert status_of(problem) == 400
    assert named in str(problem)


async def test_roles_that_do_not_alternate_are_refused_if_that_is_set(clients, stub):
    stub.set(strict_alternation=True)
    turns: Any = [{"role": "user", "content": "One."}, {"role": "user", "content": "Two."}]
    with pytest.raises(openai.BadRequestError, match="roles must alternate"):
        await clients.openai.chat.completions.create(model="gemma", messages=turns)


async def test_a_streamed_answer_equals_the_plain_one(clients):
    async with clients.anthropic.messages.stream(model="claude", max_tokens=500, messages=[{"role": "user", "content": "Hello."}]) as stream:
        whole = await stream.get_final_message()
    assert whole.content[0].text == text_of("anthropic", await clients.ask("anthropic", "Hello.", model="claude", system=anthropic.omit))
    assert (whole.stop_reason, whole.usage.input_tokens) == ("end_turn", 2)


async def test_the_answer_is_given_through_claude_codes_own_tool(clients):
    tool: Any = {"name": "StructuredOutput", "input_schema": Judgement.model_json_schema()}
    said = await clients.ask("anthropic", "Judge.", tools=[tool])
    assert (said.stop_reason, said.content[0].name) == ("tool_use", "StructuredOutput")
    assert Judgement.model_validate(said.content[0].input)


async def test_unknown_settings_and_faults_are_refused(stub):
    with pytest.raises(ValueError, match="Unknown settings latency"):
        stub.set(latency=1)
    with pytest.raises(ValueError, match="needs a `status` or one of the kinds"):
        stub.set(faults=[{"fault": {"kind": "flood"}}])

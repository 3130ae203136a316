"""Each failure at a provider becomes an error with advice that says whether and when to retry, after a single request."""

import asyncio
import socket
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from core.errors import (
    AuthError,
    BadRequestError,
    ConnectError,
    ContextError,
    MalformedError,
    ModelTimeoutError,
    OverloadedError,
    ProviderError,
    QuotaError,
    RateLimitError,
    SettingsError,
    UnknownModelError,
)
from core.llm.chat import Allowance
from tests.blocks.conftest import KEY, PROVIDERS, ask, failure, make_block, only

STATUSES = {
    400: BadRequestError,
    401: AuthError,
    402: QuotaError,
    403: AuthError,
    404: UnknownModelError,
    408: ModelTimeoutError,
    409: ProviderError,
    413: ContextError,
    429: RateLimitError,
    500: ProviderError,
    502: ProviderError,
    503: OverloadedError,
    504: ModelTimeoutError,
    529: OverloadedError,
}
MAY_PASS = {408, 409, 429, 500, 502, 503, 504, 529}
QUOTA = "type.googleapis.com/google.rpc.QuotaFailure"
RETRY = "type.googleapis.com/google.rpc.RetryInfo"


def violations(*names: str) -> list[dict[str, Any]]:
    """Return the details of Google's error for quotas that were used up."""
    return [{"@type": QUOTA, "violations": [{"quotaId": name, "quotaValue": str(1000 + number)} for number, name in enumerate(names)]}]


async def test_each_status_has_its_error_which_says_whether_to_retry(model, stub):
    for status, expected in STATUSES.items():
        stub.set(**only(status=status, message="So it is.", headers={"retry-after": "7"}))
        stub.reset()
        error = await failure(model)
        assert (type(error), error.retryable, len(stub.log())) == (expected, status in MAY_PASS, 1), status
        assert error.retry_after == 7 or not error.retryable, status
        assert f"{model.reference} answered {status}: So it is." in str(error)


@pytest.mark.parametrize(
    "message",
    [
        "Invalid schema for response_format 'judge': In context=(), 'additionalProperties' is required to be supplied and to be false.",
        "output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false",
        "Invalid JSON schema provided in response_json_schema",
        "failed to parse json_schema: unsupported type",
    ],
)
async def test_a_schema_that_the_provider_does_not_support_ends_the_run(model, stub, message):
    stub.set(**only(status=400, message=message))
    error = await failure(model, ask(schema={"type": "object", "properties": {}, "required": [], "additionalProperties": False}))
    assert type(error) is SettingsError
    assert "does not support the requested answer format: choose another model" in str(error)


async def test_the_error_for_an_unknown_model_names_it(provider, stub):
    error = await failure(make_block(provider, stub.url, model="unknown-1").get_client())
    assert type(error) is UnknownModelError
    assert "unknown-1" in str(error)


@pytest.mark.parametrize("reason", ["bad", "expired", "forbidden"])
async def test_a_refused_key_ends_the_run_and_the_error_does_not_show_it(provider, stub, reason):
    key = KEY.replace("test", reason)
    error = await failure(make_block(provider, stub.url, api_key=key).get_client())
    assert (type(error), error.retryable) == (AuthError, False)
    assert key not in f"{error} {error!r} {error.__cause__}"
    assert len(stub.log()) == 1


@pytest.mark.parametrize("provider", ["google"])
@pytest.mark.parametrize("reason", ["bad", "expired"])
async def test_a_wrong_google_key_is_an_auth_error_despite_status_400(provider, stub, reason):
    stub.set(google_key_error=400)
    error = await failure(make_block(provider, stub.url, api_key=KEY.replace("test", reason)).get_client())
    assert type(error) is AuthError
    assert stub.log()[0]["status"] == 400


# --- limits ---------------------------------------------------------------------------------------------------------


async def test_retry_after_is_read_in_every_form(model, stub):
    now = datetime.now(UTC)
    forms = [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "2"}, 1.5),
        ({"retry-after": format_datetime(now + timedelta(hours=1), usegmt=True)}, pytest.approx(3600, abs=120)),
        ({"retry-after": format_datetime(now - timedelta(hours=1), usegmt=True)}, 0),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ]
    for headers, expected in forms:
        stub.set(**only(status=429, headers=headers))
        error = await failure(model)
        assert (type(error), error.retry_after) == (RateLimitError, expected), headers


@pytest.mark.parametrize("provider", ["google"])
async def test_googles_retry_delay_takes_precedence_over_the_headers(model, stub):
    for delay, seconds in (("34s", 34), ("0.25s", 0.25)):
        stub.set(**only(status=429, headers={"retry-after": "7"}, details=[{"@type": RETRY, "retryDelay": delay}]))
        assert (await failure(model)).retry_after == seconds


async def test_a_429_for_requests_reports_only_the_request_limit(model, provider, stub):
    stub.set(requests_per_minute=6, burst_requests=1)
    await model.complete(ask())
    error = await failure(model)
    assert (type(error), error.retryable) == (RateLimitError, True)
    assert 1 <= error.retry_after <= 10
    (limit,) = error.allowances
    assert (limit.kind, limit.limit, limit.remaining) == ("requests", 6, None if provider == "google" else 0)


@pytest.mark.parametrize(
    ("provider", "kind"), [("anthropic", "input_tokens"), ("openai", "tokens"), ("openai-compatible", "tokens"), ("google", "input_tokens")]
)
async def test_a_429_for_tokens_reports_only_the_token_limit(model, stub, kind):
    stub.set(cache_enabled=False, **{f"{kind}_per_minute": 900})
    await model.complete(ask("a" * 2400))
    error = await failure(model, ask("a" * 2400))
    assert type(error) is RateLimitError
    (limit,) = error.allowances
    assert (limit.kind, limit.limit) == (kind, 900)


@pytest.mark.parametrize("provider", ["google"])
async def test_googles_quotas_for_requests_and_tokens_are_distinguished(model, stub):
    quotas: dict[str, Any] = {
        "GenerateContentInputTokensPerModelPerMinute-FreeTier": "input_tokens",
        "GenerateContentPaidTierInputTokensPerModelPerMinute": "input_tokens",
        "GenerateContentOutputTokensPerModelPerMinute": "output_tokens",
        "GenerateRequestsPerMinutePerProjectPerModel": "requests",
    }
    for name, kind in quotas.items():
        stub.set(**only(status=429, details=violations(name)))
        error = await failure(model)
        assert (type(error), error.allowances) == (RateLimitError, (Allowance(kind, limit=1000),)), name
    both = violations("GenerateRequestsPerMinutePerProjectPerModel", "GenerateContentInputTokensPerModelPerMinute")
    stub.set(**only(status=429, details=both))
    assert (await failure(model)).allowances == (Allowance("requests", limit=1000), Allowance("input_tokens", limit=1001))


@pytest.mark.parametrize("provider", ["google"])
async def test_a_daily_quota_of_google_ends_the_run(model, stub):
    daily = ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "GenerateContentInputTokensPerModelPerDay")
    for names in ([daily[0]], [daily[1]], ["GenerateRequestsPerMinutePerProjectPerModel", daily[0]]):
        stub.set(**only(status=429, details=violations(*names)))
        error = await failure(model)
        assert (type(error), error.retryable) == (QuotaError, False), names


async def test_a_429_for_a_spend_limit_ends_the_run(model, stub):
    stub.set(**only(kind="spend_limit"))
    error = await failure(model)
    assert (type(error), error.retryable) == (QuotaError, False)
    assert stub.log()[0]["status"] == 429


@pytest.mark.parametrize("provider", ["anthropic"])
async def test_exhausted_anthropic_credit_is_a_quota_error_despite_status_400(model, stub):
    stub.set(**only(status=400, message="Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing."))
    assert type(await failure(model)) is QuotaError


@pytest.mark.parametrize("provider", ["anthropic"])
async def test_an_overload_is_recognised_by_its_type_at_any_status(model, stub):
    stub.set(**only(status=500, error="overloaded_error"))
    assert type(await failure(model)) is OverloadedError


# --- prompts that do not fit ----------------------------------------------------------------------------------------


async def test_a_prompt_that_does_not_fit_is_distinguished_from_other_bad_requests(model, stub):
    stub.set(context_tokens=5)
    error = await failure(model, ask("a" * 100))
    assert (type(error), error.retryable) == (ContextError, False)
    assert len(stub.log()) == 1


@pytest.mark.parametrize("name", ["gpt-4.1", "gemma"])
async def test_a_context_error_is_recognised_in_the_wording_of_each_compatible_server(stub, name):
    model = make_block("openai-compatible", stub.url, model=name).get_client()
    for said in (None, "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.", "exceeds the available context size"):
        stub.set(**(only(kind="context") if said is None else only(status=400, message=said)))
        assert type(await failure(model)) is ContextError, said


@pytest.mark.parametrize("provider", ["anthropic"])
async def test_a_prompt_that_leaves_no_room_for_the_answer_is_a_context_error(model, stub):
    stub.set(**only(status=400, message="input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length"))
    assert type(await failure(model)) is ContextError


@pytest.mark.parametrize("provider", ["anthropic"])
async def test_an_answer_that_fills_the_context_is_a_context_error(model, stub):
    stub.set(**only(kind="stop_reason", value="model_context_window_exceeded"))
    error = await failure(model)
    assert (type(error), error.retryable) == (ContextError, False)
    assert len(stub.log()) == 1


# --- connections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["drop", "drop_mid"])
async def test_a_broken_connection_is_retryable_and_may_have_been_billed(model, stub, kind):
    stub.set(**only(kind=kind))
    error = await failure(model)
    assert (type(error), error.retryable, error.unbilled) == (ConnectError, True, False)
    assert stub.url in str(error)
    assert len(stub.log()) == 1
    stub.set(faults=[])
    assert (await model.complete(ask())).text


async def test_a_refused_connection_is_retryable_and_not_billed(provider):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        error = await failure(make_block(provider, address).get_client())
    assert (type(error), error.retryable, error.unbilled) == (ConnectError, True, True)
    assert address in str(error)


@pytest.mark.parametrize("kind", ["html", "not_json"])
async def test_a_wrong_server_is_a_settings_error_after_malformed_answers_to_three_conversations(provider, model, stub, kind):
    stub.set(**only(kind=kind))
    for item in ("one", "one", "two"):
        error = await failure(model, ask(item=item))
        assert (type(error), error.retryable) == (MalformedError, True)
        assert "Check the base URL" in str(error)
    error = await failure(model, ask(item="three"))
    assert type(error) is SettingsError
    assert stub.url in str(error)
    assert len(stub.log()) == 4
    answering = make_block(provider, stub.url).get_client()
    stub.set(faults=[])
    await answering.complete(ask())
    stub.set(**only(kind=kind))
    for item in ("one", "two", "three", "four"):
        error = await failure(answering, ask(item=item))
        assert (type(error), error.retryable) == (MalformedError, True)


async def test_a_cancelled_call_closes_its_connection(model, provider, stub):
    stub.set(**only(kind="hang", seconds=60))
    protocol = PROVIDERS[provider].protocol
    call = asyncio.create_task(model.complete(ask()))
    while not stub.stats().get(protocol, {}).get("in_flight"):
        await asyncio.sleep(0.01)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    while stub.stats()[protocol]["in_flight"]:
        await asyncio.sleep(0.01)
    assert len(stub.log()) == 1

"""A malformed answer of a provider fails only its call; it is in the ledger, and the next call works."""

import asyncio
import json
from typing import Any

import pytest

from core.errors import ModelError, RateLimitError
from core.llm.bills import read_entries
from core.llm.calls import Caller
from core.llm.chat import Reply
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import Given
from core.settings.models import Budget, ModelSettings, Price
from core.storage.store import Store
from tests.blocks.conftest import ask, failure, only
from tests.core.simulation import CALLS
from tests.malformed_answers import BODIES, COUNTS, DEEP, PATHS, VALUES, WAITS

ONCE = CALLS.model_copy(
    update={
        "attempts": 1,
        "total_seconds": 0.001,
        "unusable_answers": 1,
        "first_backoff_seconds": 0.001,
        "longest_backoff_seconds": 0.001,
        "outage_seconds": 1e6,
    }
)


def caller_of(model: Any, folder: Any) -> Caller:
    """Return a model as the product calls it, each call once."""
    limiter = Limiter(model.reference, ModelSettings(concurrency=50), ONCE)
    return Caller(model, limiter, ONCE, Given(Price(input=1, output=5)), Ledger(Store(str(folder)), "run", Budget()))


async def outcome_of(caller: Caller, **more: Any) -> Reply | ModelError:
    """Return the outcome of a call: a usable answer, or the kind of error that loses an item."""
    try:
        reply = await caller.complete(ask(**more))
    except ModelError as error:
        return error
    assert reply.text.strip()
    assert "\0" not in reply.text
    json.dumps([reply.text, reply.request_id, dict(reply.usage.raw)], ensure_ascii=False).encode()
    return reply


async def each_costs_one(caller: Caller, stub: Any, folder: Any, faults: list[dict[str, Any]], one_by_one: bool = True) -> list[Reply | ModelError]:
    """Make a call with each fault; check that each is in the ledger, that none stops the run, and that the next call works.

    Args:
        one_by_one: whether the stub is given each fault just before its call; otherwise all at once, which is faster, but each call may make one request only.
    """
    if not one_by_one:
        stub.set(faults=[{"fault": fault, "times": 1} for fault in faults])
    found = []
    for fault in faults:
        if one_by_one:
            stub.set(**only(**fault))
        try:
            found.append(await outcome_of(caller))
        except BaseException as error:
            raise AssertionError(f"{type(error).__name__} of {str(fault)[:200]}: {str(error)[:300]}") from error
    if one_by_one:
        stub.set(faults=[])
    assert isinstance(await outcome_of(caller), Reply)
    entries = read_entries(Store(str(folder)), "run")
    assert len(entries) >= len(faults) + 1  # a 429 may be tried again
    said = [str(error) for error in found if isinstance(error, ModelError)]
    assert json.dumps(said, ensure_ascii=False).encode()  # the answer can be stored
    assert max(map(len, said), default=0) < 1000
    assert all(entry["usd"] is not None for entry in entries)
    return found


@pytest.mark.slow
async def test_a_malformed_field_of_an_answer_fails_that_call_only(provider, model, stub, tmp_path):
    parts = [*((path, value) for path in PATHS[provider] for value in VALUES), *((PATHS[provider][0], value) for value in DEEP)]
    faults = [{"kind": "mutate", "path": path, "json": value} for path, value in parts]
    await each_costs_one(caller_of(model, tmp_path), stub, tmp_path, faults, one_by_one=False)


@pytest.mark.slow
async def test_a_malformed_body_fails_that_call_only(provider, model, stub, tmp_path):
    came = await each_costs_one(caller_of(model, tmp_path), stub, tmp_path, [{"kind": "raw", **body} for body in BODIES])
    for body, found in zip(BODIES, came, strict=True):
        assert isinstance(found, ModelError), body
        assert not found.unbilled or body.get("status", 200) >= 400, body  # after any other error an answer may have been written


@pytest.mark.slow
async def test_malformed_rate_limit_headers_neither_fail_nor_block_a_call(provider, model, stub, tmp_path):
    caller = caller_of(model, tmp_path)
    for value in WAITS:
        stub.set(**only(status=429, headers={"retry-after": value}))
        error = await failure(model)
        assert type(error) is RateLimitError, value
        assert error.retry_after is None or 0 <= error.retry_after <= 366 * 86400, (value, error.retry_after)
    names = [f"anthropic-ratelimit-{kind}-{part}" for kind in ("requests", "input-tokens") for part in ("limit", "remaining", "reset")]
    names += [f"x-ratelimit-{part}-{kind}" for kind in ("requests", "tokens") for part in ("limit", "remaining", "reset")]
    for value in COUNTS:
        stub.set(**only(kind="mutate", path=["id"], json="5", headers=dict.fromkeys(names, value)))
        assert isinstance(await outcome_of(caller), Reply), value
    for value in COUNTS:
        stub.set(**only(kind="mutate", path=["id"], json="5", headers={name: value for name in names if not name.endswith("limit")}))
        assert isinstance(await asyncio.wait_for(outcome_of(caller), 5), Reply), value

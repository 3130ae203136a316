"""The limiter uses known limits fully, finds unknown ones with few refusals, and waits out outages jointly."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import ModelError, ProviderError, RateLimitError, UnavailableError
from core.llm.limiter import Limiter
from core.settings.models import ModelSettings
from tests.core.simulation import CALLS, Provider, asked, caller, clock, in_virtual_time, keep_busy, many


def drive(provider, tmp_path, count, limits=None, characters=400, at_once=200):
    """Return the seconds that the calls took and how many were lost."""

    async def run():
        started = clock()
        found = await many(caller(provider, tmp_path, limits), count, at_once, characters)
        return clock() - started, sum(isinstance(item, BaseException) for item in found)

    return in_virtual_time(run())


@pytest.mark.slow
@settings(max_examples=6)
@given(per_minute=st.integers(30, 2000), latency=st.floats(0.01, 5), burst=st.integers(2, 100))
def test_a_known_request_limit_is_nearly_used_up_and_never_exceeded(tmp_path_factory, per_minute, latency, burst):
    count = max(60, per_minute // 2)
    provider = Provider(per_minute, max(burst, per_minute / 60 * 0.1 + 1), latency=latency)
    seconds, lost = drive(provider, tmp_path_factory.mktemp("l"), count, ModelSettings(concurrency=10000, requests_per_minute=per_minute), at_once=10000)
    assert (provider.refused, lost) == (0, 0)
    # the last call begins when its turn comes; the bucket's own stock may make it earlier
    assert count - 1 >= 0.97 * per_minute / 60 * (seconds - latency) - 1


MOST = 600
"""Calls of an example."""


@pytest.mark.slow
@settings(max_examples=4)
@given(tokens_per_minute=st.integers(20_000, 2_000_000), characters=st.integers(400, 8000))
def test_a_known_token_limit_is_nearly_used_up_and_never_exceeded(tmp_path_factory, tokens_per_minute, characters):
    tokens, per_second = characters // 4, tokens_per_minute / 60
    count = max(40, int(2 * tokens_per_minute / tokens))
    provider = Provider(tokens_per_minute=tokens_per_minute, token_burst=3 * per_second + 3 * tokens)
    given_limits = ModelSettings(concurrency=10000, input_tokens_per_minute=tokens_per_minute)
    seconds, lost = drive(provider, tmp_path_factory.mktemp("l"), min(count, MOST), given_limits, characters, at_once=10000)
    assert (provider.refused, lost) == (0, 0)
    if min(count, MOST) * tokens > tokens_per_minute:
        assert min(count, MOST) * tokens >= 0.97 * per_second * (seconds - provider.latency)


@pytest.mark.slow
@pytest.mark.parametrize(("per_minute", "burst"), [(60, 1), (60, 5), (600, 10), (1800, 30), (600, 600)])
def test_an_unknown_limit_is_found_with_few_refusals_and_nothing_lost(tmp_path, per_minute, burst):
    provider = Provider(per_minute, burst)
    count = max(600, 2 * per_minute // 3)
    seconds, lost = drive(provider, tmp_path, count)
    assert lost == 0
    assert provider.refused <= 0.03 * (provider.refused + count)
    assert count >= 0.8 * per_minute / 60 * (seconds - provider.latency)


@pytest.mark.slow
def test_an_unknown_concurrency_limit_is_found_with_few_refusals(tmp_path):
    provider = Provider(at_once=8)
    seconds, lost = drive(provider, tmp_path, 3000)
    assert lost == 0
    assert provider.refused <= 0.03 * 3000
    # halving and adding one call at a time reaches 46 % (bench/pacing.py)
    assert 0.5 * 8 / provider.latency * seconds <= 3000


class Bursts(Provider):
    """Refuses everything, or a share of it, for a while."""

    def __init__(self, start, seconds, share=1.0, retry_after=1.0, every=1e9, **more):
        super().__init__(**more)
        self.span, self.share, self.retry_after, self.every = (start, seconds), share, retry_after, every
        self.chance = random.Random(1)

    async def complete(self, request):
        start, seconds = self.span
        if 0 <= (clock() - 1000 - start) % self.every < seconds and clock() - 1000 >= start and self.chance.random() < self.share:
            self.refused += 1
            await asyncio.sleep(0.05)
            raise RateLimitError("too many", self.retry_after)
        return await super().complete(request)


def rate(provider, start, end):
    return sum(start <= at - 1000 < end for at in provider.accepted) / (end - start)


@pytest.mark.slow
@settings(max_examples=8)
@given(
    seconds=st.floats(0.5, 15),
    share=st.sampled_from([0.3, 0.7, 1.0]),
    retry_after=st.sampled_from([None, 0.5, 1.0, 5.0, 15.0]),
    limit=st.sampled_from([None, "known", "found"]),
)
def test_the_rate_recovers_within_seconds_after_a_burst_of_refusals(seconds, share, retry_after, limit):
    """90 % of the rate, within 20 s or two Retry-Afters. A known limit is kept, and an unknown one is not searched again."""
    per_minute = 900 if limit else None
    provider = Bursts(40.0, seconds, share, retry_after, per_minute=per_minute, burst=15, latency=0.4)
    limits = ModelSettings(concurrency=8, requests_per_minute=per_minute if limit == "known" else None)
    limiter = Limiter("simulated", limits, CALLS.model_copy(update={"outage_seconds": 1000}), clock=clock)
    in_virtual_time(keep_busy(limiter, provider, 16, 40 + seconds + 45))
    ended, allowed = 40 + seconds, max(20.0, 2 * (retry_after or 0))
    before = rate(provider, 20, 40)
    assert rate(provider, ended + allowed, ended + allowed + 10) >= 0.9 * before


@pytest.mark.slow
def test_a_limit_stated_in_response_headers_is_kept_without_a_refusal(tmp_path):
    provider = Provider(1800, 60, tells=True)
    seconds, lost = drive(provider, tmp_path, 1200)
    assert (provider.refused, lost) == (0, 0)
    assert 0.97 * 30 * (seconds - provider.latency) <= 1200


@pytest.mark.parametrize("per_minute", [1, 2, 3, 5])
def test_a_small_limit_is_used_even_if_one_call_takes_most_of_it(tmp_path, per_minute):
    provider = Provider(per_minute, per_minute, tells=True)
    seconds, lost = drive(provider, tmp_path, 12, at_once=12)
    assert lost == 0
    assert 0.75 * per_minute / 60 * (seconds - provider.latency) <= 12


def test_a_limit_too_small_for_one_call_ends_the_run_with_the_reason(tmp_path):
    async def run():
        return await many(caller(Provider(), tmp_path, ModelSettings(concurrency=50, tokens_per_minute=1)), 3)

    found = in_virtual_time(run())
    assert all(isinstance(item, UnavailableError) for item in found)
    assert "limited to 1 tokens a minute" in str(found[0])
    assert "more than calls.longest_wait_seconds, 120" in str(found[0])


@pytest.mark.slow
def test_calls_of_other_clients_under_the_same_limit_are_taken_into_account(tmp_path):
    """Another client uses half of the account's limit; the response headers are enough to stay within the rest."""
    provider = Provider(1200, 120, tells=True, others=0.5)
    _, lost = drive(provider, tmp_path, 600)
    assert lost == 0
    assert provider.refused <= 0.03 * 600


def test_concurrency_is_never_exceeded(tmp_path):
    provider = Provider()
    drive(provider, tmp_path, 100, ModelSettings(concurrency=7))
    assert provider.most_in_flight == 7


def test_runs_that_share_a_model_divide_its_limits(tmp_path):
    provider = Provider(latency=1)
    drive(provider, tmp_path, 40, ModelSettings(concurrency=8, requests_per_minute=600, runs_at_once=2))
    assert provider.most_in_flight <= 4
    assert (len(provider.accepted) - 1) / (provider.accepted[-1] - provider.accepted[0]) <= 5.1


@pytest.mark.slow
def test_an_outage_is_waited_out_with_single_probes_and_loses_no_item(tmp_path):
    provider = Provider(down=((2.0, 60.0),))
    seconds, lost = drive(provider, tmp_path, 500, at_once=50)
    assert lost == 0
    assert seconds > 58
    assert provider.failed < 50 + 30  # those that were under way, and a few probes


@pytest.mark.slow
def test_a_server_error_does_not_slow_other_calls(tmp_path):
    failed = set()

    class Flaky(Provider):
        async def complete(self, request):
            if request.seed % 10 == 0 and request.seed not in failed:
                failed.add(request.seed)
                raise ProviderError("a hiccup")
            return await super().complete(request)

    provider = Flaky()
    seconds, lost = drive(provider, tmp_path, 500, at_once=50)
    assert lost == 0
    assert seconds < 2 * 500 / 50 * provider.latency + 5


@pytest.mark.slow
def test_a_sustained_failure_ends_the_run_with_the_reason(tmp_path):
    provider = Provider(down=((2.0, 1e9),))

    async def run():
        found = await many(caller(provider, tmp_path), 1000, at_once=50)
        return clock() - 1000, found

    seconds, found = in_virtual_time(run())
    kept = [item for item in found if not isinstance(item, BaseException)]
    stopped = [item for item in found if isinstance(item, UnavailableError)]
    assert len(kept) > 100
    assert len(stopped) >= 1000 - len(kept) - 10
    assert "has not answered for" in str(stopped[0])
    assert seconds < 200
    assert provider.failed < 100


def test_a_provider_that_recovered_is_used_again_after_a_pause(tmp_path):
    provider = Provider(down=((0.0, 150.0),))

    async def run():
        model = caller(provider, tmp_path)
        first = await many(model, 20)
        await asyncio.sleep(200)
        return first, await many(model, 20)

    first, second = in_virtual_time(run())
    assert any(isinstance(item, UnavailableError) for item in first)
    assert [item for item in second if isinstance(item, BaseException)] == []


class Sulking(Provider):
    async def complete(self, request):
        raise RateLimitError("come back later", 3600)


def test_a_retry_after_beyond_the_limit_ends_the_run_and_says_when_to_repeat(tmp_path):
    async def run():
        found = await many(caller(Sulking(), tmp_path), 10)
        return clock() - 1000, found

    seconds, found = in_virtual_time(run())
    assert seconds < 60
    assert {type(item) for item in found} == {UnavailableError}
    assert "asks to wait 3600 s; calls.longest_wait_seconds allows 120. Run the same command again after" in str(found[0])
    assert found[0].retry_after == 3600


def test_retry_after_delays_all_calls(tmp_path):
    class Once(Provider):
        async def complete(self, request):
            if not self.refused:
                self.refused += 1
                raise RateLimitError("wait", 30)
            return await super().complete(request)

    provider = Once()
    _, lost = drive(provider, tmp_path, 50)
    assert lost == 0
    late = [moment for moment in provider.accepted if moment - 1000 > 1]
    assert min(late) >= 1030


@pytest.mark.slow
async def test_endless_refusals_fail_the_item_after_a_time_limit(tmp_path):
    class Never(Provider):
        async def complete(self, request):
            raise RateLimitError("no", 0.01)

    calls = CALLS.model_copy(update={"total_seconds": 0.2})
    with pytest.raises(ModelError, match="Given up after"):
        await caller(Never(), tmp_path, calls=calls).complete(asked())

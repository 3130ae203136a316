"""Prices of calls in a batch."""

import pytest

from core.llm.chat import Usage
from core.llm.prices import price_list
from core.settings.models import Price

CALL = Usage(20_000, 3_000)


@pytest.mark.parametrize("reference", ["anthropic/claude-sonnet-5-5", "openai/gpt-6.1-terra", "google/gemini-3.8-flash"])
def test_a_call_in_a_batch_costs_half_by_the_price_data_and_by_the_settings(reference):
    for given in (None, Price(input=3, output=7)):
        live, batch = price_list(reference, given, free=False), price_list(reference, given, free=False, batch=True)
        usd = live.price(CALL)
        assert usd
        assert batch.price(CALL) == pytest.approx(usd / 2)
        assert batch.version
        assert batch.version.endswith(", batch")


def test_a_model_without_a_batch_price_is_charged_the_live_price_and_the_ledger_says_so():
    live, batch = (price_list("anthropic/claude-opus-4-1", None, free=False, batch=batch) for batch in (False, True))
    assert batch.price(CALL) == live.price(CALL)
    assert batch.version
    assert "no batch price" in batch.version


@pytest.mark.parametrize("given", [None, Price(input=2, output=10)])
def test_an_hour_in_anthropics_cache_costs_twice_the_input_price(given):
    batch = price_list("anthropic/claude-sonnet-5-5", given, free=False, batch=True)
    assert batch.price(Usage(1_000_000, 0, 0, 1_000_000)) == pytest.approx(2 * 2 / 2)

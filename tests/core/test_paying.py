"""Real processes keep a budget despite kills and wrong usage reports of the provider."""

import pytest

from tests.core.paying import LIES, Round, play
from tests.stub.client import start_stub

USD = 0.3

ROUNDS = {
    "killed, three at once": Round(at_once=3, kills=2, lies=["nothing written", "negative", "null"]),
    "answers that come too late": Round(at_once=2, latency=0.6, timeout=0.3),
    "nothing but lies": Round(lies=list(LIES)),
}


@pytest.fixture(scope="module")
def counting():
    with start_stub() as stub:
        yield stub


@pytest.mark.slow
@pytest.mark.parametrize("given", ROUNDS.values(), ids=ROUNDS)
def test_billed_amounts_stay_within_the_budget_and_the_ledger(tmp_path, counting, given):
    billed, known, ends = play(given, counting, tmp_path, USD, seed=1)
    assert 0 < billed <= known + 1e-9
    assert known <= USD + 1e-9
    assert ends == {3}  # and each process says that the budget is reached

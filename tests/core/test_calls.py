"""One call's life: what is tried again and what is not, what it may cost, and that every call is on the bill."""

import asyncio

import pytest

from core.chat import Reply, Usage
from core.errors import (
    AuthError,
    BadRequestError,
    BudgetError,
    ConnectError,
    ContextError,
    InvalidOutputError,
    ModelError,
    ModelTimeoutError,
    OverloadedError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RefusedError,
    SettingsError,
    TruncatedError,
    UnknownModelError,
)
from core.ledger import Ledger, bills, read_entries
from core.model_settings import Budget, ModelSettings, Price
from core.prices import Given, Unknown, price_list
from core.store import Store
from tests.core.simulation import CALLS, asked, caller, clock, in_virtual_time

SCHEMA = {"type": "object"}


class Scripted:
    """Answers, or fails, in the order that is given; the last one for ever."""

    reference, caveat = "anthropic/scripted", None

    def __init__(self, *answers):
        self.answers, self.requests = list(answers), []

    async def complete(self, request):
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer


def reply(text="ok", finish="stop", tokens=(100, 10), **more):
    return Reply(text, finish, Usage(*tokens, raw={"in": tokens[0]}), **more)


def entries(tmp_path):
    return list(read_entries(Store(str(tmp_path)), "run"))


def ask(model, tmp_path, request=None, **more):
    return in_virtual_time(caller(model, tmp_path, **more).complete(request or asked()))


@pytest.mark.parametrize("error", [RateLimitError, OverloadedError, ProviderError, ModelTimeoutError, ConnectError])
def test_a_failure_that_may_pass_is_tried_again(tmp_path, error):
    model = Scripted(error("once"), error("twice"), reply())
    assert ask(model, tmp_path).text == "ok"
    assert [entry["outcome"] for entry in entries(tmp_path)] == [error.__name__, error.__name__, "ok"]


@pytest.mark.parametrize("error", [BadRequestError, ContextError, AuthError, UnknownModelError, QuotaError])
def test_a_failure_that_would_repeat_itself_is_not_tried_again(tmp_path, error):
    model = Scripted(error("no"))
    with pytest.raises(error, match="no"):
        ask(model, tmp_path)
    assert len(model.requests) == 1


def test_attempts_are_bounded(tmp_path):
    model = Scripted(ProviderError("broken"))
    with pytest.raises(ProviderError, match=r"broken Given up after .* 5 attempts"):
        ask(model, tmp_path)
    assert len(model.requests) == 5


def test_retry_after_is_honoured(tmp_path):
    async def run():
        started = clock()
        await caller(Scripted(OverloadedError("busy", 17), reply()), tmp_path).complete(asked())
        return clock() - started

    assert in_virtual_time(run()) >= 17


def test_a_call_has_a_real_deadline(tmp_path):
    class Hanging(Scripted):
        async def complete(self, request):
            self.requests.append(request)
            await asyncio.sleep(10_000)

    model = Hanging()
    with pytest.raises(ModelTimeoutError, match=r"gave no answer in 60 s \(calls.timeout_seconds\)"):
        ask(model, tmp_path)
    assert len(model.requests) == 5


def test_a_cut_structured_answer_is_asked_for_again_with_more_room(tmp_path):
    model = Scripted(reply('{"a', "length"), reply('{"a": 1', "length"), reply('{"a": 1}'))
    assert ask(model, tmp_path, asked(schema=SCHEMA)).text == '{"a": 1}'
    assert [request.max_tokens for request in model.requests] == [100, 200, 400]
    assert [entry["outcome"] for entry in entries(tmp_path)] == ["TruncatedError", "TruncatedError", "ok"]


def test_after_twice_more_room_a_cut_answer_is_an_error(tmp_path):
    model = Scripted(reply('{"a', "length"))
    with pytest.raises(TruncatedError, match="cut off at 400 tokens"):
        ask(model, tmp_path, asked(schema=SCHEMA))
    assert len(model.requests) == 3


def test_a_plain_answer_that_is_cut_is_left_to_the_caller(tmp_path):
    assert ask(Scripted(reply("half", "length")), tmp_path).finish == "length"


def test_an_answer_that_the_check_refuses_is_asked_for_again_with_another_seed(tmp_path):
    def check(answer):
        if answer.text != "good":
            raise InvalidOutputError(f"not good: {answer.text}")

    model = Scripted(reply("bad"), reply("worse"), reply("good"))
    assert ask(model, tmp_path, asked(check=check)).text == "good"
    assert len({request.seed for request in model.requests}) == 3
    with pytest.raises(InvalidOutputError, match="anthropic/scripted: not good: bad"):
        ask(Scripted(reply("bad")), tmp_path, asked(check=check))


def test_a_refusal_is_paid_for_and_not_repeated(tmp_path):
    model = Scripted(reply("general_harms", "refusal"))
    with pytest.raises(RefusedError, match="declined to answer: general_harms"):
        ask(model, tmp_path)
    assert [(entry["outcome"], entry["input_tokens"], entry["usd"]) for entry in entries(tmp_path)] == [("RefusedError", 100, pytest.approx(0.00015))]


def test_every_call_is_on_the_bill_with_role_item_usage_and_price(tmp_path):
    ask(Scripted(reply(request_id="req_1")), tmp_path, asked(7))
    (entry,) = entries(tmp_path)
    assert {key: entry[key] for key in ("run", "role", "item", "model", "outcome", "request_id", "input_tokens", "output_tokens", "prices", "usage")} == {
        "run": "run",
        "role": "assistant",
        "item": "7",
        "model": "anthropic/scripted",
        "outcome": "ok",
        "request_id": "req_1",
        "input_tokens": 100,
        "output_tokens": 10,
        "prices": "settings",
        "usage": {"in": 100},
    }
    assert entry["usd"] == pytest.approx((100 * 1 + 10 * 5) / 1e6)


def test_a_call_that_was_cancelled_is_on_the_bill_with_an_unknown_price(tmp_path):
    class Slow(Scripted):
        async def complete(self, request):
            await asyncio.sleep(100)

    async def run():
        task = asyncio.create_task(caller(Slow(), tmp_path).complete(asked()))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    in_virtual_time(run())
    assert [(entry["outcome"], entry["usd"]) for entry in entries(tmp_path)] == [("Cancelled", None)]
    assert bills(Store(str(tmp_path)), "run")["assistant", "anthropic/scripted"].unpriced == 1


class Steady(Scripted):
    """Takes a second and exactly the tokens that are reserved at most."""

    def __init__(self):
        super().__init__()
        self.sent = 0

    async def complete(self, request):
        self.sent += 1
        await asyncio.sleep(1)
        return Reply("ok", "stop", Usage(len(request.messages[0].content) // 2, request.max_tokens))


@pytest.mark.parametrize("at_once", [1, 50])
def test_a_budget_is_never_exceeded_and_used_as_far_as_it_goes(tmp_path, at_once):
    one = (200 * 1 + 100 * 5) / 1e6  # the most that one call can cost

    async def run():
        model = caller(Steady(), tmp_path, limits=ModelSettings(concurrency=at_once), budget=Budget(usd=10.5 * one))
        return await asyncio.gather(*(model.complete(asked(n)) for n in range(30)), return_exceptions=True)

    found = in_virtual_time(run())
    assert sum(isinstance(item, Reply) for item in found) == 10
    stopped = [item for item in found if isinstance(item, BudgetError)]
    assert len(stopped) == 20
    assert "this run has used 0.0070 of 0.00735 USD" in str(stopped[0])
    assert "Raise budget in the settings and run the same command again" in str(stopped[0])


def test_a_budget_in_tokens_counts_what_the_run_used_before(tmp_path):
    ask(Scripted(reply(tokens=(900, 90))), tmp_path)
    model = Steady()
    with pytest.raises(BudgetError, match="990 of 1,200 tokens"):
        ask(model, tmp_path, budget=Budget(tokens=1200))
    assert model.sent == 0
    assert ask(model, tmp_path, budget=Budget(tokens=1290)).text == "ok"


def test_a_spent_budget_sends_nothing(tmp_path):
    model = Steady()
    with pytest.raises(BudgetError):
        ask(model, tmp_path, budget=Budget(usd=0))
    assert model.sent == 0


def test_a_budget_in_money_needs_a_price(tmp_path):
    ledger = Ledger(Store(str(tmp_path)), "run", Budget(usd=1))
    with pytest.raises(SettingsError, match="no known price"):
        asyncio.run(ledger.hold(None, 10))


def test_a_line_that_a_kill_cut_short_loses_that_line_only(tmp_path):
    ask(Scripted(reply()), tmp_path)
    (file,) = tmp_path.glob("ledger/run/*.jsonl")
    file.write_text(file.read_text(encoding="utf-8") + '{"at": "2026-', encoding="utf-8")
    assert len(entries(tmp_path)) == 1
    assert Ledger(Store(str(tmp_path)), "run", Budget()).bill.calls == 1


def test_the_bill_is_kept_on_an_object_store_too(tmp_path):
    store = Store(f"memory://{tmp_path.name}")
    ledger = Ledger(store, "run", Budget())
    for number in range(450):
        ledger.record(ledger.sent(asked(number), "m"), asked(number), "m", "ok", 0.1, reply(), 0.5, "settings")
    assert len(store.names("ledger/run")) == 5
    assert Ledger(store, "run", Budget()).bill.usd == pytest.approx(225)
    assert [entry["item"] for entry in read_entries(store, "run")] == [str(n) for n in range(450)]


def test_a_call_whose_answer_a_kill_lost_is_on_the_bill(tmp_path):
    store = Store(str(tmp_path))
    Ledger(store, "run", Budget()).sent(asked(3), "anthropic/scripted")  # and then the process was killed
    bill = Ledger(store, "run", Budget()).bill
    assert (bill.calls, bill.unpriced, bill.usd) == (1, 1, 0)
    assert "1 calls of unknown price" in str(bill)


def test_cached_tokens_have_prices_of_their_own():
    usage = Usage(1_000_000, 100_000, cache_read_tokens=600_000, cache_write_tokens=300_000)
    assert Given(Price(input=2, output=10, cache_read=0.1, cache_write=2.5)).price(usage) == pytest.approx(0.1 * 2 + 0.6 * 0.1 + 0.3 * 2.5 + 0.1 * 10)
    # https://platform.claude.com/docs/en/about-claude/pricing
    assert price_list("anthropic/claude-sonnet-5-5", None, free=False).price(usage) == pytest.approx(0.1 * 2 + 0.6 * 0.1 + 0.3 * 2.5 + 0.1 * 10)


@pytest.mark.parametrize("reference", ["google/gemini-3.8-flash-lite", "anthropic/claude-haiku-5-5-turbo", "openai/gpt-9", "openai-compatible/gpt-6-luna"])
def test_an_unknown_model_is_priced_as_unknown_and_not_as_its_neighbour(reference):
    prices = price_list(reference, None, free=False)
    assert isinstance(prices, Unknown)
    assert prices.price(Usage(1000, 1000)) is None


def test_a_dated_version_costs_what_its_model_costs():
    usage = Usage(10_000, 1000)
    dated, plain = (price_list(f"anthropic/claude-haiku-5-5{ending}", None, free=False) for ending in ("-20261007", ""))
    assert dated.price(usage) == plain.price(usage) == pytest.approx((10_000 * 0.10 + 1000 * 0.50) / 1e6)
    assert str(plain.version).startswith("genai-prices ")


def test_each_error_says_whether_it_may_be_retried():
    retryable = {error for error in ModelError.__subclasses__() if error.retryable}
    assert retryable == {RateLimitError, OverloadedError, ProviderError, ModelTimeoutError, ConnectError}


def test_the_error_of_one_item_keeps_its_calls_apart(tmp_path):
    calls = CALLS.model_copy(update={"attempts": 3})

    class Poisoned(Scripted):
        async def complete(self, request):
            if request.item == "7":
                raise ProviderError("always")
            return reply()

    async def run():
        model = caller(Poisoned(), tmp_path, calls=calls)
        return await asyncio.gather(*(model.complete(asked(n)) for n in range(20)), return_exceptions=True)

    found = in_virtual_time(run())
    assert sum(isinstance(item, Reply) for item in found) == 19
    assert isinstance(found[7], ProviderError)

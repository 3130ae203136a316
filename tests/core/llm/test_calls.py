"""One call: retries, maximum cost, and its entry in the ledger."""

import asyncio
import json
import math
import subprocess
import sys
import unicodedata

import fsspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blocks.http import status_error
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
    StoreError,
    TruncatedError,
    UnavailableError,
    UnknownModelError,
)
from core.llm.bills import bills, read_entries
from core.llm.chat import ChatRequest, Message, Reply, Usage
from core.llm.ledger import Ledger
from core.llm.prices import Given, Unknown, max_price, price_list
from core.llm.usage_bounds import most_usage, read_usage
from core.settings.models import Budget, ModelSettings, Price
from core.storage.store import Store
from tests.core.simulation import CALLS, asked, caller, clock, in_virtual_time

SCHEMA = {"type": "object"}


class Scripted:
    """Gives these answers and errors in order and repeats the last one."""

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
def test_a_temporary_failure_is_retried(tmp_path, error):
    model = Scripted(error("once"), error("twice"), reply())
    assert ask(model, tmp_path).text == "ok"
    assert [entry["outcome"] for entry in entries(tmp_path)] == [error.__name__, error.__name__, "ok"]


@pytest.mark.parametrize("error", [BadRequestError, ContextError, AuthError, UnknownModelError, QuotaError])
def test_a_permanent_failure_is_not_retried(tmp_path, error):
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


def test_a_call_has_a_deadline(tmp_path):
    class Hanging(Scripted):
        async def complete(self, request):
            self.requests.append(request)
            await asyncio.sleep(10_000)

    model = Hanging()
    with pytest.raises(ModelTimeoutError, match=r"did not answer within 60 s \(calls.timeout_seconds\)"):
        ask(model, tmp_path)
    assert len(model.requests) == 5


def test_a_truncated_structured_answer_is_requested_again_with_more_tokens(tmp_path):
    model = Scripted(reply('{"a', "length"), reply('{"a": 1', "length"), reply('{"a": 1}'))
    assert ask(model, tmp_path, asked(schema=SCHEMA)).text == '{"a": 1}'
    assert [request.max_tokens for request in model.requests] == [100, 200, 400]
    assert [entry["outcome"] for entry in entries(tmp_path)] == ["TruncatedError", "TruncatedError", "ok"]


def test_an_answer_truncated_after_two_increases_is_an_error(tmp_path):
    model = Scripted(reply('{"a', "length"))
    with pytest.raises(TruncatedError, match="cut off at 400 tokens"):
        ask(model, tmp_path, asked(schema=SCHEMA))
    assert len(model.requests) == 3


def test_a_truncated_plain_answer_is_left_to_the_caller(tmp_path):
    assert ask(Scripted(reply("half", "length")), tmp_path).finish == "length"


def test_thinking_is_removed_from_an_answer_and_reported_if_it_uses_all_tokens(tmp_path):
    said = ask(Scripted(reply("<think>They want a yes.</think>\n\nYes.")), tmp_path)
    assert (said.text, said.thought) == ("Yes.", True)
    quoted = '{"quote": "<think>a</think>b"}'
    assert ask(Scripted(reply(quoted)), tmp_path, asked(schema=SCHEMA)).text == quoted
    for unspoken in (reply("<think>They want", "length"), reply("", "length", thought=True)):  # in the text, and apart from it
        with pytest.raises(TruncatedError, match=r"only thought, and was cut off before its answer at 400 tokens\. Allow more .*, or have it think less"):
            ask(Scripted(unspoken), tmp_path)


def test_an_answer_refused_by_the_check_is_requested_again_with_another_seed(tmp_path):
    def check(answer):
        if answer.text != "good":
            raise InvalidOutputError(f"not good: {answer.text}")

    model = Scripted(reply("bad"), reply("worse"), reply("good"))
    assert ask(model, tmp_path, asked(check=check)).text == "good"
    assert len({request.seed for request in model.requests}) == 3
    with pytest.raises(InvalidOutputError, match="anthropic/scripted: not good: bad"):
        ask(Scripted(reply("bad")), tmp_path, asked(check=check))


@pytest.mark.parametrize("more", [{"schema": SCHEMA}, {}])
def test_a_repetitive_truncated_answer_gets_no_more_tokens(tmp_path, more):
    def check(answer):
        if answer.finish == "length":
            raise TruncatedError("cut off")

    model = Scripted(reply("You may ask. " + "It is a very difficult one to handle. " * 9, "length"), reply('{"a": 1}'))
    assert ask(model, tmp_path, asked(check=check, **more)).text == '{"a": 1}'
    assert [request.max_tokens for request in model.requests] == [100, 100]
    assert len({request.seed for request in model.requests}) == 2


def test_an_answer_that_ends_the_run_is_in_the_ledger_with_the_reason(tmp_path):
    def check(answer):
        raise UnavailableError("This judge is not asked further.")

    with pytest.raises(UnavailableError):
        ask(Scripted(reply()), tmp_path, asked(check=check))
    assert [(entry["outcome"], entry["output_tokens"]) for entry in entries(tmp_path)] == [("UnavailableError", 10)]


def test_a_refusal_is_billed_and_not_retried(tmp_path):
    model = Scripted(reply("general_harms", "refusal"))
    with pytest.raises(RefusedError, match="declined to answer: general_harms"):
        ask(model, tmp_path)
    assert [(entry["outcome"], entry["input_tokens"], entry["usd"]) for entry in entries(tmp_path)] == [("RefusedError", 100, pytest.approx(0.00015))]


def test_the_ledger_has_every_call_with_role_item_usage_and_price(tmp_path):
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


def most(request, model="anthropic/scripted"):
    """The least reservation for a call: its tokens, and their price if the whole prompt is written to the cache."""
    usage = most_usage(request, model)
    return usage.input_tokens, usage.output_tokens, (1.25 * usage.input_tokens + 5 * usage.output_tokens) / 1e6


def charged(entry):
    return entry["input_tokens"], entry["output_tokens"], pytest.approx(entry["usd"])


def test_a_cancelled_call_is_charged_its_maximum(tmp_path):
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
    (entry,) = entries(tmp_path)
    assert (entry["outcome"], entry["estimated"]) == ("Cancelled", True)
    assert charged(entry) == most(asked())
    assert bills(Store(str(tmp_path)), "run")["assistant", "anthropic/scripted"].estimated == 1


@pytest.mark.parametrize("error", [ModelTimeoutError, ConnectError, ProviderError, InvalidOutputError])
def test_a_failure_that_may_have_produced_an_answer_is_charged_its_maximum(tmp_path, error):
    ask(Scripted(error("lost"), reply()), tmp_path) if error.retryable else None
    if not error.retryable:
        with pytest.raises(error):
            ask(Scripted(error("lost")), tmp_path)
    lost = entries(tmp_path)[0]
    assert lost["estimated"]
    assert charged(lost) == most(asked())


def test_an_error_reported_by_the_provider_is_not_charged(tmp_path):
    refused = status_error("anthropic/scripted", 529, "overloaded")
    ask(Scripted(refused, reply()), tmp_path)
    assert [entry["usd"] for entry in entries(tmp_path)] == [0, pytest.approx(0.00015)]
    assert Ledger(Store(str(tmp_path)), "run", Budget()).bill.estimated == 0


@pytest.mark.parametrize("status", [408, 502, 504, 524])
def test_an_error_of_a_gateway_may_have_been_billed(status):
    assert not status_error("anthropic/scripted", status, "gateway").unbilled


LIES = {
    "nothing": Usage(estimated=True),
    "no tokens for many words": Usage(0, 0),
    "no answer for many words": Usage(300, 0),
    "far too few": Usage(300, 3),
    "an empty prompt": Usage(1, 2000),
    "a thousand times too many": Usage(10**7, 2000),
    "an implausibly long answer": Usage(300, 10**6),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_implausible_usage_is_charged_the_maximum(tmp_path, lie):
    request = ChatRequest("assistant", "", (Message("user", "word " * 200),), 4000, 0, item="1")
    answer = ask(Scripted(Reply("word " * 2000, "stop", lie)), tmp_path, request)
    (entry,) = entries(tmp_path)
    assert entry["estimated"]
    assert charged(entry) == most(request)
    assert answer.usage.estimated
    assert "1 calls estimated" in str(Ledger(Store(str(tmp_path)), "run", Budget()).bill)


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_complete_answer_with_implausible_usage_is_charged_a_token_per_byte(tmp_path, lie):
    request, text = ChatRequest("assistant", "", (Message("user", "word " * 200),), 4000, 0, item="1"), "größer " * 50
    ask(Scripted(Reply(text, "stop", lie, written=len(text.encode()))), tmp_path, request)
    (entry,) = entries(tmp_path)
    read, written, usd = most(request)
    assert entry["estimated"]
    assert entry["input_tokens"] == read
    assert len(text.encode()) <= entry["output_tokens"] <= len(text.encode()) + 100
    assert entry["usd"] == pytest.approx(usd - 5 * (written - entry["output_tokens"]) / 1e6)


@pytest.mark.parametrize("value", [None, -1, "12", True, math.nan, math.inf, 1.5, [], {}, 10**400])
def test_an_invalid_token_count_makes_the_usage_estimated(value):
    assert read_usage(value, 10).estimated
    assert read_usage(10, value).estimated
    assert value is None or read_usage(10, 10, value).estimated
    assert not read_usage(10, 10, 5, 5).estimated
    assert read_usage(10, 10, 8, 3).estimated  # more from the cache than there is


def test_a_bill_above_the_maximum_is_charged_and_raises_later_maxima(tmp_path):
    reported = []
    model = caller(Scripted(reply(tokens=(2000, 150))), tmp_path, tell=reported.append)
    in_virtual_time(model.complete(asked()))
    in_virtual_time(model.complete(asked()))
    assert [entry["usd"] for entry in entries(tmp_path)] == [pytest.approx((2000 + 5 * 150) / 1e6)] * 2
    assert len(reported) == 1
    assert "counted 2,000 tokens in and 150 out" in reported[0]
    held = Ledger(Store(str(tmp_path)), "run", Budget()).surprises["anthropic/scripted"]
    expected = most(asked())
    assert (held.input_tokens, held.output_tokens) == (2000 - expected[0], 150 - expected[1])


@given(st.text(min_size=1, max_size=400))
def test_no_text_has_more_tokens_than_are_reserved_for_it(text):
    """The worst tokenizer takes a token per byte, after normalising the text to its compatibility form."""
    request = ChatRequest("assistant", text, (Message("user", text),), 100, 0)
    worst = 2 * max(len(text.encode()), len(unicodedata.normalize("NFKC", text).encode()))
    assert worst <= most_usage(request, "openai-compatible/x").input_tokens


def test_the_maximum_price_of_a_prompt_is_that_of_writing_it_to_the_cache():
    prices = price_list("anthropic/claude-sonnet-5-5", None, free=False)
    assert max_price(prices, Usage(1_000_000, 0)) == pytest.approx(2.5)
    assert max_price(Given(Price(input=2, output=0)), Usage(1_000_000, 0)) == pytest.approx(2.5)
    assert max_price(Unknown(), Usage(1, 1)) is None


class Steady(Scripted):
    """Takes a second and exactly the most tokens that a call can take."""

    def __init__(self):
        super().__init__()
        self.sent = 0

    async def complete(self, request):
        self.sent += 1
        await asyncio.sleep(1)
        most = most_usage(request, self.reference)
        return Reply("ok", "stop", Usage(most.input_tokens, most.output_tokens, 0, most.input_tokens))


@pytest.mark.parametrize("at_once", [1, 50])
def test_a_budget_is_never_exceeded_and_used_as_far_as_possible(tmp_path, at_once):
    one = most(asked())[2]

    async def run():
        model = caller(Steady(), tmp_path, limits=ModelSettings(concurrency=at_once), budget=Budget(usd=10.5 * one))
        return await asyncio.gather(*(model.complete(asked(n)) for n in range(30)), return_exceptions=True)

    found = in_virtual_time(run())
    assert sum(isinstance(item, Reply) for item in found) == 10
    stopped = [item for item in found if isinstance(item, BudgetError)]
    assert len(stopped) == 20
    assert f"this run has used {10 * one:.4f} of {10.5 * one:g} USD" in str(stopped[0])
    assert "Raise budget in the settings and run the same command again" in str(stopped[0])


def test_a_token_budget_counts_earlier_calls_of_the_run(tmp_path):
    ask(Scripted(reply(tokens=(500, 90))), tmp_path)
    model, one = Steady(), sum(most(asked())[:2])
    with pytest.raises(BudgetError, match=f"590 of {590 + one - 1:,} tokens"):
        ask(model, tmp_path, budget=Budget(tokens=590 + one - 1))
    assert model.sent == 0
    assert ask(model, tmp_path, budget=Budget(tokens=590 + one)).text == "ok"


def test_a_spent_budget_sends_nothing(tmp_path):
    model = Steady()
    with pytest.raises(BudgetError):
        ask(model, tmp_path, budget=Budget(usd=0))
    assert model.sent == 0


def test_a_budget_in_money_needs_a_price(tmp_path):
    ledger = Ledger(Store(str(tmp_path)), "run", Budget(usd=1))
    with pytest.raises(SettingsError, match="no known price"):
        asyncio.run(ledger.reserve(asked(), "m", Usage(10, 10), None, 60))


@pytest.mark.parametrize("damage", ['{"at": "2026-', "null\n", "[]\n", '{"call": 3}\n', "\x00\n", '{"call": "x", "outcome": "sent"}\n'])
def test_a_damaged_ledger_line_loses_only_itself(tmp_path, damage):
    ask(Scripted(reply()), tmp_path)
    (file,) = tmp_path.glob("ledger/run/*.jsonl")
    file.write_text(file.read_text(encoding="utf-8") + damage, encoding="utf-8")
    assert len(entries(tmp_path)) == 1
    ledger = Ledger(Store(str(tmp_path)), "run", Budget())
    assert ledger.bill.calls == 1
    pay(ledger, 2)
    assert Ledger(Store(str(tmp_path)), "run", Budget()).bill.calls == 2


@pytest.mark.parametrize("place", ["most", "beyond", "process", "until", "usd", "input_tokens", "usage", "at"])
@pytest.mark.parametrize("value", [None, "x", [], {}, [1, 2, 3], 10**400, -1, float("nan"), ["h", 10**30, "m"]])
def test_a_partly_damaged_ledger_line_stops_neither_the_bill_nor_the_run(tmp_path, place, value):
    pay(Ledger(Store(str(tmp_path)), "run", Budget(usd=10)), 1)
    (file,) = tmp_path.glob("ledger/run/*.jsonl")
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    spoilt = [line | {"call": f"other {number}", place: value} for number, line in enumerate(lines)]
    file.write_text("".join(json.dumps(line) + "\n" for line in [*spoilt, *lines]), encoding="utf-8")
    pay(Ledger(Store(str(tmp_path)), "run", Budget(usd=10)), 2)
    assert bills(Store(str(tmp_path)), "run")
    with pytest.raises(BudgetError):
        pay(Ledger(Store(str(tmp_path)), "run", Budget(usd=0.7)), 3)


@pytest.mark.parametrize("order", [[0, 1, 1], [1, 0], [0, 0, 1], [0, 1, 0]])
def test_a_call_is_counted_once_with_duplicate_or_reordered_lines(tmp_path, order):
    pay(Ledger(Store(str(tmp_path)), "run", Budget(usd=10)), 1)
    (file,) = tmp_path.glob("ledger/run/*.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    file.write_text("".join(lines[number] for number in order), encoding="utf-8")
    bill = Ledger(Store(str(tmp_path)), "run", Budget()).bill
    assert (bill.calls, bill.usd, bill.estimated) == (1, 0.5, 0)
    assert sum(found.usd for found in bills(Store(str(tmp_path)), "run").values()) == 0.5


# a process of its own: tracemalloc counts what every thread allocates, and threads of other tests may run in this one
MEMORY = """
import sys, tracemalloc
from core.llm.bills import bills
from core.llm.ledger import Ledger
from core.settings.models import Budget
from core.storage.store import Store

store = Store(sys.argv[1])
tracemalloc.start()
ledger, found = Ledger(store, "run", Budget()), bills(store, "run")
print(ledger.bill.calls, sum(bill.calls for bill in found.values()), *tracemalloc.get_traced_memory())
"""


def test_a_ledger_of_many_calls_is_not_kept_in_memory(tmp_path):
    count = 4_000
    pay(Ledger(Store(str(tmp_path)), "run", Budget()), 1)
    (file,) = tmp_path.glob("ledger/run/*.jsonl")
    sent, answered = file.read_text(encoding="utf-8").splitlines(keepends=True)
    call = json.loads(sent)["call"]
    named = [call.removesuffix("1") + str(number) for number in range(1, count + 1)]
    # twenty calls at once, of which the last ends first
    lines = [
        line.replace(call, name) for first in range(0, count, 20) for line, step in ((sent, 1), (answered, -1)) for name in named[first : first + 20][::step]
    ]
    file.write_text("".join(lines), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", MEMORY, tmp_path], capture_output=True, text=True, check=True, timeout=120)
    calls, billed, kept, most = map(int, done.stdout.split())
    assert calls == billed == count
    assert kept < 1e6
    assert most < 4 * file.stat().st_size  # all its lines at once take nine times as much


def pay(ledger, number, usd=0.5, answered=True):
    """Write a call to a ledger with its reserved amount and, if answered, its cost."""

    async def call():
        sent = await ledger.reserve(asked(number), "m", Usage(10, 10), usd, 60 if answered else -60)
        if answered:
            ledger.record(sent, "ok", 0.1, Usage(10, 10), usd, "settings")

    asyncio.run(call())


@pytest.mark.parametrize("kind", ["folder", "object store"])
def test_processes_that_share_a_run_share_its_budget(tmp_path, kind):
    store = Store(str(tmp_path) if kind == "folder" else f"memory://{tmp_path.name}")
    both = [Ledger(store, "run", Budget(usd=2.2)) for _ in range(2)]
    for number in range(4):
        pay(both[number % 2], number, answered=number != 1)
    for ledger in [*both, Ledger(store, "run", Budget(usd=2.2))]:
        with pytest.raises(BudgetError, match=r"used 2.0000 of 2.2 USD \(1 calls estimated\)"):
            asyncio.run(ledger.reserve(asked(9), "m", Usage(10, 10), 0.5, 60))
    assert sorted(entry["item"] for entry in read_entries(store, "run")) == ["0", "1", "2", "3"]


def test_a_storage_without_conditional_writes_is_reported(tmp_path, monkeypatch):
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(type(memory), "pipe_file", lambda self, path, value, mode="overwrite", **_: self.pipe({path: value}))
    monkeypatch.setattr(type(memory), "pipe", lambda self, values: [self.open(path, "wb", data=data) for path, data in values.items()])
    with pytest.raises(StoreError, match="conditional writes, such as S3"):
        pay(Ledger(Store(f"memory://{tmp_path.name}"), "run", Budget(usd=1)), 1)


def test_a_call_waits_for_the_budget_that_another_processs_call_releases(tmp_path):
    store = Store(str(tmp_path))

    async def run():
        mine, other = (Ledger(store, "run", Budget(usd=1)) for _ in range(2))
        sent = await other.reserve(asked(1), "m", Usage(10, 10), 0.9, 60)
        waiting = asyncio.create_task(mine.reserve(asked(2), "m", Usage(10, 10), 0.9, 60))
        await asyncio.sleep(3)
        assert not waiting.done()
        other.record(sent, "ok", 3, Usage(10, 10), 0.1, "settings")
        await waiting

    in_virtual_time(run())


def test_a_call_lost_in_a_kill_is_charged_its_maximum(tmp_path):
    store, run = Store(str(tmp_path)), Budget(usd=1)
    pay(Ledger(store, "run", run), 1, usd=0.75, answered=False)  # and then the process was killed
    ledger = Ledger(store, "run", run)
    assert (ledger.bill.calls, ledger.bill.estimated, ledger.bill.usd) == (1, 1, 0.75)
    assert ledger.used == 0.75
    pay(ledger, 2, usd=0.25)


def test_cached_tokens_have_their_own_prices():
    usage = Usage(1_000_000, 100_000, cache_read_tokens=600_000, cache_write_tokens=300_000)
    assert Given(Price(input=2, output=10, cache_read=0.1, cache_write=2.5)).price(usage) == pytest.approx(0.1 * 2 + 0.6 * 0.1 + 0.3 * 2.5 + 0.1 * 10)
    # https://platform.claude.com/docs/en/about-claude/pricing
    assert price_list("anthropic/claude-sonnet-5-5", None, free=False).price(usage) == pytest.approx(0.1 * 2 + 0.6 * 0.1 + 0.3 * 2.5 + 0.1 * 10)


@pytest.mark.parametrize("reference", ["google/gemini-3.8-flash-lite", "anthropic/claude-haiku-5-5-turbo", "openai/gpt-9", "openai-compatible/gpt-6-luna"])
def test_an_unknown_model_does_not_get_the_price_of_a_similar_name(reference):
    prices = price_list(reference, None, free=False)
    assert isinstance(prices, Unknown)
    assert prices.price(Usage(1000, 1000)) is None


def test_a_dated_version_has_the_price_of_its_model():
    usage = Usage(10_000, 1000)
    dated, plain = (price_list(f"anthropic/claude-haiku-5-5{ending}", None, free=False) for ending in ("-20261007", ""))
    assert dated.price(usage) == plain.price(usage) == pytest.approx((10_000 * 0.10 + 1000 * 0.50) / 1e6)
    assert str(plain.version).startswith("genai-prices ")


def test_each_error_says_whether_it_may_be_retried():
    retryable = {error for error in ModelError.__subclasses__() if error.retryable}
    assert retryable == {RateLimitError, OverloadedError, ProviderError, ModelTimeoutError, ConnectError}


def test_an_error_of_one_item_does_not_affect_the_others(tmp_path):
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

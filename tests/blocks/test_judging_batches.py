"""Judging in batches gives the assessments of live calls at half the price, despite failures of batch, connection or process."""

import asyncio
import json
from dataclasses import asdict

import pytest

from core.errors import RunStoppedError, UnavailableError
from core.judging.batch_records import read_records
from core.llm import batches as waiting
from core.llm.till import Till
from core.records import Exchange, Transcript
from core.settings.assessment import Judging
from core.settings.models import Budget
from core.storage.store import Store
from tests.blocks.batch_judging import Court
from tests.core.judged import PACK
from tests.stub.client import start_stub
from tests.stub.settings import Settings

PROVIDERS = ("anthropic", "openai", "google")
everywhere = pytest.mark.parametrize("provider", PROVIDERS)
ACCOUNTS = {"anthropic": "anthropic", "openai": "responses", "google": "google"}


class KilledError(BaseException):
    """Ends a process; no handler of the product catches it."""


@pytest.fixture(scope="module")
def running():
    with start_stub() as stub:
        yield stub


@pytest.fixture
def stub(running, monkeypatch):
    running.set(**asdict(Settings()) | {"cache_enabled": False})
    running.reset()
    for name in ("core.llm.batches", "core.judging.batch_answers"):
        monkeypatch.setattr(f"{name}.FIRST_PAUSE", 0.01)
    monkeypatch.setattr(waiting, "LISTED_SECONDS", 0.3)
    return running


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "batch"))


def calls(stub, provider, kind=""):
    return stub.stats().get(ACCOUNTS[provider] + kind, {}).get("calls", 0)


def usd(court):
    return sum(entry["usd"] or 0.0 for entry in court.paid)


def at(place, times=1, **fault):
    return {"faults": [{"at": place, "times": times, "fault": fault}]}


@everywhere
async def test_a_batch_gives_the_same_assessments_as_live_calls_at_half_the_price(tmp_path, store, stub, provider):
    live = Court(Store(str(tmp_path / "live")), provider, stub.url)
    said = await live.judge()
    stub.reset()
    stub.set(batch_polls=2, batch_reversed=True, batch_labels=False)
    court = Court(store, provider, stub.url)
    court.batches.most_requests = 3  # of four: two batches
    assert await court.ask() == set()
    assert await court.judge() == said
    assert calls(stub, provider) == 0
    assert calls(stub, provider, ".batch") == 4 == len(court.paid)
    assert len(stub.batches()) == 2
    assert usd(court) == pytest.approx(usd(live) / 2)
    assert {entry["outcome"] for entry in court.paid} == {"ok"}
    assert court.records == []


async def test_batch_results_are_fetched_from_the_configured_server_only(store, stub):
    stub.set(faults=[{"at": "retrieve", "fault": {"kind": "mutate", "path": ["results_url"], "json": '"https://elsewhere.example/results"'}}])
    court = Court(store, "anthropic", stub.url)
    assert await court.ask() == set()
    assert calls(stub, "anthropic", ".batch") == 4 == len(court.paid)


@everywhere
async def test_unanswered_requests_of_a_batch_are_not_billed_and_are_sent_live(store, stub, provider):
    stub.set(
        faults=[{"at": "create", "fault": {"kind": "lost", "expired": 0.25, "errored": 0.25}}, {"at": "batched", "times": 1, "fault": {"kind": "invalid"}}]
    )
    court = Court(store, provider, stub.url)
    await court.ask()
    assert calls(stub, provider, ".batch") == 2  # one of which cannot be used, and is billed
    assert sum(entry["usd"] > 0 for entry in court.paid) == 2
    assert len(await court.judge()) == 4
    assert calls(stub, provider) == 3
    assert len(stub.batches()) == 1
    assert court.records == []


@everywhere
@pytest.mark.parametrize("moment", ["before it is sent", "before its name is written", "while it is awaited", "while its answers are taken"])
async def test_a_killed_process_pays_for_no_request_twice(store, stub, provider, moment, monkeypatch):
    stub.set(batch_polls=3, batch_others=4)
    killed = Court(store, provider, stub.url)
    submit, settle = killed.batches.submit, Till.settle

    async def submit_and_die(label, entries):
        if moment == "before its name is written":
            await submit(label, entries)
        raise KilledError

    async def die(batch):
        raise KilledError

    def settle_once(till, sent, *given):
        if any(entry["outcome"] == "ok" for entry in killed.paid):
            raise KilledError
        return settle(till, sent, *given)

    match moment:
        case "before it is sent" | "before its name is written":
            killed.batches.submit = submit_and_die
        case "while it is awaited":
            killed.batches.look = die
        case _:
            monkeypatch.setattr(Till, "settle", settle_once)
    with pytest.raises(KilledError):
        await killed.ask()
    monkeypatch.setattr(Till, "settle", settle)
    (record,) = read_records(store, PACK.name, killed.choice)
    record.model_copy(update={"at": record.at + 7 * 86_400}).keep(store, PACK.name)  # its machine's clock was a week ahead
    court = Court(store, provider, stub.url)
    await court.ask()
    await court.judge()
    assert len(stub.batches()) == 1
    assert stub.served_twice() == []
    assert calls(stub, provider) == 0
    assert len([entry for entry in court.paid if entry["usd"]]) == 4
    assert not any(entry.get("estimated") for entry in court.paid)
    assert court.records == []


@everywhere
async def test_a_batch_whose_submission_lost_its_connection_is_found_by_its_label(store, stub, provider):
    stub.set(batch_s=0.5, **at("create", kind="drop"))
    court = Court(store, provider, stub.url)
    await court.ask()
    await court.judge()
    assert len(stub.batches()) == 1
    assert stub.served_twice() == []
    assert calls(stub, provider) == 0


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_truncated_results_are_read_again(store, stub, provider):
    stub.set(**at("results", kind="truncate", times=1))
    court = Court(store, provider, stub.url)
    await court.ask()
    await court.judge()
    assert calls(stub, provider) == 0
    assert len([entry for entry in court.paid if entry["outcome"] == "ok"]) == 4


def changing(court, monkeypatch, change):
    """Change the result lines on their way to the client."""
    ask = court.batches._ask

    async def asked(*request, **more):
        content = await ask(*request, **more)
        return b"\n".join(change(content.split(b"\n"))) if content.startswith(b'{"custom_id"') else content

    monkeypatch.setattr(court.batches, "_ask", asked)


@pytest.mark.parametrize("broken", [b'{"custom_id":' + b"[" * 100_000, b'{"custom_id":"\xff"}', b'{"custom_id":"somebody-elses","result":{}}', b"[]"])
async def test_a_broken_result_line_loses_only_its_own_request(store, stub, monkeypatch, broken):
    court = Court(store, "anthropic", stub.url)
    changing(court, monkeypatch, lambda lines: [broken, *lines[1:]])
    await court.ask()
    assert sorted(entry["outcome"] for entry in court.paid) == ["MalformedError", "ok", "ok", "ok"]
    assert [entry["usd"] > 0 for entry in court.paid] == [True] * 4  # the provider wrote and billed every answer
    await court.judge()
    assert calls(stub, "anthropic") == 1
    assert court.records == []


def with_result(result):
    """Return a change that gives the first line another result."""
    return lambda lines: [json.dumps(json.loads(lines[0]) | {"result": result}).encode(), *lines[1:]]


@pytest.mark.parametrize(
    ("change", "charged", "live"),
    [
        pytest.param(lambda lines: [line for line in lines for _ in "12"], 4, 0, id="each line twice"),
        pytest.param(lambda lines: [*lines, *with_result({"type": "errored", "error": 5})(lines[:1])], 4, 0, id="an answer, then an error of the same"),
        pytest.param(lambda lines: [line.replace(b"understudy-", b"renamed-") for line in lines], 4, 4, id="the names of another batch"),
        pytest.param(with_result(None), 4, 1, id="no result"),
        pytest.param(with_result({"type": "answered", "message": {}}), 4, 1, id="a result of an unknown type"),
        pytest.param(with_result({"type": "errored", "error": [{"why": "?"}]}), 3, 1, id="an error of an unknown form"),
        pytest.param(with_result({"type": "errored"}), 3, 1, id="no error"),
    ],
)
async def test_each_request_that_may_be_billed_is_charged_once_in_any_form_of_results(store, stub, monkeypatch, change, charged, live):
    court = Court(store, "anthropic", stub.url)
    changing(court, monkeypatch, lambda lines: change([line for line in lines if line]))
    assert await court.ask() == set()
    assert len(court.paid) == 4
    assert sum(entry["usd"] > 0 for entry in court.paid) == charged
    assert len(await court.judge()) == 4
    assert calls(stub, "anthropic") == live
    assert court.records == []


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_a_gateways_page_in_place_of_the_results_loses_no_answer(store, stub, provider, monkeypatch):
    court = Court(store, provider, stub.url)
    ask, pages = court.batches._ask, iter([b"<html>\n<body>\nBad\ngateway\n</body>\n</html>\n"])

    async def asked(*request, **more):
        content = await ask(*request, **more)
        return next(pages, content) if b'{"custom_id"' in content or b'"batch_req_' in content else content

    monkeypatch.setattr(court.batches, "_ask", asked)
    await court.ask()
    assert [entry["outcome"] for entry in court.paid] == ["ok"] * 4


@pytest.mark.parametrize("provider", ["openai", "google"])
async def test_what_is_missing_from_the_results_of_a_complete_batch_is_charged_and_asked_live(store, stub, provider, monkeypatch):
    court = Court(store, provider, stub.url)
    read = court.batches.results

    async def half(batch):
        for number in range(2):
            yield [result async for result in read(batch)][number]

    monkeypatch.setattr(court.batches, "results", half)
    await court.ask()
    assert [entry["usd"] > 0 for entry in court.paid] == [True] * 4
    assert len(await court.judge()) == 4
    assert calls(stub, provider) == 2


@pytest.mark.parametrize("provider", ["anthropic", "openai"])
async def test_results_that_the_provider_has_deleted_are_charged_and_asked_live(store, stub, provider):
    stub.set(**at("results", status=404, error="not_found_error", message="It was deleted."))
    court = Court(store, provider, stub.url)
    await court.ask()
    assert [entry["usd"] > 0 for entry in court.paid] == [True] * 4
    await court.judge()
    assert calls(stub, provider) == 4
    assert court.records == []


async def test_the_answers_of_a_batch_that_ends_just_before_it_is_cancelled_are_used(store, stub):
    stub.set(batch_polls=1, **at("cancel", status=400, message="It has already ended."))
    court = Court(store, "anthropic", stub.url, deadline_seconds=0.0)
    await court.ask()
    assert [entry["outcome"] for entry in court.paid] == ["ok"] * 4


@everywhere
async def test_a_gateways_own_404_while_a_batch_is_awaited_loses_no_answer(store, stub, provider):
    stub.set(**at("retrieve", kind="raw", status=404, body="<html>Not found</html>", headers={"content-type": "text/html"}))
    court = Court(store, provider, stub.url)
    await court.ask()
    assert [entry["outcome"] for entry in court.paid] == ["ok"] * 4
    assert not any(entry.get("estimated") for entry in court.paid)


@everywhere
async def test_a_batch_that_a_person_cancels_at_the_provider_costs_nothing_and_is_asked_live(store, stub, provider):
    stub.set(batch_s=3600)
    court = Court(store, provider, stub.url)
    waits = asyncio.create_task(court.ask())
    while not stub.batches():
        await asyncio.sleep(0.02)
    await Court(store, provider, stub.url).batches.cancel(stub.batches()[0]["id"])
    await waits
    assert usd(court) == 0
    assert len(await court.judge()) == 4
    assert calls(stub, provider) == 4


async def test_the_answers_of_a_batch_are_charged_even_if_the_ledger_lost_its_reservation(store, stub):
    stub.set(batch_s=3600)
    early = Court(store, "openai", stub.url)
    waits = asyncio.create_task(early.ask())
    while not early.records or not stub.batches():
        await asyncio.sleep(0.02)
    early.stop = True
    with pytest.raises(UnavailableError):
        await waits
    store.remove("ledger/run/calls.jsonl")
    stub.set(batch_s=0)
    later = Court(store, "openai", stub.url)
    await later.ask()
    assert [entry["outcome"] for entry in later.paid if entry["usd"] > 0] == ["ok"] * 4


async def test_results_that_stay_unreadable_are_given_up_at_the_batchs_deadline(store, stub, monkeypatch):
    monkeypatch.setattr(waiting, "ATTEMPTS", 1)
    early = Court(store, "anthropic", stub.url)
    changing(early, monkeypatch, lambda lines: lines[1:])
    with pytest.raises(UnavailableError, match="3 of 4 results"):
        await early.ask()
    assert len(early.records) == 1
    late = Court(store, "anthropic", stub.url, deadline_seconds=0.0)
    changing(late, monkeypatch, lambda lines: lines[1:])
    await late.ask()
    await late.judge()
    assert calls(stub, "anthropic") == 4
    assert late.records == []
    assert len([entry for entry in late.paid if entry["outcome"] == "MalformedError" and entry["usd"] > 0]) == 4


# a batch of Anthropic's cannot fail as a whole
@pytest.mark.parametrize(("provider", "how"), [*((name, "refused") for name in PROVIDERS), ("openai", "failed"), ("google", "failed")])
async def test_a_rejected_batch_ends_the_run_with_advice_and_sends_nothing_live(store, stub, provider, how):
    stub.set(**at("create", **({"status": 403, "message": "No batches for this account"} if how == "refused" else {"kind": "fails"})))
    court = Court(store, provider, stub.url)
    with pytest.raises(RunStoppedError, match=r"did not accept the batch.*assessment\.batch: false"):
        await court.ask()
    assert calls(stub, provider) == calls(stub, provider, ".batch") == 0
    assert usd(court) == 0
    assert court.records == []


async def test_a_small_budget_submits_as_many_requests_as_it_covers_then_more_from_what_is_left(store, stub):
    whole = Court(store, "openai", stub.url)
    await whole.ask()
    paid = usd(whole)
    most = max(line["most"]["usd"] for line in map(json.loads, store.read("ledger/run/calls.jsonl").splitlines()) if line["outcome"] == "sent")
    small = Court(Store(store.root + "-small"), "openai", stub.url, count=6, budget=Budget(usd=2.5 * most))
    assert most > paid / 4
    unasked = await small.ask()
    assert usd(small) <= 2.5 * most
    assert len(unasked) < 4
    assert len(small.said) >= 4  # two batches, one after the other
    assert len([entry for entry in small.paid if entry["outcome"] == "ok"]) == 6 - len(unasked)


async def test_a_batch_that_outlasts_its_night_is_read_by_the_next_night(store, stub):
    stub.set(batch_s=3600)
    night = Court(store, "anthropic", stub.url, name="night-1")
    waits = asyncio.create_task(night.ask())
    while not stub.batches():
        await asyncio.sleep(0.02)
    night.stop = True
    with pytest.raises(UnavailableError, match=r"msgbatch_\w+ of anthropic/claude-haiku-5-5 has not ended .* The next night, or the same command"):
        await waits
    other = Court(store, "anthropic", stub.url, count=0)
    await other.ask()  # another command without requests in the batch does not wait
    assert len(other.records) == 1
    stub.set(batch_s=0)
    later = Court(store, "anthropic", stub.url, name="night-2")
    await later.ask()
    await later.judge()
    assert len(stub.batches()) == 1
    assert calls(stub, "anthropic") == 0
    assert (len(night.paid), len(later.paid)) == (4, 0)  # the night that submitted it pays


async def test_a_batch_past_its_deadline_is_cancelled_and_sent_live(store, stub):
    stub.set(batch_s=3600)
    court = Court(store, "openai", stub.url, deadline_seconds=0.2)
    await court.ask()
    await court.judge()
    assert calls(stub, "openai", ".batch") == 0
    assert calls(stub, "openai") == 4
    assert [request for batch in stub.batches() for request in batch["requests"].values()] == ["canceled"] * 4


async def test_two_runs_submit_the_same_batch_once(store, stub):
    stub.set(batch_polls=3)
    both = [Court(store, "google", stub.url, name=name) for name in ("one", "other")]
    await asyncio.gather(*(court.ask() for court in both))
    for court in both:
        await court.judge()
    assert len(stub.batches()) == 1
    assert calls(stub, "google") == 0


async def test_requests_beyond_googles_size_limit_are_split_into_batches_in_any_alphabet(store, stub):
    court = Court(store, "google", stub.url)
    for plan in court.plans:
        said = [Exchange(exchange_number=n, user="Мне не спится. " * 300, assistant="Что было потом?") for n in range(1, 6)]
        store.write_json(plan.transcript.path, Transcript(id=plan.transcript.id, exchanges=said))
    court.batches.most_bytes = 400_000
    await court.ask()
    sent = [len(json.dumps(entry["body"])) for entry in stub.log() if "contents" in (entry.get("body") or {})]
    assert 2 * max(sent) < court.batches.most_bytes < 3 * min(sent)
    assert [len(batch["requests"]) for batch in stub.batches()] == [2, 2]
    assert len(await court.judge()) == 4
    assert calls(stub, "google") == 0


async def test_a_batch_asks_anthropics_cache_to_keep_transcripts_for_an_hour(store, stub):
    stub.set(cache_enabled=True)
    court = Court(store, "anthropic", stub.url, count=1, judging=Judging(mode="category", shuffle=False, confirm_gates="never"))
    await court.ask()
    sent = [entry["body"]["messages"][0]["content"] for entry in stub.log() if "messages" in (entry.get("body") or {})]
    assert len(sent) == 6
    assert all(blocks[0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"} for blocks in sent)
    billed = stub.stats()["anthropic.batch"]["tokens"]
    assert billed["cache_write"] > 0
    # haiku 5.5: 0.10 and 0.50 USD a million; an hour in the cache costs twice the input price, a read a tenth
    usual = billed["uncached"] + 2 * billed["cache_write"] + 0.1 * billed["cache_read"] + 5 * billed["output"]
    assert usd(court) == pytest.approx(usual * 0.1e-6 / 2)

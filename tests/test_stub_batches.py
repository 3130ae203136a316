"""The stub's batches, used through the vendors' own clients: they must end as they would at the vendor."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from google.genai import errors

from tests.stub.batches import FOREIGN
from tests.stub.client import Stub, start_stub
from tests.stub.settings import Settings
from tests.stub.vendor_batches import BatchClient
from tests.stub.vendors import MODELS, Clients, status_of, text_of

everywhere = pytest.mark.parametrize("protocol", MODELS)
openais = pytest.mark.parametrize("protocol", ["responses", "chat"])
QUESTIONS = {f"run-{number}_a": f"Question {number}." for number in range(4)}
REFUSALS = (anthropic.APIStatusError, openai.APIStatusError, errors.APIError)
BROKEN = (anthropic.APIConnectionError, openai.APIConnectionError, httpx2.TransportError)


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
async def batches(stub: Stub, protocol: str) -> AsyncIterator[BatchClient]:
    clients = Clients(stub.url, "sk-test")
    yield BatchClient(clients, protocol)
    await clients.close()


def at(place: str, **fault: Any) -> dict[str, Any]:
    """Return a setting under which the first operation of a kind meets a fault."""
    return {"faults": [{"at": place, "times": 1, "fault": fault}]}


def operations(stub: Stub, kind: str) -> list[int]:
    """Return the statuses of all operations of a kind."""
    return [entry["status"] for entry in stub.log() if entry.get("operation") == kind]


@everywhere
async def test_a_batch_gives_the_answers_of_live_calls_and_costs_half(batches, stub, protocol):
    stub.set(batch_polls=2)
    made = await batches.create(QUESTIONS)
    name = batches.name_of(made)
    assert (batches.state_of(made), *await batches.states(name)) == {
        "anthropic": ("in_progress", "in_progress", "in_progress", "ended"),
        "google": ("PENDING", "RUNNING", "RUNNING", "SUCCEEDED"),
    }.get(protocol, ("validating", "in_progress", "finalizing", "completed"))
    found = await batches.results(name)
    assert list(found) == list(QUESTIONS)
    for label, question in QUESTIONS.items():
        outcome, answer = found[label]
        assert outcome == "succeeded"
        assert batches.text(answer) == text_of(protocol, await batches.clients.ask(protocol, question))
    stats, together = stub.stats(), f"{protocol}.batch"
    assert stats[together]["tokens"] == stats[protocol]["tokens"]
    assert stats[together]["billed_input"] == stats[protocol]["billed_input"] / 2 > 0
    assert (stats[together]["calls"], stats[protocol]["calls"]) == (4, 4)
    assert [len(entries) for entries in stub.served_twice()] == [2, 2, 2, 2]
    assert {entry["custom_id"] for entry in stub.log() if entry["protocol"] == together} == set(QUESTIONS)


@everywhere
async def test_a_batch_can_take_a_time_in_seconds_and_outlives_its_client(batches, stub, protocol):
    stub.set(batch_s=3600)
    questions = {f"run-{number}": f"Question {number}." for number in range(200)}
    name = batches.name_of(await batches.create(questions))
    await batches.clients.close()
    later = BatchClient(Clients(stub.url, "sk-test"), protocol)
    assert later.state_of(await later.retrieve(name)) in ("in_progress", "RUNNING")
    assert f"{protocol}.batch" not in stub.stats()
    stub.set(batch_s=0)
    await asyncio.gather(*(later.retrieve(name) for _ in range(3)))
    assert stub.batches() == [{"id": name, "protocol": protocol, "ended": True, "requests": dict.fromkeys(questions, "succeeded")}]
    assert not stub.served_twice()
    await later.clients.close()


@everywhere
async def test_a_request_that_a_live_call_would_refuse_is_an_error_in_the_batch(batches, stub, protocol):
    stub.set(context_tokens=100)
    name = batches.name_of(await batches.create(QUESTIONS | {"long": "a" * 1000}))
    await batches.states(name)
    found = await batches.results(name)
    assert found["long"] == ("errored", {"anthropic": "invalid_request_error", "google": 3}.get(protocol, 400))
    assert [found[label][0] for label in QUESTIONS] == ["succeeded"] * 4
    stub.set(faults=[{"at": "live", "fault": {"status": 500}}, {"at": "batched", "when": {"contains": "Question 2."}, "fault": {"status": 503}}])
    name = batches.name_of(await batches.create(QUESTIONS))
    await batches.states(name)
    found = await batches.results(name)
    assert [label for label in QUESTIONS if found[label][0] == "errored"] == ["run-2_a"]


@everywhere
async def test_a_share_of_the_requests_can_expire_and_another_can_fail(batches, stub, protocol):
    stub.set(**at("create", kind="lost", expired=0.5, errored=0.25))
    name = batches.name_of(await batches.create(QUESTIONS))
    assert (await batches.states(name))[-1] == {"anthropic": "ended", "google": "SUCCEEDED"}.get(protocol, "expired")
    outcomes = sorted(outcome for outcome, _ in (await batches.results(name)).values())
    assert outcomes == ["errored"] * 3 + ["succeeded"] if protocol == "google" else ["errored", "expired", "expired", "succeeded"]
    assert stub.stats()[f"{protocol}.batch"]["calls"] == 1
    again = batches.name_of(await batches.create(QUESTIONS))
    await batches.states(again)
    assert {outcome for outcome, _ in (await batches.results(again)).values()} == {"succeeded"}


async def test_an_expired_batch_of_google_has_no_results(stub):
    batches = BatchClient(Clients(stub.url, "sk-test"), "google")
    stub.set(**at("create", kind="lost", expired=1))
    name = batches.name_of(await batches.create(QUESTIONS))
    assert await batches.states(name) == ["EXPIRED"]
    assert await batches.results(name) == {}
    await batches.clients.close()


@everywhere
async def test_a_batch_can_fail_as_a_whole(batches, stub, protocol):
    stub.set(**at("create", kind="fails"))
    name = batches.name_of(await batches.create(QUESTIONS))
    assert await batches.states(name) == [{"anthropic": "ended", "google": "FAILED"}.get(protocol, "failed")]
    outcomes = {outcome for outcome, _ in (await batches.results(name)).values()}
    assert outcomes == ({"errored"} if protocol == "anthropic" else set())
    assert f"{protocol}.batch" not in stub.stats()


@everywhere
async def test_a_batch_can_be_cancelled(batches, stub, protocol):
    stub.set(batch_polls=9)
    name = batches.name_of(await batches.create(QUESTIONS))
    await batches.cancel(name)
    assert await batches.states(name) == [{"anthropic": "ended", "google": "CANCELLED"}.get(protocol, "cancelled")]
    assert {outcome for outcome, _ in (await batches.results(name)).values()} == (set() if protocol == "google" else {"canceled"})
    assert f"{protocol}.batch" not in stub.stats()
    with pytest.raises(REFUSALS):
        await batches.cancel(name)


@everywhere
@pytest.mark.parametrize("status", [403, 429, 500])
async def test_a_refused_creation_creates_no_batch(batches, stub, protocol, status):
    stub.set(**at("create", status=status))
    with pytest.raises(REFUSALS) as refused:
        await batches.create(QUESTIONS)
    assert status_of(refused.value) == status
    assert stub.batches() == []
    assert operations(stub, "create") == [status]


@everywhere
async def test_a_creation_whose_response_is_cut_off_has_created_a_batch_that_is_listed(batches, stub, protocol):
    stub.set(batch_others=5, **at("create", kind="drop"))
    with pytest.raises(BROKEN):
        await batches.create(QUESTIONS)
    (made,) = stub.batches()
    names = await batches.names(size=2)
    assert len(names) == len(set(names)) == 6
    assert 0 < names.index(made["id"]) < 5
    await batches.states(made["id"])
    assert list(await batches.results(made["id"])) == list(QUESTIONS)
    if protocol == "anthropic":  # only the results show which batch it is
        assert list(await batches.results(names[0])) == [FOREIGN]


@pytest.mark.parametrize("protocol", ["anthropic", "responses", "chat"])
async def test_results_can_arrive_in_another_order_and_break_off(batches, stub, protocol):
    stub.set(batch_reversed=True, **at("results", kind="drop_mid"))
    name = batches.name_of(await batches.create(QUESTIONS))
    await batches.states(name)
    with pytest.raises(BROKEN):
        await batches.results(name)
    stub.set(**at("results", kind="truncate"))
    with pytest.raises(json.JSONDecodeError):
        await batches.results(name)
    assert list(await batches.results(name)) == [*QUESTIONS][::-1]
    assert stub.stats()[f"{protocol}.batch"]["calls"] == 4


@everywhere
async def test_a_wrong_key_and_an_unknown_name_are_refused(batches, stub, protocol):
    wrong = BatchClient(Clients(stub.url, "sk-bad"), protocol)
    with pytest.raises(REFUSALS) as refused:
        await wrong.create(QUESTIONS)
    assert status_of(refused.value) == 401
    with pytest.raises(REFUSALS) as refused:
        await batches.retrieve("batches/0" if protocol == "google" else "batch_0")
    assert status_of(refused.value) == 404
    await wrong.clients.close()


@pytest.mark.parametrize("protocol", ["anthropic"])
@pytest.mark.parametrize("label", ["", "a" * 65, "a b", "ä"])
async def test_anthropic_refuses_custom_ids_and_duplicates(batches, stub, label):
    with pytest.raises(anthropic.BadRequestError, match=r"requests.0.custom_id: String should match pattern"):
        await batches.create({label: "Hello."})
    twice: Any = [{"custom_id": "a", "params": {}}] * 2
    with pytest.raises(anthropic.BadRequestError, match=r"requests.1.custom_id: Duplicate"):
        await batches.clients.anthropic.messages.batches.create(requests=twice)
    stub.set(batch_most=3)
    with pytest.raises(anthropic.RequestTooLargeError):
        await batches.create(QUESTIONS)


@openais
async def test_openai_fails_a_batch_whose_file_is_wrong(batches, stub, protocol):
    url = "/v1/responses" if protocol == "responses" else "/v1/chat/completions"
    good = {"custom_id": "a", "method": "POST", "url": url, "body": {"model": "gpt-6-luna"}}
    wrong = [good, good, good | {"custom_id": "b", "url": "/v1/other"}, good | {"custom_id": "c", "body": {"model": "other"}}]
    lines = "\n".join([*map(json.dumps, wrong), '{"custom_id": ']).encode()
    batch = await batches.retrieve((await batches.create_from(lines, url)).id)
    assert batch.status == "failed"
    codes = ["duplicate_custom_id", "mismatched_endpoint", "mismatched_model", "invalid_json_line"]
    assert [(problem.code, problem.line) for problem in batch.errors.data] == list(zip(codes, [2, 3, 4, 5], strict=True))
    empty = await batches.retrieve((await batches.create_from(b"\n", url)).id)
    assert [problem.code for problem in empty.errors.data][-1] == "empty_file"
    assert f"{protocol}.batch" not in stub.stats()


@openais
async def test_openai_keeps_files_until_they_are_deleted(batches, protocol):
    client = batches.clients.openai
    made = await batches.create(QUESTIONS)
    await batches.states(made.id)
    batch = await batches.retrieve(made.id)
    assert (batch.metadata, batch.error_file_id, batch.request_counts.completed) == ({"run": "night"}, None, 4)
    assert (await client.files.retrieve(batch.output_file_id)).purpose == "batch_output"
    assert (await client.files.delete(batch.output_file_id)).deleted
    with pytest.raises(openai.NotFoundError):
        await client.files.content(batch.output_file_id)


@pytest.mark.parametrize("protocol", ["google"])
async def test_google_can_omit_the_metadata_and_keeps_the_order(batches, stub, protocol):
    stub.set(batch_labels=False, batch_reversed=True)
    name = batches.name_of(await batches.create(QUESTIONS, most=50))
    await batches.states(name)
    answers = (await batches.retrieve(name)).dest.inlined_responses
    asked = [await batches.clients.ask("google", question, most=50) for question in QUESTIONS.values()]
    assert [text_of("google", one.response) for one in answers] == [text_of("google", said) for said in asked]
    assert {one.metadata for one in answers} == {None}


async def test_faults_of_the_wrong_operation_are_refused(stub):
    for rule in ({"at": "poll", "fault": {"status": 500}}, {"fault": {"kind": "lost"}}):
        with pytest.raises(ValueError, match="needs an `at`"):
            stub.set(faults=[rule])

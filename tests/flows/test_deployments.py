"""Deployments as people use them: created once, run by workers, started from CI, spread over several workers, and reported when they fail."""

import asyncio
import contextlib
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, MagicMock
from uuid import UUID

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import ObjectNotFound
from prefect.logging import disable_run_logger
from pydantic import SecretStr

from core.errors import SettingsError
from core.llm.bills import bills
from core.packs.pack import load_pack
from core.records import AssessmentBatch, Shard, TranscriptBatch
from core.rehearsal.personas import sample_batch
from core.storage.store import Store, open_store
from flows.assessment import assessment
from flows.generation import generation
from tasks.shards import run_shards, split, store_shard_result
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.secured import until
from tests.flows.test_paid_runs import paid_settings

pytestmark = pytest.mark.usefixtures("forked")


def run(words, **environment):
    return subprocess.run(
        words, cwd=CHECKOUT, env={**os.environ, "PREFECT_LOGGING_LEVEL": "INFO", **environment}, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def deployed(prefect_server):
    """The output of the first `make deploy`."""
    done = run([sys.executable, "deployments/setup.py", "deploy"], PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def watch(prefect_server, tmp_path_factory):
    """Runs a deployment as CI does, and returns the finished process."""
    prefect = tmp_path_factory.mktemp("bin") / "prefect"
    prefect.write_text(f'#!/bin/sh\nexec {sys.executable} -m prefect "$@"\n', encoding="utf-8")
    prefect.chmod(0o700)
    return lambda *words, **environment: run(
        ["deployments/run_and_watch.sh", *words], **{"PREFECT_API_URL": prefect_server, "PREFECT": str(prefect), "INTERVAL": "3"} | environment
    )


async def test_only_one_nightly_runs_at_a_time_and_its_schedule_starts_switched_off(deployed):
    assert "Made the deployment nightly, its schedule is off." in deployed
    async with get_client() as client:
        nightly = await client.read_deployment_by_name("nightly/nightly")
    assert nightly.global_concurrency_limit is not None
    assert nightly.global_concurrency_limit.limit == 1
    assert [schedule.active for schedule in nightly.schedules] == [False]


async def test_only_the_deployments_of_shards_may_run_several_times_at_once(deployed):
    async with get_client() as client:
        limits = {item.name: item.global_concurrency_limit for item in await client.read_deployments()}
    assert all(limits.values())
    assert {name for name, limit in limits.items() if limit and limit.limit != 1} == {"generation-shard", "assessment-shard"}


async def test_every_deployment_and_each_of_its_parameters_has_a_description(deployed):
    async with get_client() as client:
        found = await client.read_deployments()
    assert {item.name for item in found} >= {
        "pipeline",
        "demo",
        "nightly",
        "release-candidate",
        "generation",
        "assessment",
        "dataset",
        "training",
        "export",
        "evaluation",
        "improve",
    }
    for item in found:
        assert item.description, item.name
        assert "understudy" in item.tags
        schema = item.parameter_openapi_schema
        without = [name for name, given in (schema or {})["properties"].items() if not given.get("description")]
        assert without == [], item.name


@pytest.mark.parametrize(("count", "shards"), [(7, 3), (1, 4), (0, 3), (12, 4), (5, 5)])
def test_shards_differ_by_at_most_one_and_cover_the_batch(count, shards):
    parts = split(count, shards)
    assert [seed for begin, size in parts for seed in range(begin, begin + size)] == list(range(count))
    sizes = [size for _, size in parts]
    assert all(sizes)
    assert not sizes or max(sizes) - min(sizes) <= 1


async def test_the_same_command_with_two_numbers_of_shards_at_once_keeps_both_batches_apart(tmp_path, monkeypatch):
    all_at_once = asyncio.Barrier(5)
    command: Any = SimpleNamespace(name="generation-abc", pack=load_pack("coding-mentor"), store=Store(str(tmp_path)))

    async def worker(_deployment, parameters, _name):
        await all_at_once.wait()
        store_shard_result(f"batch from {parameters['first_seed']}", command, Shard(**parameters["shard"]))

    monkeypatch.setattr("tasks.shards._run", worker)
    client = MagicMock()
    client.__aenter__.return_value.read_deployment_by_name = AsyncMock()
    monkeypatch.setattr("tasks.shards.get_client", lambda: client)
    spread = [[{"conversations": size, "first_seed": begin} for begin, size in split(6, shards)] for shards in (2, 3)]
    with disable_run_logger():
        batches = await asyncio.gather(*[run_shards("generation/generation-shard", command, "demo.yaml", parts) for parts in spread])
    assert batches == [["batch from 0", "batch from 3"], ["batch from 0", "batch from 2", "batch from 4"]]


async def test_shards_whose_deployment_is_missing_are_refused_with_the_command_that_creates_it(tmp_path, data_root, deployed):
    async with get_client() as client:
        known = await client.read_deployment_by_name("generation/generation-shard")
        await client.delete_deployment(known.id)
    with pytest.raises(SettingsError, match=r"no deployment generation/generation-shard.*understudy deploy"):
        await generation(conversations=4, shards=2, settings=write_settings(tmp_path))


NOTIFICATIONS = []


class Listener(BaseHTTPRequestHandler):
    def do_POST(self):
        NOTIFICATIONS.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):  # ty: ignore[incompatible-method-override]
        pass


@pytest.fixture(scope="module")
def deployed_again(deployed, prefect_server):
    """The output of `make deploy` after a deployment was deleted, the nightly's schedule switched on and a notification block saved."""
    listener = HTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    asyncio.run(change_what_was_deployed(f"http://127.0.0.1:{listener.server_port}/"))
    done = run([sys.executable, "deployments/setup.py", "deploy"], PREFECT_API_URL=prefect_server)
    assert done.returncode == 0, done.stderr
    yield done.stdout
    listener.shutdown()


async def change_what_was_deployed(address):
    async with get_client() as client:
        nightly = await client.read_deployment_by_name("nightly/nightly")
        await client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=True)
        with contextlib.suppress(ObjectNotFound):  # an earlier test has deleted it
            await client.delete_deployment((await client.read_deployment_by_name("generation/generation-shard")).id)
    block = CustomWebhookNotificationBlock(name="alerts", url=address, json_data={"text": "{{subject}}: {{body}}"}, secrets={"none": SecretStr("none")})
    await block.asave("understudy-alerts", overwrite=True)


async def test_deploying_again_recreates_what_is_missing_and_keeps_a_schedule_that_somebody_switched_on(deployed_again):
    assert [line for line in deployed_again.splitlines() if line.startswith("Made the deployment")] == ["Made the deployment generation-shard."]
    assert "The deployment nightly exists, its schedule is on." in deployed_again
    assert deployed_again.count("Switched it on") == 2
    async with get_client() as client:
        nightly = await client.read_deployment_by_name("nightly/nightly")
        await client.update_deployment_schedule(nightly.id, nightly.schedules[0].id, active=False)


@pytest.fixture(scope="module")
def workers(deployed_again, prefect_server, tmp_path_factory):
    """The data root of two workers."""
    root = tmp_path_factory.mktemp("workers")
    env = {**os.environ, "PREFECT_API_URL": prefect_server, "UNDERSTUDY_DATA": str(root / "data"), "ANTHROPIC_API_KEY": "good", "PREFECT_LOGGING_LEVEL": "INFO"}
    started = []
    for name in ("one", "two"):
        log = (root / f"{name}.log").open("w", encoding="utf-8")
        words = [sys.executable, "deployments/worker.py", name]
        started.append(subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True))
    yield root / "data"
    for process in started:
        process.terminate()
    for process in started:
        process.wait(timeout=240)


def test_the_exit_code_shows_ci_the_outcome_of_a_run_and_a_failure_sends_a_notification(workers, watch, tmp_path):
    settings = write_settings(tmp_path)
    good = watch("generation/generation", "-p", "conversations=1", "-p", f"settings={settings}")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "Completed" in good.stdout
    bad = watch("generation/generation", "-p", "domain=nowhere", "-p", f"settings={settings}")
    assert bad.returncode == 1
    assert "nowhere" in bad.stdout
    assert any("nowhere" in text and "Failed" in text for text in until(lambda: list(NOTIFICATIONS), 60))
    assert watch("generation/none").returncode == 1
    assert watch("generation/generation", "-p", "conversations=many").returncode == 1


def test_ci_cancels_a_run_that_does_not_end_in_time(workers, watch, tmp_path):
    late = watch("generation/generation", "-p", "conversations=900", "-p", f"settings={write_settings(tmp_path)}", LIMIT="4", INTERVAL="1")
    assert late.returncode == 2, late.stdout
    run_id = UUID(next(line.split()[-1] for line in late.stdout.splitlines() if "UUID" in line))
    with get_client(sync_client=True) as client:
        until(lambda: client.read_flow_run(run_id).state_type in (StateType.CANCELLED, StateType.CRASHED), 60)  # crashed if its process had hardly started


CONVERSATIONS = 3
SEEDS = count(500, CONVERSATIONS)
"""Seeds of the first persona: a repeated test starts with no conversation made."""


async def test_a_batch_spread_over_workers_is_the_same_batch_on_one_bill(workers, prefect_server, tmp_path, provider, monkeypatch):
    seed = next(SEEDS)
    provider.set(faults=[], latency_s=0, send_limit_headers=True, requests_per_minute=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("UNDERSTUDY_DATA", str(workers))
    settings = paid_settings(
        tmp_path, provider, calls={"attempts": 1}, generation={"conversations": CONVERSATIONS, "exchanges": [2, 2], "minimum_exchanges": 2, "concurrency": 3}
    )
    victim = sample_batch(load_pack("therapeutic-coaching"), seed, CONVERSATIONS, (2, 2))[1].name
    provider.set(faults=[{"when": {"contains": f"You play one person, {victim}"}, "fault": {"kind": "mutate", "path": ["content"], "json": "null"}}])
    incomplete = TranscriptBatch.model_validate_json(open_store().read(await generation(first_seed=seed, shards=2, settings=settings)))
    assert [item.name for item in incomplete.left_out] == [f"persona {seed + 1}"]
    assert "is not an answer of" in incomplete.left_out[0].reason  # the shard's reason
    assert len(incomplete.transcripts) == CONVERSATIONS - 1
    provider.set(faults=[])
    batch = await generation(first_seed=seed, shards=2, settings=settings)
    spread = TranscriptBatch.model_validate_json(open_store().read(batch))
    calls = provider.stats()["anthropic"]["ok"]
    assert not spread.left_out
    judged = AssessmentBatch.model_validate_json(open_store().read(await assessment(batch=batch, shards=2, settings=settings)))
    assert [item.transcript for item in judged.assessments] == spread.transcripts
    assert not judged.left_out
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path / "alone"))
    alone = TranscriptBatch.model_validate_json(open_store().read(await generation(first_seed=seed, settings=settings)))
    assert [item.id for item in spread.transcripts] == [item.id for item in alone.transcripts]
    spent = [sum(bill.calls for bill in bills(Store(str(workers)), path.name).values()) for path in (workers / "ledger").iterdir()]
    assert calls in spent

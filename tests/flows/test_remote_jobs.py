"""Training and export on a service of jobs: a user's commands, killed and cancelled on the way, against a server that really runs the submitted jobs."""

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun
from prefect.states import Cancelling

from blocks.llama_runtime import read_runtime
from core.errors import SettingsError
from core.storage.store import Store
from flows.training import training
from tests.conftest import PACKAGES, needs
from tests.flows.conftest import write_settings
from tests.flows.test_dataset import write_elsewhere
from tests.hub_stub.client import Hub, start_hub
from tests.llama_sources import offer_sources
from tests.nursery import Forked, Nursery
from tests.tiny import tiny_base, tiny_settings

needs("torch", "xllamacpp")

TRAIN: dict[str, Any] = {
    "max-length": 1024,
    "allow-truncated": 1.0,
    "evaluate": "end",
    "gradient-accumulation": 1,
    "no-gradient-checkpointing": True,
}
ENDLESS = 1_000_000
"""Steps of a training that does not end before the test stops it."""


@dataclass
class Elsewhere:
    """A data root with a dataset on the Hub, the base on the Hub, and the Hub with its jobs."""

    root: Path
    hub: Hub
    environment: dict[str, str]
    folder: Path
    nursery: Nursery

    def settings(self, steps: int = 2, **jobs: Any) -> str:
        """Return settings of a training without results: with a new seed, a rerun test does not find the results of its first run."""
        seed = len([*self.folder.glob("settings-*")])
        training = {
            "base": {"model": "me/tiny", "revision": "main", "license": "mit"},
            "flavors": {"train": "a100-large", "convert": "cpu-xl"},
            "train": {**TRAIN, "max-steps": steps, "seed": seed},
            "convert": {"fallback-pre-tokenizer": "qwen2", "allow-endless": True, "reply-tokens": 8, "greedy-tokens": 4, "heldout-examples": 2},
            "quantisations": ["q4_k_m"],
        }
        place = self.folder / f"settings-{seed}"
        place.mkdir()
        hub = {"dataset": {"hub": "hf", "repo": "me/{domain}"}, "export": {"hub": "hf", "repo": "me/{domain}"}}
        path = write_settings(place, **hub, jobs={"where": "hf", "approve": "never", "poll_seconds": 0.3, **jobs})
        (place / "train.yaml").write_text(yaml.safe_dump(training), encoding="utf-8")
        text = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        text["training"] = str(place / "train.yaml")
        Path(path).write_text(yaml.safe_dump(text), encoding="utf-8")
        return path

    def start(self, flow: str, settings: str, *more: str) -> Forked:
        """Start a flow in a process of its own, as a user would."""
        return self.nursery.start(["-m", "flows.terminal", flow, f"--settings={settings}", *more], {**self.environment, "UNDERSTUDY_DATA": str(self.root)})

    def run(self, flow: str, settings: str, *more: str) -> tuple[int, str]:
        """Run a flow to its end; return its exit code and what it printed."""
        process = self.start(flow, settings, *more)
        output, _ = process.communicate(timeout=280)
        return process.wait(), output

    def jobs(self, *stages: str) -> list[dict[str, Any]]:
        return [job for job in self.hub.jobs() if not stages or job["status"]["stage"] in stages]


def wait_for(what: Any, seconds: float = 240) -> Any:
    for _ in range(int(seconds * 20)):
        if found := what():
            return found
        time.sleep(0.05)
    raise AssertionError(f"nothing in {seconds:.0f} seconds")


def kill(process: Forked) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory, prefect_server: str, nursery: Nursery, forked: None, trainers: Nursery) -> Iterator[Elsewhere]:
    folder = tmp_path_factory.mktemp("elsewhere")
    runtime = read_runtime()
    if runtime is None or runtime.converter is None:
        pytest.skip("llama.cpp's converter is not installed; run `make setup`")
    offer_sources(PACKAGES, runtime.converter)
    write_elsewhere(folder)
    with start_hub(folder / "hub", scheduling_s=1.0, python=sys.executable) as hub:
        environment = {**os.environ, **hub.environment(folder / "home"), "PREFECT_API_URL": prefect_server, "PREFECT_LOGGING_LEVEL": "INFO"}
        assert nursery.fits(environment)
        place = Elsewhere(folder / "data", hub, environment, folder, nursery)
        code, output = place.run("dataset", place.settings(), f"--checkpoints={folder / 'old.jsonl'}", f"--transcripts={folder / 'transcripts'}")
        assert code == 0, output
        push_base(place)
        yield place


def push_base(place: Elsewhere) -> None:
    """Put a tiny base on the Hub, as somebody did with every base model."""
    push = "import sys; from huggingface_hub import HfApi; a = HfApi(); a.create_repo('me/tiny'); a.upload_folder(repo_id='me/tiny', folder_path=sys.argv[1])"
    process = place.nursery.start(["-c", push, str(tiny_base())], place.environment)
    output, _ = process.communicate(timeout=120)
    assert process.wait() == 0, output


@dataclass
class Trained:
    """A training that two flows, started at once, were asked for.

    Args:
        codes, outputs: the exit code and the printed text of each flow.
        jobs: the jobs that were submitted meanwhile.
    """

    settings: str
    codes: list[int | None]
    outputs: list[str]
    jobs: list[dict[str, Any]]


@pytest.fixture(scope="module")
def trained(elsewhere: Elsewhere) -> Trained:
    settings, before = elsewhere.settings(), len(elsewhere.jobs())
    flows = [elsewhere.start("train", settings) for _ in range(2)]
    outputs = [process.communicate(timeout=280)[0] for process in flows]
    jobs = elsewhere.jobs()
    return Trained(settings, [process.returncode for process in flows], outputs, jobs[: len(jobs) - before])


def test_two_flows_at_once_share_one_job(trained):
    assert trained.codes == [0, 0], trained.outputs
    assert sorted(job["status"]["stage"] for job in trained.jobs if job["status"]["stage"] != "CANCELED") == ["COMPLETED"]


def test_a_training_job_reports_its_machine_and_its_cost(trained):
    output = "".join(trained.outputs)
    assert "submitted on a100-large" in output
    assert "USD" in output


def test_from_a_dataset_on_the_hub_to_a_gguf_that_is_fetched_and_checked(elsewhere, trained):
    before = len(elsewhere.jobs("COMPLETED"))
    code, output = elsewhere.run("export", trained.settings)
    assert code == 0, output
    store = Store(str(elsewhere.root))
    (gguf,) = sorted(elsewhere.root.glob("models/gguf/understudy-*/understudy-q4_k_m.gguf"))
    reported = json.loads((gguf.parent / "export.json").read_text(encoding="utf-8"))["files"][gguf.name]
    assert gguf.stat().st_size == reported["bytes"]
    hub = json.loads(store.read(f"models/gguf/{gguf.parent.name}/hub.json"))
    assert hub["repo"] == "me/therapeutic-coaching-gguf"
    card = elsewhere.hub.get("/me/therapeutic-coaching-gguf/resolve/main/README.md").decode()
    assert "base_model: me/tiny" in card
    assert len(elsewhere.jobs("COMPLETED")) == before + 2  # the base is converted too
    submitted = len(elsewhere.jobs())
    for flow in ("train", "export"):
        code, output = elsewhere.run(flow, trained.settings)
        assert code == 0, output
    assert len(elsewhere.jobs()) == submitted


def test_a_flow_that_is_killed_at_every_stage_of_its_job_pays_for_one_job_and_gets_its_result(elsewhere):
    settings, before = elsewhere.settings(), len(elsewhere.jobs())

    def mine() -> list[dict[str, Any]]:
        return elsewhere.jobs()[: len(elsewhere.jobs()) - before]

    elsewhere.hub.faults({"method": "POST", "pattern": "/api/jobs/me$", "delay": 3, "times": 1})
    elsewhere.hub.clear_log()
    process = elsewhere.start("train", settings)
    wait_for(lambda: [item for item in elsewhere.hub.log() if item["method"] == "POST" and item["path"] == "/api/jobs/me"])
    kill(process)  # while the submission is on its way
    elsewhere.hub.faults()
    for stages in (("SCHEDULING", "RUNNING"), ("RUNNING",), ("COMPLETED",)):
        process = elsewhere.start("train", settings)
        wait_for(lambda stages=stages: [job for job in mine() if job["status"]["stage"] in stages])
        kill(process)
    code, output = elsewhere.run("train", settings)
    assert code == 0, output
    assert len(mine()) == 1, [job["status"] for job in mine()]


def test_ctrl_c_cancels_the_job(elsewhere):
    before = len(elsewhere.jobs())
    process = elsewhere.start("train", elsewhere.settings(ENDLESS))
    wait_for(lambda: len(elsewhere.jobs()) > before)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 130, output
    assert elsewhere.jobs()[0]["status"]["stage"] == "CANCELED"


def test_the_cancellation_hook_cancels_the_job_of_a_flow_whose_process_was_killed(elsewhere):
    """A worker that cancels a run calls the flow's hook in a process of its own."""

    def notes() -> set[Path]:
        return {*elsewhere.root.glob("jobs/attached/*/*.json")}

    before, jobs = notes(), len(elsewhere.jobs())  # of runs that were killed
    process = elsewhere.start("train", elsewhere.settings(ENDLESS))
    (attached,) = wait_for(lambda: notes() - before)
    wait_for(lambda: len(elsewhere.jobs()) > jobs)  # which comes after the note
    kill(process)
    assert elsewhere.jobs()[0]["status"]["stage"] != "CANCELED"
    call = "import asyncio, sys, types; from tasks.paid_jobs import cancel_jobs; asyncio.run(cancel_jobs(None, types.SimpleNamespace(id=sys.argv[1]), None))"
    assert elsewhere.nursery.start(["-c", call, attached.parent.name], {**elsewhere.environment, "UNDERSTUDY_DATA": str(elsewhere.root)}).wait(120) == 0
    wait_for(lambda: elsewhere.jobs()[0]["status"]["stage"] == "CANCELED")
    assert not attached.exists()


async def test_cancelling_the_run_in_the_ui_cancels_the_job(elsewhere):
    before = len(elsewhere.jobs())
    process = elsewhere.start("train", elsewhere.settings(ENDLESS))
    wait_for(lambda: len(elsewhere.jobs()) > before)
    async with get_client() as client:
        run = await running(client)
        await client.set_flow_run_state(run.id, Cancelling(), force=True)
    output, _ = process.communicate(timeout=240)
    assert process.returncode != 0, output
    assert elsewhere.jobs()[0]["status"]["stage"] == "CANCELED"


async def running(client: Any) -> FlowRun:
    """Return the newest running flow run; the server still lists killed ones as running."""
    return max(await in_state(client, "RUNNING"), key=lambda run: run.created)


async def in_state(client: Any, state: str) -> list[FlowRun]:
    return await client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate({"state": {"type": {"any_": [state]}}}))


async def test_a_person_approves_or_declines_a_job_before_it_is_paid_for(elsewhere):
    settings, before = elsewhere.settings(ENDLESS, approve="ask"), len(elsewhere.jobs())
    for answer in (False, True):
        async with get_client() as client:
            others = {run.id for run in await in_state(client, "PAUSED")}  # of flows that were killed while they waited
            process = elsewhere.start("train", settings)
            paused = None
            for _ in range(300):
                paused = next((run for run in await in_state(client, "PAUSED") if run.id not in others), None)
                if paused:
                    break
                time.sleep(0.2)
            assert paused
            assert len(elsewhere.jobs()) == before
            await client.resume_flow_run(paused.id, run_input={"approve": answer})
        if answer:
            wait_for(lambda: len(elsewhere.jobs()) == before + 1)
            process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=200)
        assert process.returncode != 0
        assert ("A person declined" in output) != answer
    assert len(elsewhere.jobs()) == before + 1


def test_a_job_beyond_the_budget_is_refused_before_it_is_submitted(elsewhere):
    before = len(elsewhere.jobs())
    code, output = elsewhere.run("train", elsewhere.settings(usd=0.01))
    assert code == 3, output
    assert "Budget of the jobs" in output
    assert "Traceback" not in output
    assert len(elsewhere.jobs()) == before


async def test_settings_are_refused_if_a_job_could_not_reach_its_dataset_base_or_export(elsewhere, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DATA", str(elsewhere.root))
    path = Path(elsewhere.settings())
    given = yaml.safe_load(path.read_text(encoding="utf-8"))
    for part in ("dataset", "export"):
        path.write_text(yaml.safe_dump({**given, part: {**given[part], "hub": "local"}}), encoding="utf-8")
        with pytest.raises(SettingsError, match=r"set dataset\.hub and export\.hub to hf"):
            await training(settings=str(path))
    here = path.with_name("here.yaml")
    here.write_text(yaml.safe_dump(tiny_settings()), encoding="utf-8")
    path.write_text(yaml.safe_dump({**given, "training": str(here)}), encoding="utf-8")
    with pytest.raises(SettingsError, match=f"is a folder \\({tiny_base()}\\), which a job on another machine cannot read"):
        await training(settings=str(path))

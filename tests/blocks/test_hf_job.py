"""Hugging Face Jobs with the real client and a server that runs the jobs: one job per order, verified by its result."""

import asyncio
import os
import re
from contextlib import closing
from pathlib import Path

import huggingface_hub.constants
import pytest
from huggingface_hub import HfApi
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from blocks.hf_job import HfJob
from blocks.hf_job_run import HfJobRun
from blocks.job_log import reason
from core.errors import HubError, JobError
from core.settings.pipeline import load_settings
from core.training.job_spec import KEY_LABEL, JobResources, JobResult, JobSpec
from tests.hub_stub.client import rate_limit, start_hub
from tests.hub_stub.job_runs import ENVIRONMENT
from tests.nursery import Nursery, forked_python

pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's own client, when it uploads a file

SCRIPT = Path(__file__).with_name("order_script.py")
WATCH = load_settings("config/pipeline.yaml").jobs.model_copy(update={"poll_seconds": 0.05, "queue_seconds": 60, "outage_seconds": 60, "silent_seconds": 60})


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub")
    own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PREFECT_"))} | ENVIRONMENT
    with (
        start_hub(folder / "hub", scheduling_s=0.05, python=forked_python(folder / "python")) as hub,
        closing(Nursery(folder / "python", ["huggingface_hub.hf_api"], own, [str(folder / "hub/jobs")])),  # each job imports the Hub's client
    ):
        yield hub


@pytest.fixture
def hub(server, monkeypatch):
    server.reset()
    server.faults()
    server.clear_log()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("blocks.hf_calls.time.sleep", lambda seconds: None)  # the pauses are not under test
    return server


def block(hub, token="hf_write", attempts=4, namespace="me"):
    return HfJob(hub=HfHub(endpoint=hub.url, token=SecretStr(token), attempts=attempts), namespace=namespace, settle_seconds=0)


def job_spec(name="abc", **arguments):
    return JobSpec(
        stage="train",
        script=SCRIPT.name,
        name=name,
        folder=f"models/{name}",
        finished="metrics.json",
        arguments={"text": "Be kind. ", **arguments},
        local={},
        remote={},
        files={"system-file": ("system.md", "You are a coach.")},
        repo="me/coach-adapter",
        private=True,
        fetch=["text.bin"],
    )


def job_resources(flavor="a100-large", timeout=60):
    return JobResources(run="pipeline-1", flavor=flavor, timeout_seconds=timeout, image="uv")


async def never():
    return False


async def finish(job, watch=WATCH, report=lambda event: None, stopped=never):
    await job.wait_for_completion(watch, report, stopped)
    return await job.fetch_result()


async def make(hub, folder, spec=None, resources=None, **more):
    started = await block(hub).trigger(spec or job_spec(), resources or job_resources(), SCRIPT, folder / "place")
    return started if isinstance(started, JobResult) else await finish(started, **more)


@pytest.mark.slow
async def test_a_job_pushes_its_result_and_reports_its_progress(hub, tmp_path):
    events = []
    result = await make(hub, tmp_path, report=events.append)
    api = HfApi(endpoint=hub.url, token="hf_write")
    assert api.repo_info("me/coach-adapter", revision="run-abc").sha == result.commit
    assert hub.get(f"/me/coach-adapter/resolve/{result.commit}/text.bin") == b"Be kind. You are a coach."
    assert api.repo_info("me/coach-adapter").private
    (job,) = hub.jobs()
    assert job["secrets"] == ["HF_TOKEN"]
    assert job["labels"]["understudy-key"] == "train-abc"
    assert job["labels"]["understudy-run"] == "pipeline-1"
    assert "hf_write" not in str(job)
    assert [event["step"] for event in events if event["event"] == "progress"] == [1, 2, 3, 4]
    assert [event["stage"] for event in events if event["event"] == "stage"][-1] == "COMPLETED"
    log = (tmp_path / "place.log").read_text(encoding="utf-8").splitlines()
    assert log[0] == "Starting."
    assert log[-1] == "Done."
    assert len(log) == 6


async def test_a_finished_job_is_not_submitted_again(hub, tmp_path):
    result = await make(hub, tmp_path)
    assert await make(hub, tmp_path / "elsewhere") == result
    assert len(hub.jobs()) == 1


async def test_a_job_runs_the_script_at_the_submitted_commit(hub, tmp_path):
    """A later version of the script in the same repository changes nothing for a job that waits for its machine."""
    await make(hub, tmp_path)
    (job,) = hub.jobs()
    (volume,) = job["volumes"]
    commit = HfApi(endpoint=hub.url, token="hf_write").repo_info("me/understudy-jobs", repo_type="dataset").sha
    assert (volume["type"], volume["source"], volume["revision"]) == ("dataset", "me/understudy-jobs", commit)
    assert job["command"][:2] == ["uv", "run"]


@pytest.mark.slow
async def test_concurrent_submissions_of_the_same_job_start_one_job(hub, tmp_path):
    started = await asyncio.gather(*(block(hub).trigger(job_spec(seconds=2), job_resources(), SCRIPT, tmp_path / f"{number}") for number in range(4)))
    runs = [item for item in started if isinstance(item, HfJobRun)]
    assert len({run.job.id for run in runs}) == 1
    results = await asyncio.gather(*(finish(run) for run in runs))
    assert len({result.commit for result in results}) == 1
    alive = [job for job in hub.jobs() if job["status"]["stage"] != "CANCELED"]
    assert len(alive) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "fault", [{"status": 500}, {"status": 504}, {"drop": True}, {"after": True}, rate_limit(1)], ids=["500", "504", "dropped", "lost answer", "429"]
)
async def test_a_failed_or_lost_answer_to_a_submission_leaves_one_job(hub, tmp_path, fault):
    hub.faults({"method": "POST", "pattern": r"/api/jobs/me$", "times": 1, **fault})
    await make(hub, tmp_path)
    assert len(hub.jobs()) == 1


@pytest.mark.parametrize(("status", "reported"), [(400, "400 while submitting"), (401, "Check the token"), (402, "no credit"), (403, "no permission for this")])
async def test_a_permanent_error_is_reported_at_once_and_not_retried(hub, tmp_path, status, reported):
    hub.faults({"method": "POST", "pattern": r"/api/jobs/me$", "status": status})
    with pytest.raises(HubError, match=reported):
        await make(hub, tmp_path)
    assert sum(item["method"] == "POST" and item["path"] == "/api/jobs/me" for item in hub.log()) == 1
    assert not hub.jobs()


@pytest.mark.slow
async def test_watching_a_job_survives_temporary_failures(hub, tmp_path):
    started = await block(hub).trigger(job_spec(seconds=2), job_resources(), SCRIPT, tmp_path / "place")
    hub.faults(
        {"method": "GET", "pattern": r"/api/jobs/me/[^/]+$", "times": 2, "status": 500},
        {"method": "GET", "pattern": r"/api/jobs/me/[^/]+$", "times": 1, "drop": True},
        {"pattern": "/logs$", "times": 2, "cut": 250},
        {"pattern": "/logs$", "times": 1, "status": 503},
    )
    await finish(started)
    log = (tmp_path / "place.log").read_text(encoding="utf-8").splitlines()
    assert (log[0], log[-1], len(log)) == ("Starting.", "Done.", 6)


@pytest.mark.slow
async def test_an_outage_of_the_service_ends_the_watch_and_not_the_job(hub, tmp_path):
    started = await block(hub).trigger(job_spec(seconds=1.5), job_resources(), SCRIPT, tmp_path / "place")
    hub.faults({"method": "GET", "pattern": r"/api/jobs/me/[^/]+$", "status": 503})
    with pytest.raises(JobError, match=r"no news of the job .* answered 503 .* not paid for twice"):
        await finish(started, WATCH.model_copy(update={"outage_seconds": 0.5}))
    hub.faults()
    assert (await make(hub, tmp_path)).repo == "me/coach-adapter"
    assert len(hub.jobs()) == 1


async def test_a_failed_job_is_reported_with_its_reason_and_retried_as_a_new_job(hub, tmp_path):
    with pytest.raises(JobError, match=r"failed \(.*exit code.*\): The text is too dull; give another\. Its log is .*place\.log"):
        await make(hub, tmp_path, job_spec(fault="fails"))
    with pytest.raises(JobError, match="too dull"):
        await make(hub, tmp_path, job_spec(fault="fails"))
    assert len(hub.jobs()) == 2


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGILL"])
async def test_a_job_killed_by_a_signal_is_reported_with_the_signal_and_the_step(hub, tmp_path, name):
    reported = rf"\(.*exit code.*\) died of {name} \(.*\) at step 4 of 4\. .*Its last line was: The adapter is loaded\. Its log is .*place\.log"
    with pytest.raises(JobError, match=reported) as failed:
        await make(hub, tmp_path, job_spec(fault=name))
    assert ("use a smaller model" in str(failed.value)) == (name == "SIGKILL")
    assert "free now" not in str(failed.value)  # the memory of another machine is unknown


@pytest.mark.parametrize("fault", ["idle", "lies"])
async def test_a_completed_job_without_its_result_is_an_error(hub, tmp_path, fault):
    with pytest.raises(JobError, match=r"says that it completed, but me/coach-adapter has no finished metrics.json at run-abc"):
        await make(hub, tmp_path, job_spec(fault=fault))


async def test_a_job_that_never_ran_but_is_reported_as_completed_is_an_error(hub, tmp_path):
    hub.next_job("lies")
    with pytest.raises(JobError, match="says that it completed, but"):
        await make(hub, tmp_path)


async def test_a_vanished_job_is_reported(hub, tmp_path):
    hub.next_job("vanishes")
    with pytest.raises(JobError, match="has vanished"):
        await make(hub, tmp_path, job_spec(seconds=20))


async def test_a_job_that_gets_no_machine_is_cancelled_and_reported(hub, tmp_path):
    hub.next_job("stuck")
    with pytest.raises(JobError, match=r"waited .* for a machine \(a100-large\)\. Its job .* was cancelled"):
        await make(hub, tmp_path, watch=WATCH.model_copy(update={"queue_seconds": 0.5}))
    assert [job["status"]["stage"] for job in hub.jobs()] == ["CANCELED"]


async def test_a_job_that_takes_too_long_is_reported_with_its_limit(hub, tmp_path):
    with pytest.raises(JobError, match=r"was stopped after .* its limit.*newest checkpoint"):
        await make(hub, tmp_path, job_spec(seconds=60), job_resources(timeout=1))


async def test_a_failed_cancellation_is_reported_with_the_address_and_left_to_the_hook(hub, tmp_path, caplog):
    started = await block(hub).trigger(job_spec(seconds=60), job_resources(), SCRIPT, tmp_path / "place")
    hub.faults({"pattern": "/cancel$", "status": 503})

    async def yes():
        return True

    with pytest.raises(JobError, match=r"The run was cancelled\. The job .* may still run and cost\. Cancel it at http"):
        await finish(started, stopped=yes)
    assert started.uncancelled
    assert sum(item["path"].endswith("/cancel") for item in hub.log()) == 4
    watching = asyncio.ensure_future(finish(started))
    await asyncio.sleep(0.5)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert f"may still run and cost. Cancel it at {started.job.url}" in caplog.text


@pytest.mark.slow
async def test_a_duplicate_that_appears_late_is_cancelled_while_the_first_job_is_watched(hub, tmp_path, monkeypatch):
    monkeypatch.setattr("blocks.hf_job_run.LATE", 0.5)
    started = await block(hub).trigger(job_spec(seconds=1.5), job_resources(), SCRIPT, tmp_path / "place")
    api = HfApi(endpoint=hub.url, token="hf_write")
    late = api.run_job(image="uv", command=["sleep", "60"], labels={KEY_LABEL: "train-abc"}, flavor="cpu-basic", namespace="me")
    await finish(started)
    assert {job["id"]: job["status"]["stage"] for job in hub.jobs()} == {started.job.id: "COMPLETED", late.id: "CANCELED"}


async def test_a_completed_job_cancels_its_duplicates(hub, tmp_path):
    started = await block(hub).trigger(job_spec(), job_resources(), SCRIPT, tmp_path / "place")
    await started.wait_for_completion(WATCH, lambda event: None, never)
    api = HfApi(endpoint=hub.url, token="hf_write")
    api.run_job(image="uv", command=["sleep", "60"], labels={KEY_LABEL: "train-abc"}, flavor="cpu-basic", namespace="me")
    await started.fetch_result()
    assert [job["status"]["stage"] for job in hub.jobs()] == ["CANCELED", "COMPLETED"]


async def test_an_unreadable_log_is_reported_and_does_not_lose_the_result(hub, tmp_path):
    hub.faults({"pattern": "/logs$", "status": 200, "body": "<html>Bad gateway</html>"})
    assert (await make(hub, tmp_path)).repo == "me/coach-adapter"
    hub.faults({"pattern": "/logs$", "status": 503})
    with pytest.raises(JobError, match=r"Its log could not be read to the end \(.*503"):
        await make(hub, tmp_path / "other", job_spec("other", fault="fails"))


async def test_a_job_gets_the_token_of_hf_job_token(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_JOB_TOKEN", "hf_read")
    with pytest.raises(JobError, match="failed"):  # a read-only token, so the job cannot push
        await make(hub, tmp_path)
    assert "hf_read" not in str(hub.jobs())


@pytest.mark.parametrize("price", [None, "free", -1, 0, "nan"])
def test_an_invalid_price_is_refused(hub, price):
    machine = {"name": "a100-large", "prettyName": "A100", "cpu": "12 vCPU", "ram": "142 GB", "accelerator": None}
    hub.faults({"pattern": "/hardware$", "status": 200, "body": [{**machine, "unitCostMicroUSD": 1, "unitCostUSD": price, "unitLabel": "minute"}]})
    with pytest.raises(HubError, match="asking for the hardware of jobs"):
        block(hub).offered()


HUB_ERROR = """Traceback (most recent call last):
  File "/job/train_sft.py", line 5, in <module>
    main()
huggingface_hub.errors.RepositoryNotFoundError: 404 Client Error. (Request ID: Root=1-2)

Repository Not Found for url: https://huggingface.co/api/models/me/gone.
Please make sure you specified the correct `repo_id` and `repo_type`.
For more details, see https://huggingface.co/docs/huggingface_hub/authentication"""


@pytest.mark.parametrize(
    ("log", "wanted"),
    [
        (HUB_ERROR, "RepositoryNotFoundError: 404 Client Error.* Repository Not Found for url: https://huggingface.co/api/models/me/gone\\.$"),
        ("Loading.\nThe text is too dull; give another.", r"^The text is too dull; give another\.$"),
        ("error: Failed to fetch `torch`\n  Caused by: 503\nhint: try again\nFor more information, see the docs.", "^error: Failed to fetch `torch`$"),
        ("torch.OutOfMemoryError: CUDA out of memory.\nSee documentation for Memory Management", "CUDA out of memory"),
        ("", "^$"),
    ],
)
def test_the_reason_of_a_failure_is_its_error_without_the_advice_after_it(log, wanted):
    assert re.search(wanted, reason([line for line in log.splitlines() if line.strip()]))


async def test_a_cancelled_watch_cancels_the_job(hub, tmp_path):
    started = await block(hub).trigger(job_spec(seconds=60), job_resources(), SCRIPT, tmp_path / "place")
    watching = asyncio.ensure_future(finish(started))
    await asyncio.sleep(1)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert [job["status"]["stage"] for job in hub.jobs()] == ["CANCELED"]


async def test_a_run_cancelled_elsewhere_cancels_its_job(hub, tmp_path):
    async def yes():
        return True

    with pytest.raises(JobError, match="The run was cancelled"):
        await make(hub, tmp_path, job_spec(seconds=60), stopped=yes)
    assert [job["status"]["stage"] for job in hub.jobs()] == ["CANCELED"]


async def test_cancelling_during_a_submission_leaves_no_job_running(hub, tmp_path):
    hub.faults({"method": "POST", "pattern": r"/api/jobs/me$", "delay": 1.5})
    submitting = asyncio.ensure_future(block(hub).trigger(job_spec(seconds=60), job_resources(), SCRIPT, tmp_path / "place"))
    await asyncio.sleep(1)
    submitting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await submitting
    assert [job["status"]["stage"] for job in hub.jobs()] == ["CANCELED"]


async def test_no_job_is_submitted_without_resources(hub, tmp_path):
    with pytest.raises(JobError, match="Run the same command again"):
        await block(hub).trigger(job_spec(), None, SCRIPT, tmp_path / "place")
    assert not hub.jobs()


@pytest.mark.slow
async def test_duplicates_are_cancelled_and_the_oldest_is_kept(hub, tmp_path):
    first = await block(hub).trigger(job_spec(seconds=1.5), job_resources(), SCRIPT, tmp_path / "place")
    api = HfApi(endpoint=hub.url, token="hf_write")
    for _ in range(2):
        api.run_job(image="uv", command=["sleep", "60"], labels={KEY_LABEL: "train-abc"}, flavor="cpu-basic", namespace="me")
    second = await block(hub).trigger(job_spec(seconds=1.5), job_resources(), SCRIPT, tmp_path / "place")
    assert second.job.id == first.job.id
    assert second.found
    await finish(second)
    assert sorted(job["status"]["stage"] for job in hub.jobs()) == ["CANCELED", "CANCELED", "COMPLETED"]


def test_offered_machines_have_hourly_prices_and_the_memory_of_a_single_gpu(hub):
    offered = block(hub).offered()
    assert offered["a100-large"] == (pytest.approx(2.50, abs=0.01), 80.0)
    assert offered["cpu-xl"] == (pytest.approx(1.00, abs=0.01), None)

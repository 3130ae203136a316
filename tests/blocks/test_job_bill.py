"""The budget of a run's jobs holds across its processes and includes what running jobs may still cost."""

import os
import signal
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from blocks.job_bill import known_price
from core.errors import BudgetError
from core.llm.run import Run
from core.packs.pack import load_pack
from core.records import ModelRef
from core.settings.pipeline import load_settings, load_training
from core.storage.store import open_store
from core.training.bill import Submission, greatest_usd, job_labels, spending
from core.training.hardware import load_hardware
from core.training.job_spec import KEY_LABEL, JobStatus
from tasks.job_forecast import check_job_budget
from tests.blocks.job_buyer import FLAVOR, SECONDS
from tests.conftest import CHECKOUT
from tests.hub_stub.client import start_hub
from tests.nursery import Nursery

ONE = greatest_usd(SECONDS, load_hardware().flavors[FLAVOR].usd_per_hour)
NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with start_hub(tmp_path_factory.mktemp("hub")) as hub:
        yield hub


@pytest.fixture(scope="module")
def nursery(tmp_path_factory):
    with closing(Nursery(tmp_path_factory.mktemp("nursery"), ["tests.blocks.job_buyer"], {**os.environ, "PYTHONPATH": str(CHECKOUT)})) as found:
        yield found


@pytest.fixture
def start(server, nursery, tmp_path):
    server.reset()
    server.faults()
    server.clear_log()
    environment = {**os.environ, **server.environment(tmp_path / "home"), "UNDERSTUDY_DATA": str(tmp_path / "data"), "PYTHONWARNINGS": "ignore"}
    started = []

    def begin(name, usd):
        started.append(nursery.start(["-m", "tests.blocks.job_buyer", server.url, name, str(usd)], environment))
        return started[-1]

    yield begin
    for process in started:
        process.send_signal(signal.SIGKILL)


def end(process):
    said, _ = process.communicate(timeout=240)
    assert process.returncode in (0, 3), said
    return process.returncode, said


@pytest.mark.slow
def test_two_processes_of_a_run_share_its_job_budget(server, start):
    both = [start(name, 1.5 * ONE) for name in ("one", "two")]
    ends = sorted(end(process) for process in both)
    assert [code for code, _ in ends] == [0, 3]
    assert f"takes up to {ONE:.2f} USD, and the jobs of this run have spent, or may still spend, {ONE:.2f} of {1.5 * ONE:.2f} USD" in ends[1][1]
    assert len(server.jobs()) == 1
    assert end(start("three", 1.5 * ONE))[0] == 3  # the first one's job is under way still
    assert end(start("three", 2 * ONE))[0] == 0
    assert len(server.jobs()) == 2


@pytest.mark.slow
def test_the_submission_of_a_killed_process_counts_towards_the_budget(server, start, tmp_path):
    server.faults({"method": "POST", "pattern": "/api/jobs/me$", "delay": 4, "times": 1})
    victim = start("one", 1.5 * ONE)
    until = time.monotonic() + 240
    while not any(item["method"] == "POST" and item["path"] == "/api/jobs/me" for item in server.log()):
        assert time.monotonic() < until
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    (path,) = tmp_path.rglob("jobs/submissions/*/*.json")
    sent = Submission.model_validate_json(path.read_text(encoding="utf-8"))
    assert counted(submissions={"a": sent}, now=time.time()).usd == pytest.approx(ONE)


def job(stage="RUNNING", minutes=10, flavor=FLAVOR, **labels):
    ended = NOW if stage != "RUNNING" else None
    return JobStatus("1", stage, "https://jobs/1", flavor, started=NOW - timedelta(minutes=minutes), finished=ended, labels=labels)


def counted(jobs=(), submissions=None, now=0.0, key=""):
    return spending(jobs, submissions or {}, known_price, now, key)


def test_a_running_job_counts_with_its_time_limit_and_an_ended_one_with_its_duration():
    labels = job_labels("a", SECONDS, 2.5)
    assert counted([job(**labels)]).usd == pytest.approx(ONE)
    assert counted([job("ERROR", **labels)]).usd == pytest.approx(2.5 / 6)
    assert counted([job("ERROR", flavor="gone", **labels)]).usd == pytest.approx(2.5 / 6)  # its price is on its label
    assert counted([job(**labels, **{KEY_LABEL: "train-x"})], key="train-x").usd == 0  # this run continues the job itself


def test_a_job_without_a_price_label_has_the_price_of_the_file_or_stops_the_run():
    assert counted([job("ERROR")]).usd == pytest.approx(load_hardware().flavors[FLAVOR].usd_per_hour / 6)
    with pytest.raises(BudgetError, match="is on gone, whose price is not known"):
        counted([job("ERROR", flavor="gone")])
    with pytest.raises(BudgetError, match="its time limit is not known"):
        counted([job()])


def test_a_submission_counts_until_its_outcome_is_known():
    sent = Submission(most=5, until=100)
    assert (counted(submissions={"a": sent}, now=99).usd, counted(submissions={"a": sent}, now=99).unseen) == (5, 5)
    assert counted(submissions={"a": sent}, now=101).usd == 0  # it never arrived
    taken = sent.model_copy(update={"taken": True})
    assert counted(submissions={"a": taken}, now=10**9).usd == 5  # the service forgets a job that it took
    assert counted(submissions={"a": taken.model_copy(update={"usd": 3.0})}, now=10**9).usd == 3
    assert counted([job("ERROR", **job_labels("a", SECONDS, 2.5))], {"a": taken}).usd == pytest.approx(2.5 / 6)  # once


SHAPE = {
    **{"num_hidden_layers": 40, "hidden_size": 5120, "intermediate_size": 17408, "num_attention_heads": 40, "num_key_value_heads": 8},
    **{"head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False},
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("conversations", "usd", "reported"),
    [
        (150, 500, None),
        (150, 1, r"The training on about [\d,]+ tokens a pass .* takes up to .* USD .* and 0.00 of 1.00 USD are spent. Raise jobs.usd"),
        (0, 500, None),
        (0, 0.5, "Any training on a100-large takes up to"),  # not even the least fits
    ],
)
async def test_a_budget_below_the_cost_of_a_pipelines_jobs_is_refused_at_the_start(tmp_path, monkeypatch, conversations, usd, reported):
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path))
    base = ModelRef(path="models/bases/x", name="Qwen3-14B", repo="Qwen/Qwen3-14B", commit="0" * 40)
    open_store().write_json(f"{base.path}/config.json", SHAPE)
    settings = load_settings("config/pipeline.yaml")
    jobs = settings.jobs.model_copy(update={"where": "hf", "usd": usd})
    run = Run("pipeline-1", load_pack("therapeutic-coaching"), settings.model_copy(update={"jobs": jobs}), open_store(), {}, None)  # ty: ignore[invalid-argument-type]
    training = load_training("config/training/qwen3-14b.yaml")
    if reported is None:
        await check_job_budget(run, base, training, conversations)
    else:
        with pytest.raises(BudgetError, match=reported):
            await check_job_budget(run, base, training, conversations)

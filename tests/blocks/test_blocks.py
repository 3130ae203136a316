"""Blocks: Prefect's own requirements and those of each block."""

import asyncio
import json
import re
import shutil
import signal
import sys

import psutil
import pytest
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from blocks.anthropic import Anthropic
from blocks.claude_cli import ClaudeCli
from blocks.google import Google
from blocks.hf_hub import HfHub
from blocks.hf_job import HfJob
from blocks.llama_cpp import LlamaCpp
from blocks.local_hub import LocalHub
from blocks.local_job import LocalJob
from blocks.openai import OpenAI
from blocks.openai_compatible import OpenAICompatible
from blocks.scripted import Scripted
from core.errors import HubError, JobError, SettingsError
from tests.conftest import CHECKOUT


@pytest.mark.parametrize("block", [Scripted, LlamaCpp, LocalHub, HfHub, HfJob, LocalJob, Anthropic, OpenAI, OpenAICompatible, Google, ClaudeCli])
class TestStandards(BlockStandardTestSuite):
    """Prefect's own suite, except the check of a logo on the network: our blocks have none."""

    test_has_a_valid_image = None

    @pytest.fixture
    def block(self, request):
        return request.param


def test_a_file_that_is_not_gguf_is_refused_before_anything_is_loaded(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(SettingsError, match="does not exist"):
        LlamaCpp(model_path=path).get_client()
    path.write_bytes(b"not a model")
    with pytest.raises(SettingsError, match="is not a GGUF file"):
        LlamaCpp(model_path=path).get_client()


FILES = {"train.parquet": b"rows", "README.md": "# Grüße".encode()}


def test_pushing_the_same_files_again_makes_no_new_commit(data_root, tmp_path):
    hub = LocalHub()
    first = hub.push("me/coach", "dataset", FILES, "one", "one", private=True)
    before = {path: path.stat().st_mtime_ns for path in data_root.rglob("commits/*/*")}
    (tmp_path / "rows").write_bytes(b"rows")
    assert hub.push("me/coach", "dataset", FILES | {"train.parquet": tmp_path / "rows"}, "two", "two", private=True) == first
    assert {path: path.stat().st_mtime_ns for path in before} == before
    refs = data_root / "hub/datasets/me/coach/refs"
    assert {path.name: path.read_text(encoding="utf-8").strip() for path in refs.rglob("*") if path.is_file()} == dict.fromkeys(
        ("main", "one", "two"), first.oid
    )
    other = hub.push("me/coach", "dataset", FILES | {"train.parquet": b"others"}, "three", "three", private=True)
    assert other.oid != first.oid
    assert (refs / "tags/one").read_text(encoding="utf-8").strip() == first.oid
    assert {name: (data_root / f"hub/datasets/me/coach/commits/{first.oid}/{name}").read_bytes() for name in FILES} == FILES


def test_a_tag_finds_its_commit_only_while_the_commit_is_complete(data_root, tmp_path):
    hub, place = LocalHub(), data_root / "hub/datasets/me/coach"
    assert hub.find("me/coach", "dataset", FILES, "one") is None
    (tmp_path / "rows").write_bytes(b"rows")
    for spoil in (
        lambda: next(place.rglob("train.parquet")).unlink(),
        lambda: (place / "refs/tags/one").write_text("elsewhere\n", encoding="utf-8"),
        (place / "refs/tags/one").unlink,
        lambda: shutil.rmtree(place),
    ):
        first = hub.push("me/coach", "dataset", FILES, "one", "one", private=True)
        assert hub.find("me/coach", "dataset", FILES | {"train.parquet": tmp_path / "rows"}, "one") == first
        assert hub.find("me/coach", "dataset", FILES | {"train.parquet": b"others"}, "one") is None
        assert LocalHub(folder="another").find("me/coach", "dataset", FILES, "one") is None
        spoil()
        assert hub.find("me/coach", "dataset", FILES, "one") is None


def test_a_damaged_commit_is_reported(data_root):
    commit = LocalHub().push("me/coach", "dataset", FILES, "one", "one", private=True)
    (data_root / f"hub/datasets/me/coach/commits/{commit.oid}/train.parquet").write_bytes(b"spoilt")
    with pytest.raises(HubError, match="reads back differently"):
        LocalHub().push("me/coach", "dataset", FILES, "one", "one", private=True)


SCRIPT = """
import json, os, sys, time
print("starting")
if sys.argv[1:] == ["silent"]:
    os.kill(os.getpid(), 9)
print(json.dumps({"event": "progress", "step": 1, "of": 2}), flush=True)
if sys.argv[1:2] == ["die"]:
    print(json.dumps({"event": "progress", "step": "quantising to q4_k_m"}), flush=True)
    held = bytearray(200_000_000)
    sys.stdout.write("half a li")
    sys.stdout.flush()
    os.kill(os.getpid(), int(sys.argv[2]))
if sys.argv[1:2] == ["shell"]:
    os.execv("/bin/sh", ["/bin/sh", "-c", f"sh -c 'kill -{sys.argv[2]} $$'; exit $?"])
if sys.argv[1:] == ["fail"]:
    sys.exit("The dataset has no rows. Give another one.")
if sys.argv[1:] == ["hang"]:
    open(os.environ["PID_FILE"], "w").write(str(os.getpid()))
    time.sleep(60)
"""


@pytest.fixture
def job(tmp_path):
    script = tmp_path / "job.py"
    script.write_text(SCRIPT, encoding="utf-8")
    return lambda *arguments: LocalJob(
        script=script, arguments=list(arguments), log=tmp_path / "job.log", environment={"PID_FILE": str(tmp_path / "pid"), "MARK": "1"}
    )


async def test_a_job_reports_its_progress_and_keeps_its_log(job, tmp_path):
    events = []
    run = await job().trigger(events.append)
    await run.wait_for_completion()
    assert events == [{"event": "progress", "step": 1, "of": 2}]
    assert (tmp_path / "job.log").read_text(encoding="utf-8").splitlines() == ["starting", json.dumps(events[0])]
    assert await run.fetch_result() == 0


async def test_the_error_of_a_failed_job_quotes_the_scripts_last_line(job, tmp_path):
    run = await job("fail").trigger()
    with pytest.raises(JobError) as failed:
        await run.wait_for_completion()
    assert "exit code 1: The dataset has no rows. Give another one." in str(failed.value)
    assert str(tmp_path / "job.log") in str(failed.value)


async def error_of(job):
    run = await job.trigger()
    with pytest.raises(JobError) as failed:
        await run.wait_for_completion()
    return str(failed.value)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGILL", "SIGABRT", "SIGKILL", "SIGTERM"])
async def test_the_error_of_a_job_ended_by_a_signal_names_the_signal_and_the_step(job, tmp_path, name):
    message = await error_of(job("die", str(int(getattr(signal, name)))))
    assert re.search(rf"^The job job died of {name} \(.*?\) while quantising to q4_k_m\. ", message)
    assert "Its last line was: half a li." in message
    assert message.endswith(f"The full log is {tmp_path / 'job.log'}.")
    assert "printed nothing" not in message


async def test_the_error_of_a_killed_job_states_its_memory_and_the_free_memory(job):
    message = await error_of(job("die", "9"))
    used = re.search(r"It used up to (\d+) MB of memory; ", message)
    assert used
    assert 200 <= int(used[1]) < 300
    assert "are free now" in message or sys.platform != "linux"


async def test_the_error_of_a_job_killed_at_its_start_says_so(job):
    assert " at its start. It used up to " in await error_of(job("silent"))


async def test_a_signal_in_a_shells_exit_code_is_named(job):
    assert "The job job died of SIGSEGV (" in await error_of(job("shell", "SEGV"))


async def test_llama_cpp_is_tested_after_a_crash_and_not_after_a_kill(job, tmp_path):
    probe = [sys.executable, "-c", f"open({str(tmp_path / 'probed')!r}, 'a').write('x'); import os; os.kill(os.getpid(), 4)"]
    crashed = job("die", "11").model_copy(update={"probe": probe})
    assert re.search(r"A test of llama\.cpp with a tiny model died of SIGILL .* too: the installed build does not fit this CPU\.", await error_of(crashed))
    await error_of(job("die", "9").model_copy(update={"probe": probe}))
    assert (tmp_path / "probed").read_text(encoding="utf-8") == "x"


CALLER = """
import asyncio, sys
from pathlib import Path
from blocks.local_job import LocalJob

async def main():
    folder = Path(sys.argv[1])
    job = LocalJob(script=folder / "job.py", arguments=["hang"], log=folder / "job.log", environment={"PID_FILE": str(folder / "pid")})
    await (await job.trigger()).wait_for_completion()

asyncio.run(main())
"""


@pytest.mark.slow
async def test_a_job_whose_caller_is_killed_ends_too(job, tmp_path):
    caller = await asyncio.create_subprocess_exec(sys.executable, "-c", CALLER, str(tmp_path), cwd=CHECKOUT)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text(encoding="utf-8"):
        await asyncio.sleep(0.02)
    running = psutil.Process(int((tmp_path / "pid").read_text(encoding="utf-8")))
    caller.kill()
    await caller.wait()
    assert not psutil.wait_procs([running], timeout=10)[1] or running.status() == psutil.STATUS_ZOMBIE


async def test_a_cancelled_wait_stops_the_process(job, tmp_path):
    run = await job("hang").trigger()
    waiting = asyncio.create_task(run.wait_for_completion())
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await asyncio.wait_for(run.fetch_result(), 10) == -15

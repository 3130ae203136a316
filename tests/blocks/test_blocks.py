"""Blocks: what Prefect asks of every block, and what each one promises."""

import asyncio
import json
import time

import pytest
from prefect.testing.standard_test_suites import BlockStandardTestSuite

from blocks.anthropic import Anthropic
from blocks.claude_cli import ClaudeCli
from blocks.google import Google
from blocks.llama_cpp import LlamaCpp
from blocks.local_hub import LocalHub
from blocks.local_job import LocalJob
from blocks.openai import OpenAI
from blocks.openai_compatible import OpenAICompatible
from blocks.scripted import Scripted
from core.errors import JobError, SettingsError


@pytest.mark.parametrize("block", [Scripted, LlamaCpp, LocalHub, LocalJob, Anthropic, OpenAI, OpenAICompatible, Google, ClaudeCli])
class TestStandards(BlockStandardTestSuite):
    """Prefect's own suite, but for its look at a logo on the network: our blocks have none."""

    test_has_a_valid_image = None

    @pytest.fixture
    def block(self, request):
        return request.param


def test_a_file_that_is_no_gguf_is_refused_before_anything_is_loaded(tmp_path):
    path = tmp_path / "model.gguf"
    with pytest.raises(SettingsError, match="does not exist"):
        LlamaCpp(model_path=path).get_client()
    path.write_bytes(b"not a model")
    with pytest.raises(SettingsError, match="is not a GGUF file"):
        LlamaCpp(model_path=path).get_client()


ROWS = [{"messages": [{"role": "user", "content": f"Grüße {n}"}, {"role": "assistant", "content": "ja"}]} for n in range(3)]


def test_pushing_the_same_rows_again_makes_no_new_commit(data_root):
    hub = LocalHub()
    folder, commit = hub.push_dataset("me/coach", {"train": ROWS, "validation": ROWS[:1]}, "# Card", tag="one")
    before = {path: path.stat().st_mtime_ns for path in data_root.rglob("*.parquet")}
    assert hub.push_dataset("me/coach", {"train": ROWS, "validation": ROWS[:1]}, "# Card", tag="two") == (folder, commit)
    assert {path: path.stat().st_mtime_ns for path in data_root.rglob("*.parquet")} == before
    refs = data_root / "hub/datasets/me/coach/refs"
    assert {path.name: path.read_text(encoding="utf-8").strip() for path in refs.rglob("*") if path.is_file()} == {"main": commit, "one": commit, "two": commit}
    other = hub.push_dataset("me/coach", {"train": ROWS[:2], "validation": ROWS[:1]}, "# Card", tag="three")
    assert other[1] != commit
    assert (refs / "tags/one").read_text(encoding="utf-8").strip() == commit


def test_rows_survive_parquet(data_root):
    hub = LocalHub()
    folder, _ = hub.push_dataset("me/coach", {"train": ROWS}, "# Card", tag="one")
    assert hub.read_split(folder, "train") == ROWS


SCRIPT = """
import json, os, sys, time
print("starting")
print(json.dumps({"event": "progress", "step": 1, "of": 2}), flush=True)
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


async def test_a_job_tells_its_progress_and_keeps_its_log(job, tmp_path):
    events = []
    run = await job().trigger(events.append)
    await run.wait_for_completion()
    assert events == [{"event": "progress", "step": 1, "of": 2}]
    assert (tmp_path / "job.log").read_text(encoding="utf-8").splitlines() == ["starting", json.dumps(events[0])]
    assert await run.fetch_result() == 0


async def test_a_failed_job_says_the_scripts_last_words(job, tmp_path):
    run = await job("fail").trigger()
    with pytest.raises(JobError) as failed:
        await run.wait_for_completion()
    assert "exit code 1: The dataset has no rows. Give another one." in str(failed.value)
    assert str(tmp_path / "job.log") in str(failed.value)


async def test_a_cancelled_wait_stops_the_process(job, tmp_path):
    run = await job("hang").trigger()
    waiting = asyncio.create_task(run.wait_for_completion())
    while not (tmp_path / "pid").exists():
        await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    started = time.monotonic()
    assert await asyncio.wait_for(run.fetch_result(), 10) == -15
    assert time.monotonic() - started < 10

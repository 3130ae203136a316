"""The server is prepared once, with work pool, limits and blocks; the limits apply to all runs together."""

import asyncio
import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from prefect import get_client
from prefect.exceptions import ObjectNotFound

from core.records import TranscriptBatch
from core.storage.store import open_store
from flows.generation import generation
from tests.conftest import CHECKOUT
from tests.flows.test_paid_runs import paid_settings
from tests.stub.client import start_stub

pytestmark = pytest.mark.usefixtures("forked")


def set_up(server, settings):
    env = {**os.environ, "PREFECT_API_URL": server}
    words = [sys.executable, "deployments/setup.py", f"--settings={settings}"]
    return subprocess.run(words, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=180, check=True).stdout


async def test_setup_creates_limits_and_blocks_once_and_runs_share_the_limit(tmp_path, data_root, prefect_server, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    with start_stub(latency_s=0.05) as stub:
        roles = {"user_simulator": "anthropic/claude-sonnet-5-5", "assistant": "anthropic/claude-sonnet-5-5"}
        settings = paid_settings(tmp_path, stub)
        given = yaml.safe_load(Path(settings).read_text(encoding="utf-8"))
        given["roles"] |= roles
        Path(settings).write_text(yaml.safe_dump(given), encoding="utf-8")

        async with get_client() as client:  # another test may have created it on this server
            with contextlib.suppress(ObjectNotFound):
                await client.delete_global_concurrency_limit_by_name("understudy-anthropic-claude-sonnet-5-5")
        first = set_up(prefect_server, settings)
        assert "Made the limit understudy-anthropic-claude-sonnet-5-5: 1 at once." in first
        assert "Registered the block understudy-openai-compatible." in first
        second = set_up(prefect_server, settings)
        assert "The limit understudy-anthropic-claude-sonnet-5-5 exists: 1 at once." in second
        assert "Made" not in second

        # two runs with room for three conversations each: never more than three calls at once
        batches = await asyncio.gather(generation(conversations=3, settings=settings), generation(conversations=3, first_seed=100, settings=settings))
        made = [TranscriptBatch.model_validate_json(open_store().read(batch)).transcripts for batch in batches]
        assert [len(transcripts) for transcripts in made] == [3, 3]
        assert stub.stats()["anthropic"]["max_in_flight"] <= 3


@pytest.mark.parametrize("word", ["deploy", "worker"])
def test_a_command_that_needs_a_server_says_how_to_start_one(word):
    env = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    words = [sys.executable, "-m", "flows.terminal", word]
    done = subprocess.run(words, cwd=CHECKOUT, env=env, capture_output=True, text=True, timeout=240, check=False)
    if done.returncode == 0:
        pytest.skip("this machine's Prefect profile names a server")
    assert done.returncode == 2
    assert done.stderr.startswith("Error: no server. Start one (understudy ui) and set PREFECT_API_URL")

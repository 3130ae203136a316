"""A command whose work is done repeats its answer and starts no server."""

import re

import pytest

from flows.generation import generation
from tests.flows.conftest import write_settings
from tests.flows.test_commands import finish

pytestmark = pytest.mark.usefixtures("forked")


@pytest.fixture
def alone(command, tmp_path):
    """Run a command with a Prefect home of its own; return its result or its last line, and whether it started a server."""

    def run(*words, code=0):
        for log in tmp_path.glob("prefect/temporary-server-*.log"):
            log.unlink()
        ended, output = finish(command(*words, PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"), ANTHROPIC_API_KEY="good"))
        assert ended == code, output
        lines = output.rstrip().splitlines()
        return next((line for line in lines if line.startswith("  made ")), lines[-1]), bool([*tmp_path.glob("prefect/temporary-server-*.log")])

    return run


async def test_a_command_runs_until_its_result_is_complete_and_then_only_repeats_its_answer(alone, provider, tmp_path, data_root):
    judge = {"judges": ["anthropic/claude-haiku-5-5"]}
    models = {"anthropic": {"concurrency": 10, "options": {"base_url": provider.url}}}
    settings = write_settings(tmp_path, roles=judge, models=models, budget={"usd": 5}, calls={"attempts": 1}, generation={"conversations": 2})
    words = ("assess", f"--settings={settings}")
    await generation(settings=settings)

    provider.set(faults=[{"when": {}, "fault": {"kind": "invalid"}}], latency_s=0, send_limit_headers=True)
    alone(*words, code=1)
    provider.set(faults=[])
    # a run that left assessments incomplete has no receipt, so the same command repeats them
    assessed, started = alone(*words)
    assert started
    assert "batches/" in assessed, assessed
    (batch,) = re.findall(r"batches/\S+", assessed)
    assert "incomplete" not in (data_root / batch).read_text(encoding="utf-8")
    calls = sum(stats["calls"] for stats in provider.stats().values())
    assert alone(*words) == (assessed, False)
    assert sum(stats["calls"] for stats in provider.stats().values()) == calls


def test_an_unknown_domain_parameter_or_settings_file_is_reported_before_a_server_starts(alone, tmp_path):
    for words in (["demo", "--domain=moon"], ["demo", "moon=1"], ["config/moon.yaml"]):
        assert alone("run", *words, code=2)[1] is False

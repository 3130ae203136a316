"""Prefect's own UI as a user has it after `make ui`: the demo started from its form, watched to its end, and its report read there."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings

pytest.importorskip("torch", reason="the training group is not installed; run `make setup`")
pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")

PREFECT = Path(sys.executable).with_name("prefect")


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A server with its UI, the deployments and a worker."""
    root = tmp_path_factory.mktemp("ui")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    env = {
        **{name: value for name, value in os.environ.items() if name != "PREFECT_LOGGING_LEVEL"},
        "PREFECT_HOME": str(root / "prefect"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"{url}/api",
        "UNDERSTUDY_DATA": str(root / "data"),
    }
    started = []

    def start(*words):
        log = (root / f"{words[1]}.log").open("w", encoding="utf-8")
        started.append(subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=log, stderr=subprocess.STDOUT, start_new_session=True))

    start(PREFECT, "server", "start")
    try:
        until = time.monotonic() + 180
        while not answers(f"{url}/api/health"):
            assert time.monotonic() < until, "the server did not start"
            time.sleep(0.5)
        subprocess.run([sys.executable, "deployments/setup.py", "deploy"], cwd=CHECKOUT, env=env, check=True, capture_output=True, timeout=300)
        start(PREFECT, "worker", "start", "--pool", "understudy")
        yield url
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def started(address):
    """The id of the run that the form made; the message with its link is gone after some seconds."""
    wanted = {"flow_runs": {"parent_task_run_id": {"is_null_": True}}, "limit": 1, "sort": "EXPECTED_START_TIME_DESC"}
    request = urllib.request.Request(f"{address}/api/flow_runs/filter", json.dumps(wanted).encode(), {"content-type": "application/json"})
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with urllib.request.urlopen(request, timeout=10) as answer:
            found = [run["id"] for run in json.load(answer)]
        if found:
            return found[0]
        time.sleep(0.5)
    raise AssertionError("the form made no run")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=2):
            return True
    except OSError:
        return False


def test_the_demo_is_started_from_its_form_and_its_report_is_read_in_the_ui(address, browser, tmp_path):
    page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
    page.set_default_timeout(30_000)
    page.goto(f"{address}/v2/deployments")
    page.get_by_role("link", name="demo").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("path of the settings file.").wait_for()
    page.get_by_text("a folder of existing transcripts to train from").wait_for()
    (field,) = [box for box in page.locator("textarea").all() if box.input_value() == "config/demo.yaml"]
    field.fill(write_settings(tmp_path))
    page.get_by_role("button", name="Submit").click()
    page.goto(f"{address}/v2/runs/flow-run/{started(address)}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=300_000)
    assert page.get_by_text("pipeline-therapeutic-coaching").first.is_visible()
    page.get_by_role("tab", name="Subflow Runs").click()
    for stage in ("generation", "assessment", "dataset", "training", "export", "evaluation"):
        page.get_by_text(f"{stage}-therapeutic-coaching").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("run-therapeutic-coaching").first.click()
    page.get_by_text("no measure of real quality").first.wait_for()
    page.get_by_role("heading", name="How it was made").first.wait_for()
    page.context.close()

"""Prefect's own UI as a user has it after `make ui`: the demo started from its form, watched to its end, and its report read there."""

import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.secured import secured_server, until

pytest.importorskip("torch", reason="the training group is not installed; run `make setup`")
pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with its UI, the deployments and a worker."""
    with secured_server(tmp_path_factory.mktemp("ui")) as running:
        words = [sys.executable, "deployments/setup.py", "deploy"]
        subprocess.run(words, cwd=CHECKOUT, env=running.env, check=True, capture_output=True, timeout=300)
        running.start("worker", "deployments/worker.py")
        yield running


def started(server):
    """The id of the run that the form made; the message with its link is gone after some seconds."""
    wanted = {"flow_runs": {"parent_task_run_id": {"is_null_": True}}, "limit": 1, "sort": "EXPECTED_START_TIME_DESC"}
    with server.client() as client:
        return until(lambda: [run["id"] for run in client.post("/flow_runs/filter", json=wanted).json()], 30)[0]


def test_the_demo_is_started_from_its_form_and_its_report_is_read_in_the_ui(server, browser, tmp_path):
    address, asked = server.url, []
    page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
    page.on("response", lambda response: asked.append(response.url))
    page.set_default_timeout(30_000)
    page.goto(f"{address}/v2/deployments")
    password = page.locator("input[type=password]")
    password.fill("understudy:wrong")
    page.get_by_role("button", name="Login").click()
    page.get_by_text("Invalid").first.wait_for()
    password.fill(server.password)
    page.get_by_role("button", name="Login").click()
    page.get_by_role("link", name="demo").first.click()
    page.get_by_role("button", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Custom run").click()
    page.get_by_text("path of the settings file.").wait_for()
    page.get_by_text("a folder of existing transcripts to train on").wait_for()
    (field,) = [box for box in page.locator("textarea").all() if box.input_value() == "config/demo.yaml"]
    field.fill(write_settings(tmp_path))
    page.get_by_role("button", name="Submit").click()
    page.goto(f"{address}/v2/runs/flow-run/{started(server)}")
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=900_000)
    assert page.get_by_text("pipeline-therapeutic-coaching").first.is_visible()
    page.get_by_role("tab", name="Subflow Runs").click()
    for stage in ("generation", "assessment", "dataset", "training", "export", "evaluation"):
        page.get_by_text(f"{stage}-therapeutic-coaching").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("run-therapeutic-coaching").first.click()
    page.get_by_text("no measure of real quality").first.wait_for()
    page.get_by_role("heading", name="How it was made").first.wait_for()
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(address).netloc}  # nothing was answered from elsewhere
    page.context.close()

"""The whole pipeline, run once with a model of a few hundred thousand parameters; each test checks a part of the result."""

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow.parquet
import pytest

from blocks.llama_server import LlamaServer
from core.llm.chat import ChatRequest, Message
from core.records import Transcript
from core.reports.receipts import receipt_name, write_receipt
from core.reports.render import summary_table
from core.settings.pipeline import load_settings
from core.storage.store import open_store
from core.storage.traces import begin_trace, end_trace
from flows.pipeline import pipeline
from tasks.run_report import ReportRef
from tests.browser.conftest import browser  # noqa: F401  # a fixture
from tests.conftest import CHECKOUT, needs
from tests.flows.conftest import write_settings
from tests.flows.secured import secured_server, until

needs("torch", "xllamacpp")

pytestmark = pytest.mark.usefixtures("forked", "trainers")


@dataclass
class Ran:
    root: Path
    settings: str
    report: ReportRef

    def files(self, pattern):
        return sorted(self.root.glob(pattern))


@pytest.fixture(scope="module")
def ran(tmp_path_factory, prefect_server):
    folder = tmp_path_factory.mktemp("pipeline")
    settings = write_settings(folder, evaluation={"personas": 2, "exchanges": 2, "suite_items": 1})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        seen = begin_trace(folder / "data")
        report = asyncio.run(pipeline(settings=settings))
        end_trace()
        name = receipt_name("pipeline", {"domain": "therapeutic-coaching", "settings": settings}, load_settings(settings), open_store())
        assert name  # the base is a folder
        receipt = {"at": "just now", "warnings": [], "table": "Made before.", "summary": report.summary}
        write_receipt(open_store(), name, seen, receipt)
        yield Ran(folder / "data", settings, report)


def test_the_summary_and_the_report_say_that_the_judge_is_scripted(ran):
    wanted = {"made", "passed", "examples", "size", "training loss", "validation loss", "held-out loss", "base score", "understudy score", "decision"}
    assert wanted <= set(ran.report.summary)
    for name in ("report.md", "report.html"):
        text = (ran.root / ran.report.path / name).read_text(encoding="utf-8")
        assert "no measure of real quality" in text
        assert ran.report.summary["decision"].split(":")[0] in text
    for name in ("report", "dataset", "model"):
        assert Path(ran.report.summary[name]).exists()
    assert "no measure of real quality" in ran.files("hub/datasets/*/*/commits/*/README.md")[0].read_text(encoding="utf-8")


def test_the_same_command_prints_the_old_summary_without_a_server_while_all_files_exist(ran, command, tmp_path):
    again = command("run", ran.settings, UNDERSTUDY_DATA=str(ran.root), PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"))
    assert "Made before." in again.communicate(timeout=60)[0]
    assert again.returncode == 0
    assert not list(tmp_path.glob("prefect/temporary-server-*.log"))
    (receipt,) = ran.files("receipts/*.json")
    files = json.loads(receipt.read_text(encoding="utf-8"))["files"]
    made = ("transcripts/*/*.json", "assessments/*/*/*.json", "datasets/*/*.parquet", "hub/**/*.parquet", "models/adapters/*/adapter_model.safetensors")
    for pattern in (*made, "models/gguf/*/*.gguf", "hub/models/**/*.gguf", "evaluations/*/comparison.json", "runs/*/report.html"):
        assert ran.files(pattern)
        assert {str(path.relative_to(ran.root)) for path in ran.files(pattern)} <= files.keys(), pattern


def test_the_summary_ends_with_replies_of_both_models_to_held_out_messages(ran):
    lines = summary_table(ran.report.summary).splitlines()
    asked = [line.removeprefix("a user").strip() for line in lines if line.startswith("a user")]
    held_out = pyarrow.parquet.read_table(ran.files("hub/datasets/*/*/commits/*/validation.parquet")[0]).to_pylist()
    seen = [" ".join(next(m["content"] for m in row["messages"] if m["role"] == "user").split()) for row in held_out]
    assert asked
    assert all(any(text.startswith(message.removesuffix(" …")) for text in seen) for message in asked)
    for arm in ("base", "understudy"):
        assert sum(line.startswith(f"{arm} ") for line in lines) == len(asked)
    assert "understudy chat" in lines[-3]


def test_the_report_page_loads_nothing_from_elsewhere(ran):
    page = (ran.root / ran.report.path / "report.html").read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href|action|data)\s*=\s*["']?(?:https?:)?//""", page) == []
    assert "url(" not in re.sub(r"url\(#[\w-]+\)", "", page)  # a picture's own parts
    assert "default-src 'none'" in page


def test_only_conversations_that_passed_are_trained_on_and_none_is_in_both_splits(ran):
    manifest = json.loads(ran.files("datasets/*/manifest.json")[0].read_text(encoding="utf-8"))
    outcomes = {a["transcript_id"]: a["score"]["outcome"] for a in (json.loads(p.read_text(encoding="utf-8")) for p in ran.files("assessments/*/*/*.json"))}
    assert {outcomes[entry["id"]] for entry in manifest["transcripts"]} == {"pass"}
    origins = [json.loads(line) for line in ran.files("datasets/*/rows.jsonl")[0].read_text(encoding="utf-8").splitlines()]
    by_split = {split: {row["transcript_id"] for row in origins if row["split"] == split} for split in ("train", "validation")}
    assert by_split["train"]
    assert by_split["validation"]
    assert not by_split["train"] & by_split["validation"]
    rows = pyarrow.parquet.read_table(ran.files("hub/datasets/*/*/commits/*/train.parquet")[0]).to_pylist()
    assert len(rows) == sum(row["split"] == "train" for row in origins)
    files = {entry["id"]: entry["source_file"] for entry in manifest["transcripts"]}
    first = next(row["transcript_id"] for row in origins if row["split"] == "train")
    exchanges = Transcript.model_validate_json((ran.root / files[first]).read_text(encoding="utf-8")).exchanges
    assert rows[0]["messages"][1]["content"] in [exchange.user for exchange in exchanges]  # a long conversation loses its beginning


def test_the_loss_on_held_out_conversations_falls(ran):
    facts = json.loads(ran.files("models/adapters/*/metrics.json")[0].read_text(encoding="utf-8"))
    assert facts["validation_loss_last"] < facts["validation_loss_first"]
    assert facts["train_loss_last"] <= facts["train_loss_first"]  # of a handful of examples there is one step, which is first and last


async def test_the_quantised_understudy_answers(ran):
    model = LlamaServer(model_path=Path(ran.report.summary["model"]), context=1024, slots=1, temperature=0, threads=1).get_client()
    try:
        reply, again = [
            await model.complete(ChatRequest("assistant", "Be kind.", (Message("user", "I slept badly."),), max_tokens=20, seed=0)) for _ in range(2)
        ]
    finally:
        await model.aclose()
    assert 0 < reply.usage.output_tokens <= 20
    assert again.text == reply.text


def test_the_evaluation_warns_that_its_judge_also_chose_the_training_data(ran):
    (record,) = (json.loads(path.read_text(encoding="utf-8")) for path in ran.files("evaluations/*/comparison.json"))
    assert any(caveat.startswith("The judge scripted/judge also chose the training conversations") for caveat in record["caveats"])


def test_both_arms_are_evaluated_with_the_same_users(ran):
    found = [Transcript.model_validate_json(path.read_text(encoding="utf-8")) for path in ran.files("evaluations/transcripts/*/*.json")]
    arms = {item.provenance["assistant"]: {} for item in found}
    assert len(arms) == 2
    for item in found:
        arms[item.provenance["assistant"]][item.provenance["seed"]] = item.exchanges[0].user
    base, understudy = arms.values()
    assert base == understudy
    assert min(base) >= 9000


async def test_the_same_run_makes_a_conversation_that_was_lost_again_and_nothing_else(ran):
    lost = ran.files("transcripts/*/*.json")[0]
    exchanges = Transcript.model_validate_json(lost.read_text(encoding="utf-8")).exchanges
    lost.unlink()
    before = {
        path: path.stat().st_mtime_ns
        for folder in ("transcripts", "assessments", "models", "hub/datasets/understudy/therapeutic-coaching/commits", "evaluations/transcripts")
        for path in (ran.root / folder).rglob("*")
        if path.is_file() and not path.name.startswith("latest-")  # names the newest artefact, and is overwritten
    }
    again = await pipeline(settings=ran.settings)
    assert again.summary["model"] == ran.report.summary["model"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert Transcript.model_validate_json(lost.read_text(encoding="utf-8")).exchanges == exchanges


# last, because no asyncio test can run while Playwright does


@pytest.fixture(scope="module")
def server(tmp_path_factory, ran):
    """A server with its UI, the deployments and a worker, on the data root of the pipeline that ran."""
    with secured_server(tmp_path_factory.mktemp("ui"), UNDERSTUDY_DATA=str(ran.root)) as running:
        words = [sys.executable, "deployments/setup.py", "deploy"]
        subprocess.run(words, cwd=CHECKOUT, env=running.env, check=True, capture_output=True, timeout=300)
        running.start("worker", "deployments/worker.py")
        yield running


def completed_run(server):
    """Return the id of the run that the form started, once it has completed; the message with its link disappears after some seconds."""
    wanted = {"flow_runs": {"parent_task_run_id": {"is_null_": True}}, "limit": 1, "sort": "EXPECTED_START_TIME_DESC"}

    def ended(client):
        runs = [run for run in client.post("/flow_runs/filter", json=wanted).json() if run["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")]
        assert all(run["state"]["type"] == "COMPLETED" for run in runs), runs[0]["state"]
        return [run["id"] for run in runs]

    with server.client() as client:
        try:
            return until(lambda: ended(client), 300)[0]
        except AssertionError as error:
            error.add_note(f"{client.post('/flow_runs/filter', json=wanted).text}\n{(server.root / 'worker.log').read_text(encoding='utf-8')[-5000:]}")
            raise


def test_the_pipeline_is_started_from_its_form_in_the_ui_and_its_report_is_shown_there(server, browser, ran):  # noqa: F811
    address, asked, reports = server.url, [], ran.files("runs/*/report.html")
    page = browser.new_context(viewport={"width": 1400, "height": 1100}).new_page()
    page.on("response", lambda response: asked.append(response.url))
    page.set_default_timeout(240_000)
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
    page.get_by_role("tab", name="Type a path").click()
    field = page.locator("textarea")
    field.fill(ran.settings)
    field.blur()  # a click while the form takes in what was typed is lost
    with page.expect_response(lambda response: response.url.endswith("/create_flow_run")):
        page.get_by_role("button", name="Submit").click()
    page.goto("about:blank")  # the page of a run that runs is drawn all the time
    page.goto(f"{address}/v2/runs/flow-run/{completed_run(server)}")
    page.get_by_text("Completed", exact=True).first.wait_for()
    assert page.get_by_text("pipeline-therapeutic-coaching").first.is_visible()
    page.get_by_role("tab", name="Subflow Runs").click()
    for stage in ("generation", "assessment", "dataset", "training", "export", "evaluation"):
        page.get_by_text(f"{stage}-therapeutic-coaching").first.wait_for()
    page.get_by_role("tab", name="Artifacts").click()
    page.get_by_text("run-therapeutic-coaching").first.click()
    page.get_by_text("no measure of real quality").first.wait_for()
    page.get_by_role("heading", name="How it was made").first.wait_for()
    assert ran.files("runs/*/report.html") == reports  # nothing was missing, so nothing was made, and the report is the same
    assert {urlsplit(url).netloc for url in asked if url.startswith("http")} == {urlsplit(address).netloc}  # nothing was answered from elsewhere
    page.context.close()

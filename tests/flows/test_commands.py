"""What a user sees after giving a command bad input, or after stopping it in the middle."""

import json
import re
import signal
from pathlib import Path

import pytest
import yaml

from core.errors import UnderstudyError
from flows.generation import generation
from flows.pipeline import pipeline
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings

FLOW = re.compile(r"^@flow\(.*\)\nasync def (\w+)\(", re.MULTILINE)
PAIRS = [{"user": "The deadline at work keeps me awake at night.", "assistant": "That sounds heavy. Perhaps the deadline is not all of it."}] * 3


def finish(process, timeout=120):
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def assert_refused(code, output, *texts):
    assert code not in (0, None)
    assert "Traceback" not in output, output
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    assert len(errors) == 1, output
    for text in texts:
        assert text in errors[0], output


def test_an_unknown_domain_is_refused_before_anything_starts(command, data_root):
    assert_refused(*finish(command("run", "demo", "--domain=moon")), "Unknown domain 'moon'", "therapeutic-coaching")
    assert not list(data_root.rglob("*.json"))


async def test_unknown_settings_and_models_are_refused_before_anything_starts(data_root, tmp_path):
    with pytest.raises(UnderstudyError, match=r"config/moon\.yaml does not exist.*pipeline\.yaml"):
        await pipeline(settings="config/moon.yaml")
    for reference, sentence in (
        ("moon/model", "Unknown model reference"),
        ("scripted/moon", "Unknown model 'scripted/moon'"),
        ("llama-cpp/none.gguf", "does not exist"),
    ):
        with pytest.raises(UnderstudyError, match=sentence):
            await pipeline(settings=write_settings(tmp_path, roles={"assistant": reference}))
    assert not list(data_root.rglob("*.json"))


def test_an_unwritable_data_root_is_reported(command, tmp_path):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert_refused(*finish(command("generate", "--settings=config/demo.yaml", UNDERSTUDY_DATA=str(tmp_path / "file"))), "Cannot write", "Set UNDERSTUDY_DATA")


async def test_more_conversations_than_there_are_seeds_for_are_refused(data_root, settings):
    with pytest.raises(UnderstudyError, match=r"Asked for 9001 conversations.*kept for the evaluation"):
        await generation(conversations=9001, settings=settings)


def test_unreadable_and_duplicate_transcripts_are_reported_and_left_out(command, settings, tmp_path, data_root):
    folder = tmp_path / "transcripts"
    folder.mkdir()
    for number in range(4):
        (folder / f"good{number}.json").write_text(json.dumps({"id": f"t{number}", "exchanges": PAIRS}), encoding="utf-8")
    (folder / "cut.json").write_text('{"exchanges": [', encoding="utf-8")
    (folder / "twice.json").write_text(json.dumps({"id": "t0", "exchanges": PAIRS}), encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    code, output = finish(command("assess", f"--transcripts={folder}", f"--settings={settings}"))
    assert code == 0, output
    for name in ("cut.json", "twice.json"):
        assert re.search(rf"Left out: .*{name}", output), output
    (made,) = re.findall(r"^  made +(\S+)$", output, re.MULTILINE)
    batch = json.loads(Path(made).read_text(encoding="utf-8"))
    assert sorted(item["transcript"]["id"] for item in batch["assessments"]) == ["t0", "t1", "t2", "t3"]
    assert sorted(item["name"] for item in batch["left_out"]) == ["cut.json", "twice.json"]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_in_which_no_conversation_passes_says_so_and_keeps_the_assessments(command, tmp_path, data_root):
    path = write_settings(tmp_path, roles={"assistant": "scripted/0"})
    code, output = finish(command("run", f"--settings={path}"))
    assert_refused(code, output, "None of the 10 judged conversations passes")
    assert len(list((data_root / "assessments").rglob("*.json"))) == 10


def stop_at(process, pattern):
    """Wait for a line of output, then press Ctrl-C; return the rest."""
    for line in process.stdout:
        if re.search(pattern, line):
            process.send_signal(signal.SIGINT)
            break
    else:
        pytest.fail(f"{pattern} was never printed")
    return finish(process)


def test_ctrl_c_during_generation_keeps_the_finished_conversations(command, tmp_path, data_root):
    path = write_settings(tmp_path, generation={"conversations": 1500, "concurrency": 2, "exchanges": [6, 6], "progress_seconds": 0.2})
    code, output = stop_at(command("generate", f"--settings={path}"), r"So far: [1-9]\d* of 1,500 conversations, [\d,]+ of 9,000 exchanges")
    assert code == 130, output
    assert "Traceback" not in output, output
    assert "Stopped. Everything made so far is kept; the same command resumes from there." in output
    finished = {path: path.stat().st_mtime_ns for path in data_root.rglob("transcripts/**/*.json")}
    assert 0 < len(finished) < 1500
    for path in finished:
        json.loads(path.read_text(encoding="utf-8"))
    code, output = finish(command("generate", f"--settings={write_settings(tmp_path, generation={'conversations': 12, 'exchanges': [6, 6]})}"))
    assert code == 0, output
    assert {path: path.stat().st_mtime_ns for path in finished} == finished


def test_every_flow_has_a_deployment_and_every_deployment_a_flow():
    deployments = yaml.safe_load((CHECKOUT / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    flows = {f"flows.{path.stem}:{name}" for path in (CHECKOUT / "flows").glob("*.py") for name in FLOW.findall(path.read_text(encoding="utf-8"))}
    assert {entry["entrypoint"] for entry in deployments} == flows

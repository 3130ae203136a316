"""The base of a run: it must exist before anything is paid for, it is unpacked once, and changed files are another base."""

import json
from pathlib import Path

import pytest
import yaml
from prefect import flow

from core.records import ModelRef
from core.settings.pipeline import load_training
from tasks.run import begin_run
from tasks.training import base_model
from tests.conftest import needs
from tests.flows.conftest import write_settings
from tests.tiny import tiny_base, tiny_settings

pytestmark = pytest.mark.usefixtures("forked", "trainers")


@flow
async def find(settings: str) -> ModelRef:
    run = await begin_run("training", "therapeutic-coaching", settings)
    return await base_model(run, load_training(run.settings.training))


def settings_with(folder: Path, **base: str) -> str:
    """Return small settings with another base; a path in it begins at their folder."""
    path = write_settings(folder)
    training = {**tiny_settings(), "base": {"license": "mit", "origin": "Made by the tests.", **base}}
    (folder / "tiny.yaml").write_text(yaml.safe_dump(training), encoding="utf-8")
    return path


def test_a_missing_base_ends_the_pipeline_before_the_first_call(command, tmp_path, data_root):
    process = command("run", f"--settings={settings_with(tmp_path, model='./gone.gguf')}")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    assert f"Error: base.model names {tmp_path}/gone.gguf, and there is no such file." in output
    assert "Traceback" not in output
    assert not list(data_root.glob("transcripts/*/*"))


async def test_a_base_folder_is_not_copied_and_a_changed_folder_is_another_base(tmp_path, data_root):
    settings, folder = settings_with(tmp_path, model="./mine"), tmp_path / "mine"
    folder.mkdir()
    for file in tiny_base().iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    first = await find(settings)
    assert (first.folder, first.name, first.on_hub) == (str(folder), "mine", False)
    assert await find(settings) == first
    (folder / "more.txt").write_text("something", encoding="utf-8")
    assert (await find(settings)).path != first.path


async def test_the_gguf_file_of_a_base_is_unpacked_once(tmp_path, data_root):
    needs("trl")
    gguf_file = pytest.importorskip("tests.tiny.gguf_file")
    gguf_file.write_gguf(tmp_path / "small.gguf")
    settings = settings_with(tmp_path, model="./small.gguf")
    first = await find(settings)
    facts = json.loads((data_root / first.path / "unpacked.json").read_text(encoding="utf-8"))
    assert (first.name, facts["file"]) == ("small", "small.gguf")
    before = {path: path.stat().st_mtime_ns for path in (data_root / first.path).iterdir()}
    assert await find(settings) == first
    assert {path: path.stat().st_mtime_ns for path in (data_root / first.path).iterdir()} == before

"""`understudy init` creates a complete project folder or nothing."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from core.authoring import new_project
from core.authoring.new_project import make_project
from core.errors import PackError, SettingsError
from core.packs.pack import load_pack
from core.paths import project_folder
from core.settings.pipeline import load_settings, load_training


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def entries(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("domain", ["therapeutic-coaching", "coding-mentor"])
def test_a_project_has_settings_a_domain_deployments_and_a_workflow(tmp_path, monkeypatch, domain):
    from deployments.worker import own_entrypoints

    folder = make_project("a/proj", domain)
    assert folder == tmp_path / "a/proj"
    assert entries(folder.parent) == ["proj"]
    monkeypatch.chdir(folder)
    assert project_folder() == folder
    assert load_training(load_settings("config/demo.yaml").training).base
    pack = load_pack(domain)
    assert pack.prompts["system"].path.is_relative_to(folder)
    assert [entry.name for entry in (folder / "config/domains").iterdir()] == [domain]
    deployments = {one["name"]: one for one in yaml.safe_load((folder / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]}
    assert {one["parameters"]["domain"] for name, one in deployments.items() if name != "design"} == {domain}
    assert own_entrypoints() == {one["entrypoint"] for one in deployments.values()}
    assert all(find_spec(one["entrypoint"].partition(":")[0]) for one in deployments.values())
    workflow = yaml.safe_load((folder / ".github/workflows/try-the-prompts.yaml").read_text(encoding="utf-8"))
    script = folder / workflow["jobs"]["try"]["steps"][2]["run"].split()[0]
    assert os.access(script, os.X_OK)
    assert domain in (folder / "README.md").read_text(encoding="utf-8")
    assert {"data/", ".prefect/", ".env"} <= set((folder / ".gitignore").read_text(encoding="utf-8").splitlines())
    assert "UNDERSTUDY_DATA=" in (variables := (folder / ".env.example").read_text(encoding="utf-8"))
    assert "CMAKE_ARGS" not in variables


def test_a_new_project_fills_an_empty_folder_and_refuses_to_overwrite_files(tmp_path, monkeypatch):
    (tmp_path / "empty").mkdir()
    make_project("empty")
    assert files(tmp_path / "empty") == files(make_project("new"))
    (tmp_path / "full/config").mkdir(parents=True)
    (tmp_path / "full/notes.txt").touch()
    with pytest.raises(SettingsError, match=r"full is not empty; would be overwritten: config\."):
        make_project("full")
    assert files(tmp_path / "full") == ["notes.txt"]
    monkeypatch.chdir(tmp_path / "full/config")
    make_project(".")
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").touch()
    with pytest.raises(SettingsError, match=r"other is not empty; it holds notes\.txt\."):
        make_project("../../other")


def test_a_project_name_that_cannot_be_a_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for name in ("file", "file/below", "a\0b", "x" * 5000):
        with pytest.raises(SettingsError, match="Give "):
            make_project(name)
    assert entries(tmp_path) == ["file"]


def test_an_unknown_domain_is_refused_with_a_suggestion_before_anything_is_written(tmp_path):
    with pytest.raises(PackError, match="Did you mean 'coding-mentor'"):
        make_project("proj", "coding-mentr")
    assert entries(tmp_path) == []


@pytest.mark.parametrize("there", [True, False])
@pytest.mark.parametrize("fails", ["copyfile", "rename"])
def test_a_project_whose_creation_fails_leaves_no_files(tmp_path, monkeypatch, there, fails):
    if there:
        (tmp_path / "proj").mkdir()
    before, left = entries(tmp_path), [3]

    def full(real):
        def fill(*given):
            left[0] -= 1
            if not left[0] or (fails == "rename" and not there):
                raise OSError(28, "No space left on device")
            return real(*given)

        return fill

    if fails == "copyfile":
        monkeypatch.setattr(shutil, "copyfile", full(shutil.copyfile))
    else:
        monkeypatch.setattr(new_project.Path, "rename", full(Path.rename))
    with pytest.raises(SettingsError, match="No space left"):
        make_project("proj")
    assert entries(tmp_path) == before
    assert files(tmp_path) == []

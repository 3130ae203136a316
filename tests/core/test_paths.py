"""Where files are searched: shipped files beside the code, own files in the project, typed paths in the working directory."""

import os
import shutil

import pytest

from core import paths
from core.errors import SettingsError
from core.llm.families import family
from core.packs.pack import load_pack
from core.packs.places import domains
from core.packs.prompts import load_shared
from core.paths import find_data, project_folder, user_path
from core.settings.pipeline import load_settings, load_training
from core.settings.trust import TRUST_VARIABLE
from core.storage.store import open_store
from tests.conftest import CHECKOUT


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project folder with only its settings; it is the working directory."""
    monkeypatch.delenv(TRUST_VARIABLE)
    folder = tmp_path / "project"
    (folder / "config/training").mkdir(parents=True)
    (folder / "prefect.yaml").touch()
    for name in ("pipeline.yaml", "demo.yaml"):
        shutil.copy(CHECKOUT / "config" / name, folder / "config" / name)
    monkeypatch.chdir(folder)
    return folder


def test_the_nearest_parent_folder_with_both_marks_is_the_project(project, monkeypatch):
    below = project / "a/b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert project_folder() == project
    (project / "a/config").mkdir()
    assert project_folder() == project, "config/ alone is no mark"
    (project / "a/prefect.yaml").touch()
    assert project_folder() == project / "a"


def test_the_checkout_is_the_project_if_there_is_no_other(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert project_folder() == CHECKOUT
    monkeypatch.chdir(CHECKOUT / "docs")
    assert project_folder() == CHECKOUT


def test_the_error_outside_a_project_says_how_to_create_one(tmp_path, monkeypatch):
    monkeypatch.setattr(paths, "SHIPPED", CHECKOUT / "elsewhere")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("UNDERSTUDY_DATA", raising=False)
    for asked in (project_folder, load_settings, open_store):
        with pytest.raises(SettingsError, match="understudy init"):
            asked()


def test_a_removed_working_directory_is_reported(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(SettingsError, match="no longer exists"):
        project_folder()


@pytest.mark.parametrize("theirs", [".", "prefect.yaml", "config", "link"])
def test_a_project_owned_by_another_user_is_refused(project, monkeypatch, theirs):
    (project / "deep").mkdir()
    monkeypatch.chdir(project / "deep")
    if theirs == "link":  # to a folder of ours
        (project / "config").rename(project / "ours")
        (project / "config").symlink_to("ours")
        theirs = "config"
    if os.geteuid():
        monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    else:
        os.chown(project / theirs, 12345, -1, follow_symlinks=False)
    with pytest.raises(SettingsError, match="another user"):
        load_settings()
    monkeypatch.setenv(TRUST_VARIABLE, str(project))
    assert project_folder() == project


def test_a_file_of_the_project_replaces_the_shipped_one(project):
    assert find_data("config/guards.yaml") == CHECKOUT / "config/guards.yaml"
    assert load_shared("check").path == CHECKOUT / "prompts/shared/check.md"
    assert load_training("qwen3-14b").base
    (project / "prompts/shared").mkdir(parents=True)
    (project / "prompts/shared/check.md").write_text("---\ninputs: []\n---\nOurs.", encoding="utf-8")
    assert load_shared("check").text == "Ours."
    (project / "config/model-families.yaml").write_text("providers: {openai: ours}\nnames: {}\n", encoding="utf-8")
    assert family("openai/gpt") == "ours"
    (project / "config/training/qwen3-14b.yaml").write_text("nothing: 1", encoding="utf-8")
    with pytest.raises(SettingsError, match=str(project / "config/training/qwen3-14b.yaml")):
        load_training("qwen3-14b")


def test_packs_of_the_project_and_shipped_packs_are_available(project):
    shipped = load_pack("coding-mentor")
    assert set(domains()) == {"coding-mentor", "therapeutic-coaching"}
    for part in ("config/domains", "prompts"):
        shutil.copytree(CHECKOUT / part / "coding-mentor", project / part / "coding-mentor")
        shutil.copytree(CHECKOUT / part / "coding-mentor", project / part / "tutor")
    system = project / "prompts/coding-mentor/system.md"
    system.write_text(system.read_text(encoding="utf-8") + "\nBe brief.\n", encoding="utf-8")
    assert set(domains()) == {"coding-mentor", "therapeutic-coaching", "tutor"}
    assert load_pack("coding-mentor").prompts["system"].text.endswith("Be brief.")
    assert load_pack("tutor").hash == shipped.hash != load_pack("coding-mentor").hash


def test_settings_are_searched_in_the_working_directory_then_in_the_project_only(project, monkeypatch):
    below = project / "below"
    below.mkdir()
    (below / "mine.yaml").write_text("extends: ../config/demo.yaml\nbudget: {usd: 3}\n", encoding="utf-8")
    monkeypatch.chdir(below)
    assert load_settings("mine.yaml").budget.usd == 3
    assert load_settings().roles.assistant != load_settings("config/demo.yaml").roles.assistant
    (project / "config/demo.yaml").unlink()
    with pytest.raises(SettingsError, match="does not exist"):  # nobody should pay for a run with settings they did not name
        load_settings("config/demo.yaml")


def test_the_data_folder_is_in_the_project_from_every_working_directory(project, monkeypatch):
    (project / "below").mkdir()
    monkeypatch.chdir(project / "below")
    monkeypatch.delenv("UNDERSTUDY_DATA", raising=False)
    assert open_store().root == str(project / "data")
    monkeypatch.setenv("UNDERSTUDY_DATA", "other")
    assert open_store().root == str(project / "other")
    monkeypatch.setenv("UNDERSTUDY_DATA", "memory://elsewhere")
    assert open_store().root == "memory://elsewhere"
    assert user_path("chats") == project / "below/chats"

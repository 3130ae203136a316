"""A settings file from outside the project is read only if the user trusts it."""

import io
import os
import shutil
import sys

import pytest
import yaml

from core.errors import PackError, SettingsError
from core.packs.pack import load_pack
from core.settings.pipeline import load_settings, load_training
from core.settings.trust import TRUST_VARIABLE, ask_to_trust
from tests.conftest import CHECKOUT

SECRET = "hunter2 is the password"


@pytest.fixture
def outside(tmp_path, monkeypatch):
    monkeypatch.delenv(TRUST_VARIABLE, raising=False)
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "mine.yaml").write_text(f"extends: {CHECKOUT}/config/demo.yaml\n", encoding="utf-8")
    (folder / "secret.yaml").write_text(SECRET, encoding="utf-8")
    return folder


def refused(load, *given):
    with pytest.raises(SettingsError) as error:
        load(*given)
    assert "hunter2" not in str(error.value)
    return str(error.value)


def test_a_settings_file_from_outside_is_refused_even_if_it_does_not_exist(outside, tmp_path):
    up = os.path.relpath(outside, CHECKOUT)
    for name in (
        f"{outside}/secret.yaml",
        f"{outside}/none.yaml",
        f"{up}/secret.yaml",
        "/etc/passwd",
        "/dev/zero",
        "a\0b",
        "\ud800.yaml",
        f"{'x' * 10_000}.yaml",
    ):
        assert "outside the project" in refused(load_settings, name)
    assert "outside the project" in refused(load_training, f"{outside}/secret.yaml")


def test_no_link_extends_or_template_reads_a_file_outside(outside, tmp_path):
    root = tmp_path / "project"
    (root / "config/training").mkdir(parents=True)
    (root / "config/link.yaml").symlink_to(outside / "secret.yaml")
    (root / "config/nul.yaml").write_text('extends: "a\\0b.yaml"', encoding="utf-8")
    (root / "config/over.yaml").write_text(f"extends: {outside}/secret.yaml", encoding="utf-8")
    training = yaml.safe_load((CHECKOUT / "config/training/qwen3-14b.yaml").read_text(encoding="utf-8")) | {"chat_template": f"{outside}/secret.yaml"}
    (root / "config/training/mine.yaml").write_text(yaml.safe_dump(training), encoding="utf-8")
    assert "outside the project" in refused(load_settings, "config/link.yaml", root)
    assert "outside the project" in refused(load_settings, "config/nul.yaml", root)
    assert "outside the project" in refused(load_settings, "config/over.yaml", root)
    assert "outside the project" in refused(load_training, "mine", root)


def test_the_error_for_a_file_that_is_not_settings_shows_none_of_its_content(outside, monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, str(outside))
    refused(load_settings, f"{outside}/secret.yaml")
    (outside / ".env").write_text(SECRET, encoding="utf-8")
    assert "ends in .yaml" in refused(load_settings, f"{outside}/.env")


def test_settings_in_a_trusted_folder_are_read(outside, monkeypatch):
    monkeypatch.setenv(TRUST_VARIABLE, f"/nowhere{os.pathsep}{outside}")
    assert load_settings(f"{outside}/mine.yaml") == load_settings("config/demo.yaml")


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("answer", "read"), [("y\n", True), ("n\n", False), ("\n", False), ("", False)])
def test_at_a_terminal_the_user_is_asked_for_trust(outside, monkeypatch, answer, read):
    monkeypatch.setenv(TRUST_VARIABLE, "")
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    if read:
        ask_to_trust(outside / "mine.yaml")
        load_settings(f"{outside}/mine.yaml")
    else:
        refused(ask_to_trust, outside / "mine.yaml")
    assert "[y/N]" in shown.getvalue()


def test_without_a_terminal_the_question_of_trust_is_not_asked(outside, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert TRUST_VARIABLE in refused(ask_to_trust, outside / "mine.yaml")


@pytest.mark.parametrize("chain", [["a", "a"], ["a", "b", "a"], [str(number) for number in range(12)]])
def test_files_that_extend_each_other_in_a_circle_are_refused(tmp_path, chain):
    for name, base in zip(chain, [*chain[1:], chain[-1]], strict=True):
        (tmp_path / f"{name}.yaml").write_text(f"extends: {base}.yaml", encoding="utf-8")
    assert "extend" in refused(load_settings, str(tmp_path / f"{chain[0]}.yaml"))


def test_a_pack_file_that_links_outside_is_refused(pack_copy, outside):
    path = pack_copy / "prompts/therapeutic-coaching/system.md"
    shutil.copy(path, outside / "system.md")
    path.unlink()
    path.symlink_to(outside / "system.md")
    with pytest.raises(PackError, match="leads out of the pack"):
        load_pack("therapeutic-coaching", pack_copy)

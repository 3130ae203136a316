"""`understudy import` turns foreign conversations into transcripts and reports what it read."""

import json
import os
import subprocess
import sys

import pytest
from huggingface_hub import HfApi

from core.imports.stored import store_import, terms_of
from core.imports.transcript_files import find_transcripts
from core.storage.store import open_store
from flows.terminal.command import main
from tests.hub_stub.client import start_hub

TURNS = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path / "data"))
    folder = tmp_path / "chats"
    folder.mkdir()
    lines = [{"messages": [{"role": "assistant", "content": "Welcome."}, *TURNS]}, {"messages": TURNS[:1]}, {"messages": TURNS * 2}]
    (folder / "chats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (folder / "notes.txt").write_text("x", encoding="utf-8")
    return folder


def run(*words):
    with pytest.raises(SystemExit) as ended:
        main(["import", *map(str, words)])
    return ended.value.code


def test_import_reports_what_was_read_and_stores_the_stated_source(source, tmp_path, capfd, monkeypatch):
    monkeypatch.setattr("flows.terminal.command.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    assert run(source, "--licence", "CC-BY-4.0", "--consent", "for training") == 0
    reported = capfd.readouterr()
    expected = (
        "2  conversations",
        "3  exchanges",
        "1  left out",
        "1  files of types",
        "greetings of the assistant",
        "licence: CC-BY-4.0",
        "consent: for training",
    )
    for line in expected:
        assert line in reported.out
    assert "chats.jsonl, line 2" in reported.err
    (folder,) = (path for path in (tmp_path / "data/imported").iterdir() if path.is_dir())
    again = find_transcripts(folder)
    assert {(item.id, item.opening, len(item.exchanges)) for item in again.transcripts.values()} == {("chats-1", "Welcome.", 1), ("chats-3", None, 2)}
    terms = terms_of(open_store(), folder)
    assert terms
    assert (terms["licence"], terms["consent"], terms["replaced"]) == ("CC-BY-4.0", "for training", None)
    stored = json.loads((tmp_path / "data" / store_import(open_store(), next(iter(again.transcripts.values())), terms)).read_text(encoding="utf-8"))
    assert stored["provenance"]["terms"] == terms
    assert terms_of(open_store(), source) is None


def test_an_unstated_source_stays_unstated_and_an_invalid_one_is_refused(source, capfd, monkeypatch):
    monkeypatch.setattr("flows.terminal.command.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    assert run(source) == 0
    assert "consent: not stated" in capfd.readouterr().out
    assert run("no such place") == 2
    assert "does not exist. Give a folder, a file, or a dataset repository" in capfd.readouterr().err


def test_a_dataset_repository_is_fetched_at_one_commit(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with start_hub(tmp_path / "hub") as hub:
        environment = os.environ | hub.environment(tmp_path / "home") | {"UNDERSTUDY_DATA": str(tmp_path / "data")}
        api = HfApi(endpoint=hub.url, token="hf_write")
        repo = api.create_repo(f"{api.whoami()['name']}/talks", repo_type="dataset").repo_id
        lines = "".join(json.dumps({"id": name, "messages": TURNS}) + "\n" for name in "ab")
        for name, content in {"data/train.jsonl": lines, "README.md": "---\nlicense: mit\n---\n", "loader.py": "raise SystemExit(9)"}.items():
            api.upload_file(path_or_fileobj=content.encode(), path_in_repo=name, repo_id=repo, repo_type="dataset")
        done = subprocess.run(
            [sys.executable, "-m", "flows.terminal", "import", f"hf://datasets/{repo}"], env=environment, capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stderr
    assert "2  conversations" in done.stdout
    (stated,) = (tmp_path / "data/imported").glob("*.json")
    assert json.loads(stated.read_text(encoding="utf-8"))["terms"]["origin"].startswith(f"{repo}@")

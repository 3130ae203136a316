"""A completed command is not run again as long as nothing that it used has changed."""

import shutil
from pathlib import Path

import pytest
import yaml

from core.reports import receipts
from core.reports.receipts import read_receipt, receipt_name, write_receipt
from core.settings.pipeline import load_settings
from core.storage.store import Store, open_store
from core.storage.traces import begin_trace, end_trace, trace
from tests.conftest import CHECKOUT

NAME = "receipts/x.json"
DAMAGE = ({"files": []}, {"files": {"a\0b": None}}, {"listings": [{}]}, {"listings": None}, {"warnings": None})


@pytest.fixture
def store(data_root):
    store = open_store()
    for number in range(3):
        store.write(f"transcripts/a/{number}.json", f"words {number}")
    store.write("transcripts/b/0.json", "of another domain")
    yield store
    end_trace()


def command(store: Store) -> None:
    """Act like a flow: read existing files, make missing ones, record the latest and write to the ledger."""
    words = [store.read(name) for name in store.names("transcripts/a", ".json")]
    bill = store.names("ledger", beginning="run")
    if not store.exists("made/one.json"):
        store.appender("ledger/run/1.jsonl")("a call\n")
        store.write("made/one.json", " ".join(words))
    if not store.exists("made/model/weights"):  # by a program
        store.local("made/model").mkdir(exist_ok=True)
        (store.local("made/model") / "weights").write_text("1 2 3", encoding="utf-8")
        store.made("made/model")
    store.write("made/latest", "made/one.json")
    assert bill in ([], ["ledger/run"])
    assert all(store.read(name) for name in store.names("ledger/run", ".jsonl"))


def run(store, meanwhile=lambda: None):
    """Run the command and write its receipt; return whether the receipt is valid."""
    seen = begin_trace(Path(store.root))
    command(store)
    meanwhile()
    end_trace()
    write_receipt(store, NAME, seen, {"at": "now", "warnings": [], "table": "made", "summary": {}})
    return read_receipt(store, NAME) is not None


def test_a_receipt_is_valid_as_long_as_nothing_relevant_changes(store):
    assert read_receipt(store, NAME) is None
    assert run(store)
    found = read_receipt(store, NAME)
    assert found
    assert found.table == "made"
    # irrelevant: other domains, other runs, and identical content
    store.write("transcripts/b/1.json", "more of another domain")
    store.appender("ledger/other-run/1.jsonl")("a call\n")
    store.write("made/latest", "made/one.json")
    command(store)
    assert read_receipt(store, NAME)


@pytest.mark.parametrize(
    "change",
    [
        lambda store: store.write("transcripts/a/1.json", "other words"),
        lambda store: store.write("transcripts/a/3.json", "one more"),
        lambda store: store.remove("transcripts/a/1.json"),
        lambda store: store.remove("made/one.json"),
        lambda store: store.write("made/latest", "made/two.json"),
        lambda store: store.remove("made/latest"),
        lambda store: store.remove("made/model/weights"),
        lambda store: store.local("made/model/weights").write_text("3 2 1", encoding="utf-8"),
        lambda store: store.appender("ledger/run/2.jsonl")("a call of another process\n"),
        lambda store: store.appender("ledger/run/1.jsonl")("a line more\n"),
        lambda store: store.write(NAME, "{"),
        *(lambda store, part=part: store.write_json(NAME, store.load_json(NAME) | part) for part in DAMAGE),
    ],
)
def test_any_change_of_a_used_file_invalidates_the_receipt(store, change):
    assert run(store)
    change(store)
    assert read_receipt(store, NAME) is None
    assert run(store)


def test_a_change_during_the_command_prevents_a_receipt(store):
    def meanwhile():
        (Path(store.root) / "transcripts/a/0.json").write_text("other words", encoding="utf-8")

    assert not run(store, meanwhile)
    assert not store.exists(NAME)


def test_without_a_trace_no_file_access_is_recorded(store):
    command(store)
    assert trace() is None


def _settings(tmp_path, **changes):
    data = load_settings("config/demo.yaml").model_dump(mode="json")
    for name, values in changes.items():
        data[name] = {**data[name], **values}
    (tmp_path / "settings.yaml").write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_settings(str(tmp_path / "settings.yaml"))


@pytest.mark.slow
def test_the_name_of_a_receipt_covers_parameters_settings_and_the_checkout(store, tmp_path, monkeypatch):
    settings = _settings(tmp_path)
    name = receipt_name("generation", {"conversations": "3"}, settings, store)
    assert name
    assert receipt_name("generation", {"conversations": "3"}, settings, store) == name
    assert receipt_name("generation", {"conversations": "3", "settings": "any/name.yaml"}, settings, store) == name
    others = [
        receipt_name("generation", {"conversations": "4"}, settings, store),
        receipt_name("assessment", {"conversations": "3"}, settings, store),
        receipt_name("generation", {"conversations": "3"}, _settings(tmp_path, generation={"minimum_exchanges": 2}), store),
    ]
    copy = tmp_path / "checkout"
    copy.mkdir()
    for place in receipts.PACKAGES + receipts.DATA:
        source = CHECKOUT / place
        shutil.copytree(source, copy / place) if source.is_dir() else shutil.copy(source, copy / place)
    monkeypatch.setattr(receipts, "CODE", copy)
    monkeypatch.setattr(receipts, "SHIPPED", copy)
    for changed in ("prompts/therapeutic-coaching/assistant.md", "tasks/generation.py", "deployments/jobs/built/train_sft.py", "uv.lock"):
        (copy / changed).write_text((copy / changed).read_text(encoding="utf-8") + "\n", encoding="utf-8")
        others.append(receipt_name("generation", {"conversations": "3"}, settings, store))
    packs = tmp_path / "packs"
    (packs / "prompts/mine").mkdir(parents=True)
    (packs / "prompts/mine/system.md").write_text("Be kind.", encoding="utf-8")
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(packs))
    others.append(receipt_name("generation", {"conversations": "3"}, settings, store))
    assert None not in others
    assert len({name, *others}) == len(others) + 1


@pytest.fixture
def name(store, tmp_path, monkeypatch):
    """Return the name of a receipt for a command's parameters and for changes of the demo's settings and training settings."""
    for places in ("PACKAGES", "DATA"):  # to read all the code takes a third of a second
        monkeypatch.setattr(receipts, places, ())

    def of(flow="generation", given=None, training=None, **changes):
        if training:
            base = {"license": "mit", "origin": "A test."} | training
            demo = yaml.safe_load((CHECKOUT / "config/training/smollm2-135m.yaml").read_text(encoding="utf-8"))
            (tmp_path / "training.yaml").write_text(yaml.safe_dump({**demo, "base": base}), encoding="utf-8")
        settings = _settings(tmp_path, **changes)
        return receipt_name(flow, given or {}, settings.model_copy(update={"training": str(tmp_path / "training.yaml")}) if training else settings, store)

    return of


def test_the_name_of_a_receipt_covers_files_named_in_parameters_and_settings(name, tmp_path, monkeypatch):
    folder = tmp_path / "outside"
    (folder / "deep").mkdir(parents=True)
    file = folder / "deep/mine.md"
    file.write_text("Be kind.", encoding="utf-8")
    monkeypatch.chdir(folder)
    asked = {
        "a folder": lambda: name("assessment", {"transcripts": str(folder)}),
        "a file from here": lambda: name("evaluation", {"personas": "deep/mine.md"}),
        "several": lambda: name("dataset", {"checkpoints": f"nowhere.jsonl, {folder}"}),
        "the prompt of an arm": lambda: name("evaluation", {"arms": {"mine": "base under deep/mine.md"}}),
        "an arm of the settings": lambda: name("evaluation", evaluation={"arms": {"mine": f"base under {file}"}}),
        "a tokenizer": lambda: name("dataset", dataset={"tokenizer": f"hf:{folder}"}),
        "a model's file": lambda: name("pilot", {"model": f"llama-server/{file}"}),
        "the base": lambda: name("training", training={"model": str(folder)}),
    }
    before = {what: receipt() for what, receipt in asked.items()}
    assert None not in before.values()
    assert {what: receipt() for what, receipt in asked.items()} == before
    file.write_text("Be brief", encoding="utf-8")
    assert [what for what, receipt in asked.items() if receipt() in (None, before[what])] == []


def test_no_receipt_is_written_if_the_result_depends_on_anything_but_local_files(name, store, tmp_path):
    assert name()
    assert name("nightly") is None  # it makes something new each time
    assert name(roles={"assistant": "a-saved-block"}) is None
    assert name("evaluation", {"arms": {"mine": "a-saved-block"}}) is None
    assert receipt_name("generation", {}, _settings(tmp_path), Store("memory://rehearsals")) is None
    for elsewhere in ({"dataset": {"hub": "hf"}}, {"export": {"hub": "a-saved-hub"}}, {"dataset": {"tokenizer": "hf:Qwen/Qwen3-14B"}}):
        assert name("dataset", **elsewhere) is None
        assert name("assessment", **elsewhere)  # which publishes nothing
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked/elsewhere").symlink_to(CHECKOUT)
    assert name("assessment", {"transcripts": str(tmp_path / "linked")}) is None


def test_a_receipt_of_a_training_needs_the_commit_of_its_base(name):
    hub = {"model": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert name("training", training=hub) is None  # its branch may have moved
    assert name("training", training={**hub, "revision": "0" * 40})
    assert name("assessment", training=hub)

"""Datasets as a user makes them: from batches, from imported checkpoints, published on a hub, and what is refused or reported."""

import asyncio
import json
import os
import shutil
import warnings
from pathlib import Path

import huggingface_hub.constants
import pyarrow.parquet
import pytest
import yaml
from datasets import load_dataset
from huggingface_hub import DatasetCard
from pydantic import SecretStr

from blocks.hf_hub import HfHub
from core.dataset.build import origin_of
from core.errors import DatasetError, HubError, UnderstudyError
from core.judging.checkpoints import write_checkpoint
from core.packs.pack import load_pack
from core.records import AssessmentBatch
from core.rehearsal.personas import sample_batch
from core.storage.store import open_store
from flows.assessment import assessment
from flows.dataset import dataset
from flows.pipeline import pipeline
from tests.conftest import CHECKOUT
from tests.core.hostile import ALL, active
from tests.core.judged import conversation, single
from tests.flows.conftest import write_settings
from tests.flows.test_commands import assert_refused, finish
from tests.hub_stub.client import start_hub

PACK = load_pack("therapeutic-coaching")
SUBJECTS = ("deadline", "landlord", "sister", "marathon", "exam", "garden", "piano", "mortgage", "dentist", "holiday")


def talk(number, exchanges=6):
    subject = SUBJECTS[number % len(SUBJECTS)]
    words = " ".join(f"{subject}{number}x{place}" for place in range(30))
    return conversation(f"t{number}", exchanges, f"The {subject} again: {words}.", f"That {subject} sounds heavy, after {words}.")


@pytest.fixture
def elsewhere(tmp_path):
    return write_elsewhere(tmp_path)


def write_elsewhere(place):
    """Write six conversations from elsewhere and a checkpoint about them: one failed, one failed a gate, one line is cut."""
    folder = place / "transcripts"
    folder.mkdir()
    talks = [talk(number) for number in range(6)]
    for item in talks:
        pairs = [{"user": exchange.user, "assistant": exchange.assistant} for exchange in item.exchanges]
        (folder / f"{item.id}.json").write_text(json.dumps({"id": item.id, "exchanges": pairs}), encoding="utf-8")
    answers = [{}, {"MT1": "NO", "MT2": "NO", "MT3": "NO", "MT6": "NO"}, {"CQ8": "NO"}, {}, {"CQ2": "NO"}, {}]
    lines = write_checkpoint([single(item, given) for item, given in zip(talks, answers, strict=True)], PACK.rubric).splitlines()
    (place / "old.jsonl").write_text("\n".join([*lines[:5], lines[5][:100], lines[3].replace('"t3"', '"t9"')]), encoding="utf-8")
    return place


async def made(elsewhere, settings):
    return await dataset(checkpoints=str(elsewhere / "old.jsonl"), transcripts=str(elsewhere / "transcripts"), settings=settings)


def manifest_of(found):
    return json.loads(open_store().read(f"{found.path}/manifest.json"))


async def test_a_dataset_of_a_checkpoint_and_its_transcripts_lists_what_was_left_out_and_why(elsewhere, settings, data_root):
    found = await made(elsewhere, settings)
    manifest = manifest_of(found)
    assert [entry["id"] for entry in manifest["transcripts"]] == ["t0", "t3", "t4"]
    assert {entry["id"]: entry["reason"] for entry in manifest["left_out"]} == {"t1": "failed: 0.700", "t2": "gate: CQ8", "t9": "missing file"}
    assert found.transcripts == 3
    assert origin_of(open_store(), found) == (["scripted/judge"], [])  # nothing states who wrote them
    folder = data_root / "hub/datasets/understudy/therapeutic-coaching/commits" / found.commit
    rows = load_dataset(str(folder), cache_dir=str(elsewhere / "cache"))
    assert {split: len(rows[split]) for split in ("train", "validation")} == {"train": found.examples, "validation": found.validation_examples}
    assert [message["role"] for message in rows["train"][0]["messages"]][:3] == ["system", "user", "assistant"]
    whole = load_dataset(str(folder), "conversations", cache_dir=str(elsewhere / "cache"))
    assert {split: len(whole[split]) for split in whole} == {split: found["conversations"] for split, found in manifest["conversations"].items()}
    assert sum(len(whole[split]) for split in whole) == 3
    assert all(row["slices"] and min(row["slices"]) >= 1 for split in whole for row in whole[split])
    card = DatasetCard((folder / "README.md").read_text(encoding="utf-8"))
    assert card.data.to_dict() | {"license": "unknown", "language": ["en"], "size_categories": ["n<1K"]} == card.data.to_dict()
    for text in (
        "not therapy and no crisis service",
        "3 of 6 that were judged",
        "scripted/judge (as its checkpoint says)",
        "3 of the 3 conversations were imported",
    ):
        assert text in card.text


async def test_the_card_of_imported_conversations_repeats_no_claim_of_their_files(elsewhere, settings, data_root, tmp_path):
    for path in (elsewhere / "transcripts").glob("*.json"):
        claims = dict.fromkeys(["caveat", "user_simulator", "assistant", "pack_hash", "domain", "repair"], f"forged {ALL}")
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"provenance": claims}), encoding="utf-8")
    found = await made(elsewhere, settings)
    card = DatasetCard(open_store().read(f"{found.path}/README.md"))
    assert card.text.split("\n\n")[1].startswith("Conversations that were imported from files")
    for text in ("forged", "two models rehearsed", "synthetic", "no real conversation", "Nobody in them is real"):
        assert text not in card.content
    assert "| conversations by | not known: imported from files (3) |" in card.text
    assert "**Nobody has stated that the people in the imported conversations agreed to this use.**" in card.text
    assert not active(card.content, ours=("#quality",))
    agreed = write_settings(tmp_path, dataset={"consent": "All of them <b>agreed</b>.", "languages": ["no"]})
    text = open_store().read(f"{(await made(elsewhere, agreed)).path}/README.md")
    card = DatasetCard(text)
    assert r"All of them \<b\>agreed\</b\>." in card.text
    assert "Nobody has stated" not in card.text
    assert card.data.to_dict()["language"] == ["no"]
    assert 'language:\n- "no"\n' in text


@pytest.mark.parametrize(("learn", "cut"), [("slices", True), ("slices_folded", False)])
async def test_the_card_reports_examples_as_too_long_only_if_the_training_cuts_them(elsewhere, tmp_path, data_root, learn, cut):
    path = Path(write_settings(tmp_path))
    training = tmp_path / "tiny.yaml"
    numbers = yaml.safe_load(training.read_text(encoding="utf-8"))
    training.write_text(json.dumps({**numbers, "learn": learn, "train": {**numbers["train"], "max-length": 300}}), encoding="utf-8")
    card = open_store().read(f"{(await made(elsewhere, str(path))).path}/README.md")
    assert ("| longer than the training length |" in card) == cut
    assert ("longer than the training length of 300 tokens" in card) == cut


async def test_only_a_changed_checkpoint_makes_a_new_commit(elsewhere, settings, data_root):
    first = await made(elsewhere, settings)
    assert await made(elsewhere, settings) == first
    lines = (elsewhere / "old.jsonl").read_text(encoding="utf-8").splitlines()
    (elsewhere / "old.jsonl").write_text("\n".join(line for line in lines if '"t4"' not in line[:40]), encoding="utf-8")
    second = await made(elsewhere, settings)
    assert second.transcripts == 2
    assert second.commit != first.commit
    refs = data_root / "hub/datasets/understudy/therapeutic-coaching/refs"
    assert (refs / "main").read_text(encoding="utf-8").strip() == second.commit
    assert sorted((refs / f"tags/run-{found.path.rsplit('/', 1)[-1]}").read_text(encoding="utf-8").strip() for found in (first, second)) == sorted(
        [first.commit, second.commit]
    )


async def test_without_a_name_all_batches_of_the_domain_are_used_and_the_first_verdict_counts(elsewhere, settings, data_root):
    await assessment(transcripts=str(elsewhere / "transcripts"), checkpoints=str(elsewhere / "old.jsonl"), settings=settings)
    await assessment(transcripts=str(elsewhere / "transcripts"), settings=settings)
    # judged by another rubric: not taken
    old = json.loads(next(data_root.glob("batches/assessments-*.json")).read_text(encoding="utf-8"))
    old["assessments"] = [item | {"path": item["path"].replace(PACK.rubric.hash, "0" * 12), "by_judge": {}} for item in old["assessments"]]
    (data_root / "batches/assessments-000000000000.json").write_text(json.dumps(old), encoding="utf-8")
    found = await dataset(settings=settings)
    entries = manifest_of(found)
    ids = [entry["id"] for entry in entries["transcripts"]] + [entry["id"] for entry in entries["left_out"]]
    assert sorted(ids) == sorted([f"t{number}" for number in range(6)] * 2)


async def test_conversations_with_one_persona_are_on_one_side_of_the_split(elsewhere, settings, data_root):
    persona = sample_batch(PACK, 1, 1, (3, 3))[0].model_dump()
    for name in ("t3", "t4"):
        path = elsewhere / f"transcripts/{name}.json"
        more = {"persona": persona, "provenance": {"pack_hash": PACK.hash, "seed": 1}}
        path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | more), encoding="utf-8")
    found = await made(elsewhere, settings)
    rows = [json.loads(line) for line in open_store().read(f"{found.path}/conversations/rows.jsonl").splitlines()]
    assert {row["transcript_id"]: row["split"] for row in rows} == {"t0": "train", "t3": "validation", "t4": "validation"}


async def test_a_transcript_of_an_evaluation_persona_stops_the_flow_before_anything_is_made(elsewhere, settings, data_root):
    persona = sample_batch(PACK, 9001, 1, (3, 3))[0].model_dump()
    path = elsewhere / "transcripts/t3.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"persona": persona}), encoding="utf-8")
    with pytest.raises(Exception, match=r"1 transcripts have personas that are kept for the evaluation: t3 \(seed 9001\)"):
        await made(elsewhere, settings)
    assert not list(data_root.glob("datasets/*"))
    assert not list(data_root.glob("hub/*"))


def test_the_command_reports_a_refusal_in_one_line(command, elsewhere, settings):
    checkpoint = f"--checkpoints={elsewhere / 'old.jsonl'}"
    assert_refused(*finish(command("dataset", checkpoint, f"--settings={settings}")), "Checkpoints were given without a folder of transcripts")


async def test_a_dataset_is_refused_without_assessments_transcripts_a_known_hub_or_a_tokenizer(elsewhere, tmp_path, settings, data_root):
    checkpoint, folder = str(elsewhere / "old.jsonl"), str(elsewhere / "transcripts")
    with pytest.raises(UnderstudyError, match="No assessments of 'therapeutic-coaching' by its current rubric are in"):
        await dataset(settings=settings)
    with pytest.raises(UnderstudyError, match="A folder of transcripts was given without checkpoints"):
        await dataset(assessed="batches/assessments-000000000000.json", transcripts=folder, settings=settings)
    for changes, sentence in (
        ({"hub": "mine"}, r"Unknown hub 'mine' \(dataset.hub\). Allowed: local, hf"),
        ({"hub": "hf", "repo": "me/{domain}"}, "HF_HUB_OFFLINE is set"),
        ({"tokenizer": "o200k"}, "Unknown tokenizer 'o200k'"),
        ({"tokenizer": f"hf:{tmp_path}"}, "cannot be loaded"),
    ):
        with pytest.raises(UnderstudyError, match=sentence):
            await dataset(checkpoints=checkpoint, transcripts=folder, settings=write_settings(tmp_path, dataset=changes))


async def test_the_tokenizer_of_the_base_model_counts_the_tokens_of_its_own_template(elsewhere, tmp_path, data_root):
    transformers = pytest.importorskip("transformers", reason="the training group is not installed; run `make setup`")
    folder = tiny_tokenizer(tmp_path / "tokenizer", transformers)
    slicing = {"first": 3, "gap": [2, 5], "max_tokens": 100_000}  # a token is a byte here
    found = await made(elsewhere, write_settings(tmp_path, dataset={"tokenizer": f"hf:{folder}", "slicing": slicing}))
    origins = [json.loads(line) for line in open_store().read(f"{found.path}/rows.jsonl").splitlines()]
    rows = pyarrow.parquet.read_table(data_root / found.path / "train.parquet").to_pylist()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    counted = [item["tokens"] for item in origins if item["split"] == "train"]
    assert counted == [len(tokenizer.apply_chat_template(row["messages"], tokenize=True, return_dict=False)) for row in rows]


def tiny_tokenizer(folder, transformers):
    """A tokenizer of bytes with a ChatML template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    special = ["<|im_start|>", "<|im_end|>"]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={token: number for number, token in enumerate([*alphabet, *special])}, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(special)
    found = transformers.PreTrainedTokenizerFast(tokenizer_object=made, eos_token="<|im_end|>")
    found.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    found.save_pretrained(folder)
    return str(folder)


LOAD = """
import json, sys
from datasets import load_dataset
found = load_dataset(sys.argv[1], revision=sys.argv[2])
print(json.dumps({split: found[split].to_list() for split in found}))
"""


async def test_a_dataset_is_loaded_from_the_hub_with_the_examples_that_were_pushed(elsewhere, tmp_path, data_root, monkeypatch, nursery):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with start_hub(tmp_path / "hub") as hub, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # of the Hub's own client
        await HfHub(endpoint=hub.url, token=SecretStr("hf_write")).asave("my-hub", overwrite=True)
        settings = write_settings(tmp_path, dataset={"hub": "my-hub", "repo": "me/{domain}"})
        found = await made(elsewhere, settings)
        assert found.repo == "me/therapeutic-coaching"
        assert found.url == f"{hub.url}/datasets/me/therapeutic-coaching/tree/{found.commit}"
        process = nursery.start(["-c", LOAD, found.repo, f"run-{found.path.rsplit('/', 1)[-1]}"], {**os.environ, **hub.environment(tmp_path / "home")})
        code, output = await asyncio.to_thread(finish, process)
        assert code == 0, output
        rows = json.loads(output.splitlines()[-1])
        assert rows == {split: pyarrow.parquet.read_table(data_root / found.path / f"{split}.parquet").to_pylist() for split in ("train", "validation")}
        hub.clear_log()
        assert await made(elsewhere, settings) == found
        # a licence's name and the files' hashes are asked for; nothing is sent
        asked = ("/api/validate-yaml", f"/api/datasets/{found.repo}/paths-info/{found.commit}")
        assert not [item for item in hub.log() if item["method"] == "POST" and item["path"] not in asked]


async def test_the_card_of_recorded_conversations_says_who_wrote_them(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with start_hub(tmp_path / "hub") as hub, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)  # of the Hub's own client
        await HfHub(endpoint=hub.url, token=SecretStr("hf_write")).asave("my-hub", overwrite=True)
        settings = write_settings(tmp_path, dataset={"hub": "my-hub", "repo": "me/{domain}"})
        assessed = await assessment(transcripts=str(CHECKOUT / "config/domains/therapeutic-coaching/recorded"), settings=settings)
        found = await dataset(assessed, settings=settings)
        assert found.url.startswith(hub.url)
    manifest, card = manifest_of(found), DatasetCard(open_store().read(f"{found.path}/README.md"))
    assert manifest["count"] + len(manifest["left_out"]) == len(list((CHECKOUT / "config/domains/therapeutic-coaching/recorded").glob("*.json")))
    assert manifest["count"] > len(manifest["left_out"])
    assert card.text.split("\n\n")[1].startswith("Conversations that a frontier model wrote for the pack therapeutic-coaching, one side at a time")
    assert f"| conversations by | a frontier model, which wrote both sides ({manifest['count']}) |" in card.text
    assert "no real conversation was used" in card.text
    assert "synthetic" in card.data.to_dict()["tags"]
    assert "imported" not in card.text


@pytest.mark.parametrize("has_recorded", [True, False])
async def test_the_pipeline_learns_from_the_recorded_conversations_of_a_pack_that_has_some_and_otherwise_from_its_rehearsal(
    has_recorded, tmp_path, data_root, monkeypatch
):
    domain = "bicycle-workshop"
    folder = shutil.copytree(CHECKOUT / "tests/packs", tmp_path / "packs") / "config/domains" / domain / "recorded"
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(tmp_path / "packs"))
    recorded = sorted((CHECKOUT / "config/domains/therapeutic-coaching/recorded").glob("*.json"))[:2] if has_recorded else []
    folder.mkdir()
    for path in recorded:
        shutil.copy(path, folder)
    judged = []

    async def stand_in(assessed, *_, **__):
        judged.extend(item.transcript.id for item in open_store().load(assessed, AssessmentBatch).assessments)
        raise DatasetError("The test ends here.")

    monkeypatch.setattr("flows.pipeline.dataset", stand_in)
    with pytest.raises(DatasetError, match="The test ends here"):
        await pipeline(domain, 3, settings=write_settings(tmp_path, dataset={"recorded": True}))
    rehearsed = {path.stem for path in data_root.glob(f"transcripts/{domain}/*.json")}
    assert len(rehearsed) == 3
    assert set(judged) == ({path.stem for path in recorded} or rehearsed)


async def test_a_read_only_token_is_reported_before_anything_is_made(elsewhere, tmp_path, data_root, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    with start_hub(tmp_path / "hub") as hub:
        await HfHub(endpoint=hub.url, token=SecretStr("hf_read")).asave("reader", overwrite=True)
        with pytest.raises(HubError, match="is read-only"):
            await made(elsewhere, write_settings(tmp_path, dataset={"hub": "reader", "repo": "me/{domain}"}))
        with pytest.raises(HubError, match="is read-only"):
            await pipeline(settings=write_settings(tmp_path, dataset={"hub": "reader", "repo": "me/{domain}"}))
    assert not list(data_root.glob("datasets/*"))
    assert not list(data_root.glob("transcripts/therapeutic-coaching/*"))


def test_slices_are_shown_without_making_anything(elsewhere, command, data_root):
    code, output = finish(command("slices", str(elsewhere / "transcripts")))
    assert code == 0, output
    first, *rest = output.splitlines()
    assert first.startswith("6 transcripts, ")
    assert "tokens of an example (cl100k_base)" in first
    assert any(line.strip().startswith("up to") for line in rest)
    assert_refused(*finish(command("slices")), "`understudy slices` needs TRANSCRIPTS.")
    assert not data_root.exists()

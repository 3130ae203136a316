"""The unpacking job, run in a separate process: the folder holds the model of the GGUF file, or one sentence states why it cannot."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, needs
from tests.jobs.conftest import Reported, train
from tests.tiny.gguf_file import TEMPLATE, write_gguf

needs("trl")
gguf = pytest.importorskip("gguf")

SCRIPT = CHECKOUT / "deployments/jobs/built/unpack_gguf.py"


@dataclass(frozen=True)
class Unpacked:
    """GGUF files, the folders that they are unpacked to, and the reports of the job, each by what is special about the file."""

    folder: Path
    reported: dict[str, Reported]

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.gguf"

    def output(self, name: str) -> Path:
        return self.folder / name

    def facts(self, name: str) -> dict[str, Any]:
        return json.loads((self.output(name) / "unpacked.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Unpacked:
    """All runs share a process, since importing torch takes longer than a run."""
    folder = tmp_path_factory.mktemp("unpacked")
    whole = write_gguf(folder / "small.gguf").read_bytes()
    write_gguf(folder / "untied.gguf", tied=False)
    write_gguf(folder / "silent.gguf", **{"tokenizer.chat_template": None})
    write_gguf(folder / "strange.gguf", **{"tokenizer.ggml.pre": "moon"})
    (folder / "text.gguf").write_text("no model", encoding="utf-8")
    (folder / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    names = ("small", "untied", "gone", "text", "cut", "silent", "strange")
    more = ["--package", "small-model", "--package-version", "1.2"]
    reported = train(*(["--gguf", folder / f"{name}.gguf", "--output", folder / name, *more] for name in names), script=SCRIPT)
    return Unpacked(folder, dict(zip(names, reported, strict=True)))


def test_unpacking_reports_its_progress_and_succeeds(unpacked):
    for name in ("small", "untied"):
        assert (unpacked.reported[name].code, unpacked.reported[name].error) == (0, "")
    assert [event["event"] for event in unpacked.reported["small"].events] == ["start", "progress", "progress", "progress", "checked", "done"]


def test_the_unpacked_folder_is_an_ordinary_model_with_the_files_template_tokens_and_parameters(unpacked):
    path, folder = unpacked.file("small"), unpacked.output("small")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config
    assert (config["dtype"], config["rope_parameters"]["rope_theta"], round(config["rms_norm_eps"], 9)) == ("bfloat16", 100000.0, 2e-5)
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == TEMPLATE
    reported = gguf.GGUFReader(path).fields
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == reported["tokenizer.ggml.eos_token_id"].contents()
    special = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (special["bos_token"], special["eos_token"]) == ("<|im_start|>", "<|im_end|>")


def test_the_unpacked_weights_are_those_of_the_file_rounded_to_16_bits(unpacked):
    import torch
    from safetensors.torch import load_file

    path, folder, facts = unpacked.file("small"), unpacked.output("small"), unpacked.facts("small")
    saved = load_file(folder / "model.safetensors")
    read = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(path).tensors}
    for name, other in (("model.embed_tokens", "token_embd"), ("model.layers.1.mlp.down_proj", "blk.1.ffn_down"), ("model.norm", "output_norm")):
        assert torch.equal(saved[f"{name}.weight"], torch.tensor(read[f"{other}.weight"]).to(torch.bfloat16))
    assert "lm_head.weight" not in saved
    assert facts["checks"]["tied"]


def test_the_origin_and_the_proofs_are_recorded(unpacked):
    path, facts = unpacked.file("small"), unpacked.facts("small")
    assert (facts["file"], facts["package"], facts["package_version"]) == (path.name, "small-model", "1.2")
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["checks"]["chat_template_identical"]
    assert facts["checks"]["divergence"] < 0.01
    assert facts["checks"]["positions_compared"] > 50


def test_a_separate_output_layer_stays_separate(unpacked):
    assert not unpacked.facts("untied")["checks"]["tied"]
    assert not json.loads((unpacked.output("untied") / "config.json").read_text(encoding="utf-8"))["tie_word_embeddings"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("gone", "does not exist"),
        ("text", "is not a GGUF file"),
        ("cut", "may be truncated"),
        ("silent", "has no chat template"),
        ("strange", "'moon'"),
    ],
)
def test_a_file_that_is_not_a_chat_model_is_refused_in_one_sentence(unpacked, name, said):
    reported = unpacked.reported[name]
    assert (reported.code, len(reported.error.splitlines())) == (1, 1), reported.error
    assert said in reported.error
    assert f"{name}.gguf" in reported.error
    assert not (unpacked.output(name) / "unpacked.json").exists()

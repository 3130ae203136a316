"""The unpacking job, run as a process: the folder holds the model of the GGUF file, or the job says in one sentence why not."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT
from tests.jobs.conftest import make_tokenizer

pytest.importorskip("trl")
gguf = pytest.importorskip("gguf")

SCRIPT = CHECKOUT / "deployments/jobs/unpack_gguf.py"
LAYERS, HIDDEN, INNER, HEADS, KV, HEAD = 2, 64, 96, 4, 2, 16
TEMPLATE = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def unpack(path: Path, output: Path, *more: str) -> tuple[int, list[dict[str, Any]], str]:
    command = [sys.executable, str(SCRIPT), "--gguf", str(path), "--output", str(output), *more]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300, check=False)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.strip()


def write_gguf(path: Path, tied: bool = True, **other: Any) -> Path:
    """Write a random Llama in 8 bits whose chats are SmolLM2's: its bos token opens every turn.

    Args:
        other: metadata in place of the usual; none leaves it out.
    """
    import numpy

    tokenizer = make_tokenizer({"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "unk_token": "<|endoftext|>"}, [], "qwen3_instruct_2507")
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens, draw = sorted(model["vocab"], key=model["vocab"].__getitem__), numpy.random.default_rng(0)
    writer = gguf.GGUFWriter(path, "llama")
    numbers = {"block_count": LAYERS, "context_length": 512, "embedding_length": HIDDEN, "feed_forward_length": INNER, "vocab_size": len(tokens)}
    numbers |= {"attention.head_count": HEADS, "attention.head_count_kv": KV, "rope.dimension_count": HEAD}
    for name, value in numbers.items():
        writer.add_uint32(f"llama.{name}", value)
    writer.add_float32("llama.rope.freq_base", 100000.0)
    writer.add_float32("llama.attention.layer_norm_rms_epsilon", 2e-5)
    texts = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.chat_template": TEMPLATE, **other}
    for name, value in texts.items():
        if value is not None:
            writer.add_string(name, value)
    writer.add_token_list(tokens)
    writer.add_token_merges([" ".join(pair) for pair in model["merges"]])
    writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
    for name in ("bos", "eos", "unk"):
        getattr(writer, f"add_{name}_token_id")(getattr(tokenizer, f"{name}_token_id"))
    writer.add_add_bos_token(False)

    def add(name: str, *shape: int) -> None:
        kind = gguf.GGMLQuantizationType.Q8_0
        data = draw.normal(0, 0.3, shape).astype(numpy.float32)
        writer.add_tensor(name, data if len(shape) == 1 else gguf.quantize(data, kind), raw_dtype=None if len(shape) == 1 else kind)

    add("token_embd.weight", len(tokens), HIDDEN)
    add("output_norm.weight", HIDDEN)
    if not tied:
        add("output.weight", len(tokens), HIDDEN)
    for layer in range(LAYERS):
        block = f"blk.{layer}."
        for name, rows, columns in (
            *(("attn_q", HEADS * HEAD, HIDDEN), ("attn_k", KV * HEAD, HIDDEN), ("attn_v", KV * HEAD, HIDDEN), ("attn_output", HIDDEN, HEADS * HEAD)),
            *(("ffn_gate", INNER, HIDDEN), ("ffn_up", INNER, HIDDEN), ("ffn_down", HIDDEN, INNER)),
        ):
            add(f"{block}{name}.weight", rows, columns)
        add(f"{block}attn_norm.weight", HIDDEN)
        add(f"{block}ffn_norm.weight", HIDDEN)
    for step in ("header", "kv_data", "tensors"):
        getattr(writer, f"write_{step}_to_file")()
    writer.close()
    return path


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """A file, the folder that it was unpacked to, and what was written down of it."""
    folder = tmp_path_factory.mktemp("unpacked")
    path = write_gguf(folder / "small.Q8_0.gguf")
    code, events, error = unpack(path, folder / "model", "--package", "small-model", "--package-version", "1.2")
    assert (code, error) == (0, "")
    assert [event["event"] for event in events] == ["start", "progress", "progress", "progress", "checked", "done"]
    return path, folder / "model", json.loads((folder / "model/unpacked.json").read_text(encoding="utf-8"))


def test_the_folder_is_an_ordinary_model_with_the_files_template_tokens_and_parameters(unpacked):
    path, folder, _ = unpacked
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config
    assert (config["dtype"], config["rope_parameters"]["rope_theta"], round(config["rms_norm_eps"], 9)) == ("bfloat16", 100000.0, 2e-5)
    assert (folder / "chat_template.jinja").read_text(encoding="utf-8") == TEMPLATE
    told = gguf.GGUFReader(path).fields
    generation = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    assert generation["eos_token_id"] == told["tokenizer.ggml.eos_token_id"].contents()
    special = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert (special["bos_token"], special["eos_token"]) == ("<|im_start|>", "<|im_end|>")


def test_its_weights_are_the_files_rounded_to_16_bits(unpacked):
    import torch
    from safetensors.torch import load_file

    path, folder, facts = unpacked
    saved = load_file(folder / "model.safetensors")
    read = {tensor.name: gguf.dequantize(tensor.data, tensor.tensor_type) for tensor in gguf.GGUFReader(path).tensors}
    for name, other in (("model.embed_tokens", "token_embd"), ("model.layers.1.mlp.down_proj", "blk.1.ffn_down"), ("model.norm", "output_norm")):
        assert torch.equal(saved[f"{name}.weight"], torch.tensor(read[f"{other}.weight"]).to(torch.bfloat16))
    assert "lm_head.weight" not in saved
    assert facts["checks"]["tied"]


def test_where_it_came_from_and_what_was_proven_are_written_down(unpacked):
    path, _, facts = unpacked
    assert (facts["file"], facts["package"], facts["package_version"]) == (path.name, "small-model", "1.2")
    assert facts["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert facts["checks"]["chat_template_identical"]
    assert facts["checks"]["divergence"] < 0.01
    assert facts["checks"]["positions_compared"] > 50


def test_an_output_layer_of_its_own_stays_one(tmp_path):
    code, _, error = unpack(write_gguf(tmp_path / "a.gguf", tied=False), tmp_path / "model")
    assert (code, error) == (0, "")
    assert not json.loads((tmp_path / "model/unpacked.json").read_text(encoding="utf-8"))["checks"]["tied"]
    assert not json.loads((tmp_path / "model/config.json").read_text(encoding="utf-8"))["tie_word_embeddings"]


def test_files_that_are_no_chat_model_are_refused_in_one_sentence(tmp_path):
    (tmp_path / "text.gguf").write_text("no model", encoding="utf-8")
    whole = write_gguf(tmp_path / "whole.gguf").read_bytes()
    (tmp_path / "cut.gguf").write_bytes(whole[: len(whole) // 2])
    for path, said in (
        (tmp_path / "gone.gguf", "does not exist"),
        (tmp_path / "text.gguf", "is no GGUF file"),
        (tmp_path / "cut.gguf", "may be cut short"),
        (write_gguf(tmp_path / "silent.gguf", **{"tokenizer.chat_template": None}), "has no chat template"),
        (write_gguf(tmp_path / "strange.gguf", **{"tokenizer.ggml.pre": "moon"}), "'moon'"),
    ):
        code, _, error = unpack(path, tmp_path / "out")
        assert (code, len(error.splitlines())) == (1, 1), error
        assert said in error
        assert not (tmp_path / "out/unpacked.json").exists()

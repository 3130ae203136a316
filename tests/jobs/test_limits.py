"""A base reads only tokens that it has embeddings for, and only texts that fit its context."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from blocks.llama_runtime import read_runtime
from tests.conftest import CHECKOUT, needs
from tests.jobs.conftest import Reported, train

needs("trl")
EXPORT = CHECKOUT / "deployments" / "jobs" / "built" / "convert_gguf.py"


def changed(base: Path, folder: Path, tokens: list[str] | None = None, **config: Any) -> Path:
    """Return a copy of a base with more tokens in its tokenizer, or with another config."""
    from transformers import AutoTokenizer

    shutil.copytree(base, folder)
    if tokens:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        tokenizer.add_tokens(tokens)
        tokenizer.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | config), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def reported(data: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Reported]]:
    """Trainings on such bases: the output and the report of each, by its name."""
    folder, qwen3 = tmp_path_factory.mktemp("limits"), bases["qwen3"]
    scaled = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 60, "rope_theta": 10000.0}
    made = {
        "used": changed(qwen3, folder / "b1", [" hear you"]),
        "unused": changed(qwen3, folder / "b2", ["<|never|>"]),
        "short": changed(qwen3, folder / "b3", max_position_embeddings=100),
        "scaled": changed(qwen3, folder / "b4", max_position_embeddings=60, rope_parameters=scaled),
    }
    files = ["--train", data / "train.parquet", "--validation", data / "validation.parquet", "--max-length", 256, "--max-steps", 1]
    said = train(*([*files, "--base", base, "--output", folder / name] for name, base in made.items()))
    return {name: (folder / name, one) for name, one in zip(made, said, strict=True)}


def test_a_token_without_an_embedding_stops_the_training_in_one_sentence(reported: dict[str, tuple[Path, Reported]]) -> None:
    output, said = reported["used"]
    assert (said.code, len(said.error.splitlines()), output.exists()) == (1, 1, False)
    assert all(word in said.error for word in ("hear", "embeddings only for numbers below", "do not belong together"))
    _, said = reported["unused"]
    assert (said.code, said.error) == (0, "")
    assert [event["text"] for event in said.named("warning")] == ["1 of the tokenizer's tokens have no embedding in the base; the data use none of them."]


def test_examples_beyond_the_bases_context_are_refused_unless_its_positions_are_scaled(reported: dict[str, tuple[Path, Reported]]) -> None:
    output, said = reported["short"]
    assert (said.code, len(said.error.splitlines()), output.exists()) == (2, 1, False)
    assert said.error.startswith("The longest example takes 164 tokens, and the base's context is 100; lower --max-length to 100")
    assert reported["scaled"][1].code == 0


def test_a_token_without_an_embedding_stops_the_export_in_one_sentence(bases: dict[str, Path], tmp_path: Path) -> None:
    folder = changed(bases["qwen3"], tmp_path / "base", [" slept badly"])
    runtime = read_runtime()
    if runtime is None or runtime.converter is None:
        pytest.skip("llama.cpp and its converter are not installed; run `make setup`")
    call: list[object] = ["--base", folder, "--output", tmp_path / "out", "--name", "coach"]
    call += ["--fallback-pre-tokenizer", "qwen2", "--llama-cpp", runtime.converter, "--threads", 1]
    called = train(call, [*call, "--preflight"], script=EXPORT)
    assert [one.code for one in called] == [1, 1]
    assert all("do not belong together" in one.error and "IndexError" not in one.error for one in called)

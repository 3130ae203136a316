"""What others wrote is read and never run: models, tokenizers, archives and stored objects."""

import ast
from functools import cache

import pytest

from tests.conftest import CHECKOUT

FILES = sorted(path for folder in ("core", "blocks", "tasks", "flows", "deployments", "bench") for path in (CHECKOUT / folder).rglob("*.py"))
LOADERS = ("from_pretrained", "from_config", "load_dataset", "SFTConfig", "pipeline")
NEVER = {"eval", "exec", "unsafe_load", "full_load"}
"""With `__import__` of what a file names these are how data becomes code."""


@cache
def nodes():
    """Of each file all nodes; read when the first test asks."""
    return [(path, node) for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]


@cache
def calls():
    return [
        (ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}, f"{path.relative_to(CHECKOUT)}:{node.lineno}")
        for path, node in nodes()
        if isinstance(node, ast.Call)
    ]


def test_no_repository_runs_its_code_here():
    loading = [call for call in calls() if call[0].rpartition(".")[2] in LOADERS and not call[0].startswith("PeftModel.")]  # which has no such code
    assert len(loading) > 10
    assert not [place for _, words, place in loading if words.get("trust_remote_code") != "False"]


def test_weights_are_read_as_safetensors_or_gguf():
    models = [call for call in calls() if call[0].endswith("AutoModelForCausalLM.from_pretrained")]
    assert models
    assert not [place for _, words, place in models if words.get("use_safetensors") != "True" and "gguf_file" not in words]
    assert not [place for name, words, place in calls() if name == "torch.load" and words.get("weights_only") != "True"]


def test_archives_cannot_write_elsewhere():
    assert not [place for name, words, place in calls() if name.endswith((".extractall", ".extract")) and words.get("filter") != "'data'"]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["pickle", "cloudpickle", "joblib", "dill", "marshal", "shelve"])
def test_no_stored_objects_are_read(module):
    assert module not in {str(node.module) for _, node in nodes() if isinstance(node, ast.ImportFrom)}
    assert not [place for name, _, place in calls() if name in {f"{module}.{reader}" for reader in ("load", "loads", "Unpickler", "open")}]


def test_no_text_becomes_code():
    assert not [place for name, words, place in calls() if name in NEVER or words.get("shell") == "True" or words.get("allow_pickle") == "True"]
    assert not [place for name, words, place in calls() if name == "yaml.load"]

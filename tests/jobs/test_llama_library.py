"""llama.cpp through its C interface: the quantiser gives the same files as llama.cpp's own, and the probe shows whether a build works on this machine."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT

SCRIPT = CHECKOUT / "deployments" / "jobs" / "built" / "llama_library.py"
# architecture, width, inner width, layers, heads, key heads, tied
MODELS = [
    ("llama", 256, 256, 11, 4, 1, True),
    ("qwen3", 576, 1536, 4, 9, 3, True),  # the widths of SmolLM2: blocks of 256 do not fit
    ("gemma3", 256, 256, 18, 4, 1, False),
    ("qwen2", 256, 256, 80, 4, 1, True),  # the number of layers of a model of 70 billion parameters
    ("llama", 80, 144, 3, 2, 2, False),  # blocks of 32 do not fit either
]
ROWS = 16
"""Number of rows of each matrix. Its type depends on the length of the rows only."""


@pytest.fixture(scope="module")
def library() -> Any:
    pytest.importorskip("xllamacpp")
    sys.path.insert(0, str(SCRIPT.parent))
    yield import_module("llama_library")
    sys.path.remove(str(SCRIPT.parent))


@pytest.fixture(scope="module")
def tiny(library: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny") / "f32.gguf"
    library.write_tiny(path)
    return path


def write_model(path: Path, arch: str, width: int, inner: int, layers: int, heads: int, keys: int, tied: bool) -> Path:
    import gguf
    import numpy

    writer, draw, head = gguf.GGUFWriter(path, arch), numpy.random.default_rng(0), width // heads
    writer.add_block_count(layers)
    writer.add_context_length(128)
    writer.add_embedding_length(width)
    writer.add_feed_forward_length(inner)
    writer.add_head_count(heads)
    writer.add_head_count_kv(keys)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tokenizer_model("no_vocab")
    writer.add_vocab_size(64)
    writer.add_key_length(head)
    writer.add_value_length(head)
    if arch == "gemma3":
        writer.add_sliding_window(64)

    def add(name: str, *shape: int) -> None:
        writer.add_tensor(f"{name}.weight", (draw.standard_normal(shape) * 0.05).astype(numpy.float16 if len(shape) > 1 else numpy.float32))

    add("token_embd", 64, width)
    add("output_norm", width)
    if not tied:
        add("output", 64, width)
    for layer in range(layers):
        for name, *shape in (
            ("attn_norm", width),
            ("ffn_norm", width),
            *((f"attn_{part}", ROWS, width) for part in ("q", "k", "v")),
            ("attn_output", ROWS, heads * head),
            ("ffn_gate", ROWS, width),
            ("ffn_up", ROWS, width),
            ("ffn_down", ROWS, inner),
        ):
            add(f"blk.{layer}.{name}", *shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def contents(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a file's tensors with their types, and its metadata."""
    import gguf

    reader = gguf.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    return {str(tensor.name): (tensor.tensor_type, tensor.data.view("uint8")) for tensor in reader.tensors}, fields


def write_experts(path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(2)
    writer.add_head_count(2)
    writer.add_expert_count(8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def random_importance(path: Path) -> dict[str, Any]:
    """Return an importance matrix for a model, with columns of very different importance."""
    import gguf
    import numpy

    draw = numpy.random.default_rng(1)
    names = {str(tensor.name): int(tensor.shape[0]) for tensor in gguf.GGUFReader(path).tensors if len(tensor.shape) > 1}
    return {name: draw.lognormal(0, 3, width).astype(numpy.float32) for name, width in names.items() if name.startswith("blk.")}


@pytest.mark.parametrize("shape", MODELS, ids=lambda shape: f"{shape[0]}-{shape[1]}-{shape[3]}")
def test_quantised_files_equal_those_of_llama_cpps_own_quantiser(library: Any, tmp_path: Path, shape: tuple[Any, ...]) -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama_model_quantize is in llama-cpp-python: deployments/install.sh llama-cpp")
    source, ours, theirs = write_model(tmp_path / "f16.gguf", *shape), tmp_path / "ours.gguf", tmp_path / "theirs.gguf"
    kinds = ("q3_k_m", "q4_k_m") if shape[3] > 20 else library.MIXTURES  # reading a file back takes time for each matrix
    importance = random_importance(source) if shape[3] == 11 else {}  # one model is enough
    for kind, weights in [*((kind, {}) for kind in kinds), *((kind, importance) for kind in ("q4_0", "q4_k_m", "q5_k_m") if importance)]:
        parameters = llama_cpp.llama_model_quantize_default_params()
        parameters.ftype, parameters.nthread = library.MIXTURES[kind], 2
        # An entry without a name ends the list.
        entries = (llama_cpp.llama_model_imatrix_data * (len(weights) + 1))()
        for entry, (name, data) in zip(entries, weights.items(), strict=False):
            entry.name, entry.data, entry.size = name.encode(), data.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), data.size
        if weights:
            parameters.imatrix = ctypes.cast(entries, ctypes.POINTER(llama_cpp.llama_model_imatrix_data))
        assert llama_cpp.llama_model_quantize(os.fsencode(source), os.fsencode(theirs), ctypes.byref(parameters)) == 0
        library.quantise(source, ours, kind, 2, importance=weights)
        found, wanted = contents(ours), contents(theirs)
        assert {name: tensor[0] for name, tensor in found[0].items()} == {name: tensor[0] for name, tensor in wanted[0].items()}, kind
        assert found[1] == wanted[1] | ({"quantize.imatrix.entries_count": len(weights)} if weights else {}), kind
        for name, (_, data) in found[0].items():
            # Two compilers may round one number in a thousand differently.
            assert (data != wanted[0][name][1]).mean() <= 0.01, (kind, name)


def test_matrices_whose_rows_do_not_fit_the_intended_type_are_reported_with_the_type_used(library: Any, tmp_path: Path) -> None:
    source = write_model(tmp_path / "f16.gguf", "llama", 96, 256, 2, 2, 1, True)
    fallen = library.quantise(source, tmp_path / "q.gguf", "q4_k_m", 2)
    assert fallen["blk.0.attn_q.weight"] == ("q5_0", "q4_k")
    assert fallen["token_embd.weight"] == ("q8_0", "q6_k")
    assert "blk.1.ffn_down.weight" not in fallen
    assert library.quantise(source, tmp_path / "q8.gguf", "q8_0", 1) == {}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [(lambda path: path.write_bytes(b"GGUF" + b"\0" * 20), "cannot read"), (write_experts, "mixture|cannot be quantised")],
    ids=["not a model file", "a mixture of experts"],
)
def test_a_file_that_cannot_be_quantised_is_refused_with_one_sentence(library: Any, tmp_path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    spoil(tmp_path / "source.gguf")
    with pytest.raises(library.LibraryError, match=words):
        library.quantise(tmp_path / "source.gguf", tmp_path / "q.gguf", "q4_k_m", 1)


def test_a_file_that_is_already_quantised_is_refused(library: Any, tiny: Path, tmp_path: Path) -> None:
    library.quantise(tiny, tmp_path / "q8.gguf", "q8_0", 1)
    with pytest.raises(library.LibraryError, match="already quantised"):
        library.quantise(tmp_path / "q8.gguf", tmp_path / "q4.gguf", "q4_k_m", 1)


def probe(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "probe", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **variables})


def test_the_probe_decodes_a_quantised_model_in_a_separate_process(library: Any) -> None:
    done = probe()
    assert (done.returncode, done.stderr) == (0, "")
    assert '"event": "probe"' in done.stdout


def test_a_build_that_crashes_ends_the_probe_with_its_signal(library: Any) -> None:
    assert probe(UNDERSTUDY_PROBE_SIGNAL="SIGILL").returncode == -signal.SIGILL


def test_a_file_that_is_not_a_library_is_named(library: Any, tmp_path: Path) -> None:
    (tmp_path / "libllama.so").write_bytes(b"not a library")
    done = probe("--library", str(tmp_path / "libllama.so"))
    assert done.returncode == 1
    assert "libllama.so" in done.stderr
    assert "Traceback" not in done.stderr


def test_logits_do_not_depend_on_how_a_text_is_split_into_batches(library: Any, tiny: Path) -> None:
    llama = library.Llama(tiny, 1024, 1)
    ids = [number * 37 % 500 for number in range(700)]  # more than one batch
    whole = llama.logits(ids)
    llama.reset()
    parts = [llama.decode(ids[:5]), llama.decode(ids[5:600]), llama.decode(ids[600:])]
    llama.close()
    assert whole.shape == (700, 512)
    assert max(float(abs(whole[start : start + len(part)] - part).max()) for start, part in zip((0, 5, 600), parts, strict=True)) < 0.01


def test_the_logits_of_a_text_do_not_depend_on_the_texts_before_it(library: Any, tiny: Path) -> None:
    import numpy

    system = [1, 5, 7, 9, 11] * 130  # more than a batch
    texts = [[*system, 3, 4], [*system, 3, 8, 12], system, system, [6, 5, 7], [1, 5, 2], [1], [1, 5, 7, 9]]
    alone = [library.Llama(tiny, 1024, 1).logits(text) for text in texts]
    llama = library.Llama(tiny, 1024, 1)
    for text, expected in zip(texts, alone, strict=True):
        with pytest.raises(library.LibraryError):
            llama.logits([*text[:2], *range(2, 2000)])  # refused, and nothing of it is kept
        numpy.testing.assert_allclose(llama.logits(text), expected, atol=1e-4)
        llama.decode([2, 3])


def test_a_text_longer_than_the_context_is_refused_and_the_process_survives(library: Any, tiny: Path) -> None:
    llama = library.Llama(tiny, 256, 1)
    assert len(llama.logits([1] * 256)) == 256
    with pytest.raises(library.LibraryError, match="A text of 600 tokens does not fit the 256 that are loaded"):
        llama.logits([1] * 600)
    llama.close()


def test_the_importance_of_a_column_is_the_mean_square_of_its_input(library: Any, tiny: Path) -> None:
    """The input of the first layer is known: the normalised embedding of each token."""
    import gguf
    import numpy

    texts = [[number * 37 % 500 for number in range(600)], [number * 11 % 500 for number in range(30)]]
    found = library.importance(tiny, texts, 1024, 1)
    embedding = next(tensor.data for tensor in gguf.GGUFReader(tiny).tensors if tensor.name == "token_embd.weight")
    rows = numpy.concatenate([embedding[ids] for ids in texts]).astype(numpy.float64)
    normalised = rows / numpy.sqrt((rows**2).mean(1, keepdims=True) + 1e-5)
    assert numpy.allclose(found["blk.0.attn_q.weight"], (normalised**2).mean(0), rtol=1e-3)
    assert set(found) == {f"blk.0.{name}.weight" for name in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")}

"""A test of whether a build of llama.cpp works on this machine."""

import ctypes
import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy

from .interface import GgmlParameters, LibraryError, open_library
from .model import Llama
from .quantising import quantise
from .types import F32

PROBE_DIFFERENCE = 0.5
"""Error of the quantised model's logits, as a share of their standard deviation, from which a build
is considered wrong; 0.16 is usual."""
PROBE_TOKENS = 8
"""Number of tokens that are generated."""
PROBE_SIGNAL_VARIABLE = "UNDERSTUDY_PROBE_SIGNAL"
"""Environment variable with the name of a signal that the probe sends to itself; for tests of its
caller."""


def write_tiny(path: Path, library: Path | None = None) -> None:
    """Write a model of one layer with random weights and no vocabulary, in 32 bits."""
    lib, width, inner, tokens = open_library(library), 256, 512, 512
    shapes = {
        "token_embd": (width, tokens),
        "output_norm": (width,),
        "blk.0.attn_norm": (width,),
        "blk.0.ffn_norm": (width,),
    }
    shapes |= {f"blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    shapes |= {f"blk.0.ffn_{part}": (width, inner) for part in ("gate", "up")}
    shapes["blk.0.ffn_down"] = (inner, width)
    memory = lib.ggml_init(GgmlParameters(32 * 2**20, None, False))
    file, draw = lib.gguf_init_empty(), numpy.random.default_rng(0)
    for key, text in {"general.architecture": "llama", "tokenizer.ggml.model": "no_vocab"}.items():
        lib.gguf_set_val_str(file, key.encode(), text.encode())
    numbers = {
        "block_count": 1,
        "context_length": 256,
        "embedding_length": width,
        "feed_forward_length": inner,
        "attention.head_count": 4,
        "vocab_size": tokens,
        "rope.dimension_count": width // 4,
    }
    for key, number in numbers.items():
        lib.gguf_set_val_u32(file, f"llama.{key}".encode(), number)
    lib.gguf_set_val_f32(file, b"llama.attention.layer_norm_rms_epsilon", 1e-5)
    for name, shape in shapes.items():
        make = lib.ggml_new_tensor_1d if len(shape) == 1 else lib.ggml_new_tensor_2d
        tensor = make(memory, F32, *shape)
        lib.ggml_set_name(tensor, f"{name}.weight".encode())
        values = numpy.ones(shape) if len(shape) == 1 else draw.normal(0, 0.05, shape)
        data = values.astype(numpy.float32)
        ctypes.memmove(lib.ggml_get_data_f32(tensor), data.ctypes.data, data.nbytes)
        lib.gguf_add_tensor(file, tensor)
    written = lib.gguf_write_to_file(file, os.fsencode(path), False)
    lib.gguf_free(file)
    lib.ggml_free(memory)
    if not written:
        raise LibraryError(f"llama.cpp cannot write {path}; check that the disk has space left.")


def probe(library: Path | None = None) -> dict[str, Any]:
    """Quantise a tiny model, load it, decode a prompt and generate some tokens.

    A build that does not fit the CPU dies of a signal here, so run this in a separate process.

    Raises:
        LibraryError: llama.cpp cannot be used, or computes wrong numbers.
    """
    started = time.monotonic()
    if name := os.environ.get(PROBE_SIGNAL_VARIABLE):
        os.kill(os.getpid(), signal.Signals[name])
    with tempfile.TemporaryDirectory() as folder:
        whole, small = Path(folder) / "f32.gguf", Path(folder) / "q4_k_m.gguf"
        write_tiny(whole, library)
        quantise(whole, small, "q4_k_m", 2, library)
        exact, llama = Llama(whole, 128, 2, library), Llama(small, 128, 2, library)
        prompt = list(range(3, 67))
        expected, quantised = exact.logits(prompt), llama.logits(prompt)
        difference = float((expected - quantised).std() / expected.std())
        generated = llama.write(prompt, PROBE_TOKENS)
        exact.close()
        llama.close()
    if not difference < PROBE_DIFFERENCE or len(generated) != PROBE_TOKENS:
        wrong = "llama.cpp computes wrong numbers here: quantised logits differ from those in 32"
        raise LibraryError(f"{wrong} bits by {difference:.3g} of their spread.")
    return {
        "event": "probe",
        "tokens": len(prompt) + len(generated),
        "logit_difference": round(difference, 4),
        "seconds": round(time.monotonic() - started, 2),
    }

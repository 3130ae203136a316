"""llama.cpp as far as an export needs it: decode, logits, tokens, quantisation, and the proof that a build works on this machine.

It works on the shared library of xllamacpp, which is installed ready-made, and on the libllama of llama-cpp-python. Structures are passed
whole, with room to spare after the fields that are used here, so that fields which a newer build appends do no harm.

    python deployments/jobs/llama_library.py probe [--library libllama.so]

Sources: include/llama.h, ggml/include/ggml.h, ggml/include/gguf.h and src/llama-quant.cpp of https://github.com/ggml-org/llama.cpp (MIT).
"""

import argparse
import ctypes
import json
import os
import random
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_bool, c_char, c_char_p, c_float, c_int8, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Any

import numpy

F32, F16, BF16 = 0, 1, 30
TYPES = {"q4_0": 2, "q4_1": 3, "q5_0": 6, "q5_1": 7, "q8_0": 8, "q2_k": 10, "q3_k": 11, "q4_k": 12, "q5_k": 13, "q6_k": 14}
"""Numbers of ggml's types (enum ggml_type)."""
NAMES = {number: name for name, number in TYPES.items()} | {F32: "f32", F16: "f16", BF16: "bf16"}
MIXTURES = {"q2_k": 10, "q3_k_m": 12, "q4_0": 2, "q4_k_s": 14, "q4_k_m": 15, "q5_k_m": 17, "q6_k": 18, "q8_0": 7}
"""Numbers of the files that can be made (enum llama_ftype)."""
NARROWER = {"q2_k": "q4_0", "q3_k": "q4_0", "q4_k": "q5_0", "q5_k": "q5_1", "q6_k": "q8_0"}
"""What takes the place of a type whose blocks of 256 do not divide a matrix's rows: types with blocks of 32."""
NEVER = ("_norm.weight", "ffn_gate_inp.weight", "altup", "laurel", "per_layer_model_proj", "ssm_conv1d", "shortconv.conv.weight", ".position_embd")
"""Parts of the names of matrices that stay as they are."""
BATCH = 512
"""Tokens that are decoded at once."""
CHUNK = 4 * 2**20
"""Numbers that one thread quantises at once: 16 MB as 32-bit floats."""
LIKELY = 40
"""Tokens of which one is drawn (llama.cpp's own top_k)."""
PROBE_DIFFERENCE, PROBE_TOKENS = 0.5, 8
"""Spread of the quantised model's errors against that of its logits, at which a build computes something else (0.14 is usual); tokens that are written."""
PROBE_SIGNAL_VARIABLE = "UNDERSTUDY_PROBE_SIGNAL"
"""Name of a signal by which the probe kills itself, to see what its caller makes of that."""


class LibraryError(Exception):
    """Something that llama.cpp cannot do; its text is one sentence."""


class ModelParameters(ctypes.Structure):
    """struct llama_model_params."""

    _pointers = ("tensor_split", "progress_callback", "progress_callback_user_data", "kv_overrides")
    _fields_ = (
        *(("devices", c_void_p), ("tensor_buft_overrides", c_void_p)),
        *((name, c_int32) for name in ("n_gpu_layers", "split_mode", "load_mode", "lazy_mode", "main_gpu")),
        *((name, c_void_p) for name in _pointers),
        *(("vocab_only", c_bool), ("rest", c_char * 247)),
    )


class ContextParameters(ctypes.Structure):
    """struct llama_context_params."""

    _names = ("n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq")
    _fields_ = (*((name, c_uint32) for name in _names), ("n_threads", c_int32), ("n_threads_batch", c_int32), ("pad", c_int32), ("rest", c_int64 * 64))


class Batch(ctypes.Structure):
    """struct llama_batch."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", POINTER(c_int32)),
        ("embd", POINTER(c_float)),
        ("pos", POINTER(c_int32)),
        ("n_seq_id", POINTER(c_int32)),
        ("seq_id", POINTER(POINTER(c_int32))),
        ("logits", POINTER(c_int8)),
    )


class GgufParameters(ctypes.Structure):
    """struct gguf_init_params."""

    _fields_ = (("no_alloc", c_bool), ("ctx", POINTER(c_void_p)))


class GgmlParameters(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (c_void_p, c_void_p)),
    "llama_model_default_params": (ModelParameters, ()),
    "llama_context_default_params": (ContextParameters, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParameters)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParameters)),
    "llama_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_meta_val_str": (c_int32, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_get_text": (c_char_p, (c_void_p, c_int32)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_vocab_bos": (c_int32, (c_void_p,)),
    "llama_vocab_eos": (c_int32, (c_void_p,)),
    "llama_vocab_get_add_bos": (c_bool, (c_void_p,)),
    "llama_tokenize": (c_int32, (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
    "llama_batch_init": (Batch, (c_int32, c_int32, c_int32)),
    "llama_batch_free": (None, (Batch,)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
    "ggml_init": (c_void_p, (GgmlParameters,)),
    "ggml_free": (None, (c_void_p,)),
    "ggml_new_tensor_1d": (c_void_p, (c_void_p, c_int32, c_int64)),
    "ggml_new_tensor_2d": (c_void_p, (c_void_p, c_int32, c_int64, c_int64)),
    "ggml_set_name": (c_void_p, (c_void_p, c_char_p)),
    "ggml_get_tensor": (c_void_p, (c_void_p, c_char_p)),
    "ggml_get_data_f32": (c_void_p, (c_void_p,)),
    "ggml_nelements": (c_int64, (c_void_p,)),
    "ggml_nrows": (c_int64, (c_void_p,)),
    "ggml_n_dims": (c_int32, (c_void_p,)),
    "ggml_row_size": (c_size_t, (c_int32, c_int64)),
    "ggml_blck_size": (c_int64, (c_int32,)),
    "ggml_fp16_to_fp32_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_bf16_to_fp32_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_fp32_to_fp16_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_quantize_init": (None, (c_int32,)),
    "ggml_quantize_chunk": (c_size_t, (c_int32, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p)),
    "ggml_validate_row_data": (c_bool, (c_int32, c_void_p, c_size_t)),
    "gguf_init_empty": (c_void_p, ()),
    "gguf_init_from_file": (c_void_p, (c_char_p, GgufParameters)),
    "gguf_free": (None, (c_void_p,)),
    "gguf_find_key": (c_int64, (c_void_p, c_char_p)),
    "gguf_get_val_str": (c_char_p, (c_void_p, c_int64)),
    "gguf_get_val_u32": (c_uint32, (c_void_p, c_int64)),
    "gguf_set_val_u32": (None, (c_void_p, c_char_p, c_uint32)),
    "gguf_set_val_f32": (None, (c_void_p, c_char_p, c_float)),
    "gguf_set_val_str": (None, (c_void_p, c_char_p, c_char_p)),
    "gguf_get_alignment": (c_size_t, (c_void_p,)),
    "gguf_get_n_tensors": (c_int64, (c_void_p,)),
    "gguf_get_tensor_name": (c_char_p, (c_void_p, c_int64)),
    "gguf_get_tensor_type": (c_int32, (c_void_p, c_int64)),
    "gguf_get_tensor_offset": (c_size_t, (c_void_p, c_int64)),
    "gguf_get_data_offset": (c_size_t, (c_void_p,)),
    "gguf_add_tensor": (None, (c_void_p, c_void_p)),
    "gguf_set_tensor_type": (None, (c_void_p, c_char_p, c_int32)),
    "gguf_get_meta_size": (c_size_t, (c_void_p,)),
    "gguf_get_meta_data": (None, (c_void_p, c_void_p)),
    "gguf_write_to_file": (c_bool, (c_void_p, c_char_p, c_bool)),
}

_SILENT = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)(lambda *_: None)
"""Takes llama.cpp's log; it must stay alive as long as the library does."""


@cache
def open_library(path: Path | None = None) -> Any:
    """Return llama.cpp's shared library with the types of its functions.

    Args:
        path: of the library; by default that of xllamacpp.

    Raises:
        LibraryError: it cannot be loaded, or lacks a function.
    """
    try:
        _bring_openmp()
        if path is None:
            path = Path(str(import_module("xllamacpp.xllamacpp").__file__))
        library = ctypes.CDLL(str(path))
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments
    except (OSError, ImportError, AttributeError) as error:
        raise LibraryError(f"llama.cpp cannot be loaded from {path or 'xllamacpp'} ({error}); install it again, or give another library.") from None
    library.llama_log_set(_SILENT, None)
    library.llama_backend_init()
    return library


def _bring_openmp() -> None:
    """Load torch's own libgomp where the system has none: xllamacpp expects one, which comes with a compiler."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        torch = find_spec("torch")
        own = Path(str(torch.origin)).parent / "lib" / "libgomp.so.1" if torch else None
        if own and own.is_file():
            ctypes.CDLL(str(own), ctypes.RTLD_GLOBAL)


class Llama:
    """A GGUF file in memory."""

    def __init__(self, path: Path, context: int, threads: int, library: Path | None = None) -> None:
        """Load it.

        Args:
            context: tokens that a prompt and what is written after it may take together; 0 loads the vocabulary alone.

        Raises:
            LibraryError: the file cannot be loaded, or its context does not fit the memory.
        """
        self._library = lib = open_library(library)
        self._batch: Any = None
        self._context: Any = None
        parameters = lib.llama_model_default_params()
        parameters.n_gpu_layers = 0  # what is proven is the file: on every machine by the same arithmetic
        parameters.vocab_only = context == 0
        self._model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            raise LibraryError(f"llama.cpp cannot load {path}; see that the file is whole and fits the memory.")
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self.vocabulary_size: int = lib.llama_vocab_n_tokens(self._vocabulary)
        self._length = 0
        if not context:
            return
        settings = lib.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch, settings.n_outputs_max = context, BATCH, BATCH, BATCH
        settings.n_threads = settings.n_threads_batch = threads
        self._context = lib.llama_init_from_model(self._model, settings)
        if not self._context:
            lib.llama_model_free(self._model)
            raise LibraryError(f"llama.cpp cannot hold {context} tokens of {path.name} in memory; use shorter texts or a larger machine.")
        self._batch = lib.llama_batch_init(BATCH, 0, 1)

    def close(self) -> None:
        """Take it out of memory."""
        if self._batch is not None:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)
        self._batch = self._model = None

    def reset(self) -> None:
        """Forget all tokens."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)
        self._length = 0

    def decode(self, ids: list[int]) -> Any:
        """Return the logits after each of some tokens that follow those before: an array of tokens by vocabulary.

        Raises:
            LibraryError: llama.cpp refuses them.
        """
        parts = []
        for start in range(0, len(ids), BATCH):
            part = ids[start : start + BATCH]
            for place, token in enumerate(part):
                self._batch.token[place], self._batch.pos[place], self._batch.logits[place] = token, self._length + place, 1
                self._batch.n_seq_id[place], self._batch.seq_id[place][0] = 1, 0
            self._batch.n_tokens = len(part)
            if code := self._library.llama_decode(self._context, self._batch):
                raise LibraryError(f"llama.cpp cannot decode {len(part)} tokens after {self._length} (code {code}); the context may be full.")
            rows = [self._library.llama_get_logits_ith(self._context, place) for place in range(len(part))]
            parts.append(numpy.stack([numpy.ctypeslib.as_array(row, (self.vocabulary_size,)).copy() for row in rows]))
            self._length += len(part)
        return numpy.concatenate(parts)

    def logits(self, ids: list[int]) -> Any:
        """Return the logits after each token of a text that begins anew."""
        self.reset()
        return self.decode(ids)

    def write(self, ids: list[int], limit: int, temperature: float = 0.0) -> list[int]:
        """Return tokens after a prompt, up to and with the one that ends the generation.

        Args:
            temperature: 0 takes the likeliest token; else one of the 40 likeliest is drawn, always the same way.
        """
        written: list[int] = []
        draw, row = numpy.random.default_rng(0), self.logits(ids)[-1]
        while len(written) < limit:
            if temperature:
                likely = numpy.argsort(row)[-LIKELY:]
                weights = numpy.exp((row[likely] - row[likely[-1]]).astype(numpy.float64) / temperature)
                written.append(int(draw.choice(likely, p=weights / weights.sum())))
            else:
                written.append(int(row.argmax()))
            if self.is_end(written[-1]):
                break
            row = self.decode(written[-1:])[-1]
        return written

    def tokenize(self, text: str, begin: bool = False) -> list[int]:
        """Return the tokens of a text; special tokens in it are read as such.

        Args:
            begin: whether llama.cpp puts before it what it puts before a prompt, such as a BOS.
        """
        data = text.encode()
        room = (c_int32 * (len(data) + 16))()
        count = self._library.llama_tokenize(self._vocabulary, data, len(data), room, len(room), begin, True)
        return list(room[: max(0, count)])

    def is_end(self, token: int) -> bool:
        """Say whether a token ends a generation."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def text_of(self, token: int) -> str:
        """Return a token as the vocabulary has it; nothing for a number that is none."""
        if not 0 <= token < self.vocabulary_size:
            return ""
        return (self._library.llama_vocab_get_text(self._vocabulary, token) or b"").decode(errors="replace")

    def special(self, name: str) -> int:
        """Return the number of the `bos` or `eos` token."""
        return int(getattr(self._library, f"llama_vocab_{name}")(self._vocabulary))

    @property
    def adds_bos(self) -> bool:
        """Whether llama.cpp puts a BOS before a text."""
        return bool(self._library.llama_vocab_get_add_bos(self._vocabulary))

    def metadata(self, key: str) -> str | None:
        """Return a text of the file's metadata."""
        length = self._library.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if length < 0:
            return None
        room = ctypes.create_string_buffer(length + 1)
        self._library.llama_model_meta_val_str(self._model, key.encode(), room, len(room))
        return room.value.decode()


# --- quantisation ---


def quantise(source: Path, target: Path, kind: str, threads: int, library: Path | None = None) -> dict[str, tuple[str, str]]:
    """Write a 16-bit or 32-bit GGUF again with smaller weights, by llama.cpp's own choice of types.

    Args:
        kind: one of MIXTURES.

    Returns:
        Name of each matrix with the type that it got and the one that was meant, where its rows do not divide by the blocks of that.

    Raises:
        LibraryError: the file cannot be read or is of a kind whose types are not known here.
    """
    lib, tensors = open_library(library), c_void_p()
    file = lib.gguf_init_from_file(os.fsencode(source), GgufParameters(True, ctypes.pointer(tensors)))
    if not file:
        raise LibraryError(f"llama.cpp cannot read {source}; convert it again.")
    try:
        found = {}
        for number in range(lib.gguf_get_n_tensors(file)):
            name = lib.gguf_get_tensor_name(file, number).decode()
            tensor = lib.ggml_get_tensor(tensors, name.encode())
            place = lib.gguf_get_data_offset(file) + lib.gguf_get_tensor_offset(file, number)
            rows, dimensions = lib.ggml_nrows(tensor), lib.ggml_n_dims(tensor)
            found[name] = (lib.gguf_get_tensor_type(file, number), place, rows, lib.ggml_nelements(tensor) // rows, dimensions)
        meant = choose_types(kind, {name: dimensions for name, (*_, dimensions) in found.items()}, **_shape(lib, file))
        chosen = {name: _fitting(lib, meant[name], columns) if name in meant else old for name, (old, _, _, columns, _) in found.items()}
        lib.gguf_set_val_u32(file, b"general.quantization_version", 2)
        lib.gguf_set_val_u32(file, b"general.file_type", MIXTURES[kind])
        for name, new in chosen.items():
            lib.gguf_set_tensor_type(file, name.encode(), new)
        head = ctypes.create_string_buffer(lib.gguf_get_meta_size(file))
        lib.gguf_get_meta_data(file, head)
        alignment = lib.gguf_get_alignment(file)
        with source.open("rb") as read, target.open("wb") as write, ThreadPoolExecutor(threads) as workers:
            write.write(head.raw)
            for name, (old, place, rows, columns, _) in found.items():
                read.seek(place)
                size = 0
                for piece in _convert(lib, read, old, chosen[name], rows, columns, workers, threads):
                    size += write.write(piece)
                write.write(b"\0" * (-size % alignment))
    finally:
        lib.gguf_free(file)
        lib.ggml_free(tensors)
    return {name: (NAMES[chosen[name]], kind) for name, kind in meant.items() if NAMES[chosen[name]] != kind}


def _shape(lib: Any, file: Any) -> dict[str, Any]:
    def number(key: str, default: int) -> int:
        place = lib.gguf_find_key(file, key.encode())
        return int(lib.gguf_get_val_u32(file, place)) if place >= 0 else default

    place = lib.gguf_find_key(file, b"general.architecture")
    arch = lib.gguf_get_val_str(file, place).decode() if place >= 0 else ""
    layers, heads = number(f"{arch}.block_count", 0), number(f"{arch}.attention.head_count", 1)
    if arch in ("", "falcon") or number(f"{arch}.expert_count", 0) > 1 or not layers:
        raise LibraryError(f"Files of the architecture {arch or 'unknown'!r} cannot be quantised here; use llama.cpp's llama-quantize.")
    return {"layers": layers, "shared": heads // number(f"{arch}.attention.head_count_kv", heads), "large": layers == 80 and arch in ("llama", "qwen2")}


def choose_types(kind: str, names: dict[str, int], layers: int, shared: int, large: bool) -> dict[str, str]:
    """Return the type that llama.cpp means each matrix of a dense model to have (llama_tensor_get_type_impl in src/llama-quant.cpp).

    Args:
        names: the tensors' names with the number of their dimensions.
        layers: blocks of the model.
        shared: query heads that share one key head.
        large: whether it is a model of about 70 billion parameters.
    """
    plain = kind.removesuffix("_m").removesuffix("_s")
    values = sorted((name for name in names if "attn_v.weight" in name or "attn_qkv.weight" in name), key=_place)
    down = sorted((name for name in names if "ffn_down" in name and names[name] > 1), key=_place)
    tied = "output.weight" not in names
    chosen = {}
    for name, dimensions in names.items():
        if dimensions < 2 or not name.endswith("weight") or any(part in name for part in NEVER):
            continue
        is_table = name == "output.weight" or (tied and name in ("token_embd.weight", "per_layer_token_embd.weight"))
        if is_table:
            chosen[name] = "q8_0" if kind == "q8_0" else "q6_k"
        elif name in values:
            chosen[name] = _value_type(kind, plain, values.index(name), len(values), shared)
            if "attn_qkv" not in name and large and chosen[name] in ("q3_k", "q4_k"):
                chosen[name] = "q5_k"
        elif name in down:
            chosen[name] = _down_type(kind, plain, down.index(name), layers)
        elif "attn_output.weight" in name:
            chosen[name] = {"q2_k": "q3_k", "q3_k_m": "q4_k"}.get(kind, plain)
        else:
            chosen[name] = plain
    return chosen


def _place(name: str) -> tuple[int, str]:
    parts = name.split(".")
    return (int(parts[1]) if len(parts) > 1 and parts[1].isdigit() else -1, name)


def _more_bits(number: int, of: int) -> bool:
    return number < of // 8 or number >= 7 * of // 8 or (number - of // 8) % 3 == 2


def _value_type(kind: str, plain: str, number: int, of: int, shared: int) -> str:
    if kind == "q2_k":
        return "q4_k" if shared >= 4 else "q3_k"
    if kind == "q3_k_m":
        return "q5_k" if number < 2 else "q4_k"
    if kind in ("q4_k_m", "q5_k_m") and _more_bits(number, of):
        return "q6_k"
    return "q5_k" if kind == "q4_k_s" and number < 4 else plain


def _down_type(kind: str, plain: str, number: int, of: int) -> str:
    if kind == "q2_k":
        return "q3_k"
    if kind == "q3_k_m":
        return "q5_k" if number < of // 16 else "q4_k"
    if kind in ("q4_k_m", "q5_k_m") and _more_bits(number, of):
        return "q6_k"
    return "q5_k" if kind == "q4_k_s" and number < of // 8 else plain


def _fitting(lib: Any, kind: str, columns: int) -> int:
    for name in (kind, NARROWER.get(kind, kind)):
        if columns % lib.ggml_blck_size(TYPES[name]) == 0:
            return TYPES[name]
    return F16


def _convert(lib: Any, read: IO[bytes], old: int, new: int, rows: int, columns: int, workers: ThreadPoolExecutor, threads: int) -> Iterator[bytes]:
    """Yield a tensor's bytes, a few rows at a time."""
    width, at_once = lib.ggml_row_size(old, columns), max(1, CHUNK // columns)
    if old == new:
        for start in range(0, rows, at_once):
            yield read.read(width * min(at_once, rows - start))
        return
    if old not in (F32, F16, BF16):
        raise LibraryError("The file is quantised already; quantise the 16-bit one.")

    def one(data: bytes) -> bytes:
        count = len(data) // width
        numbers = numpy.empty(count * columns, numpy.float32)
        if old == F32:
            numbers[:] = numpy.frombuffer(data, numpy.float32)
        else:
            (lib.ggml_fp16_to_fp32_row if old == F16 else lib.ggml_bf16_to_fp32_row)(data, numbers.ctypes.data, numbers.size)
        made = ctypes.create_string_buffer(lib.ggml_row_size(new, columns) * count)
        if new == F16:
            lib.ggml_fp32_to_fp16_row(numbers.ctypes.data, made, numbers.size)
        else:
            lib.ggml_quantize_chunk(new, numbers.ctypes.data, made, 0, count, columns, None)
        if not lib.ggml_validate_row_data(new, made, len(made)):
            raise LibraryError("A quantised matrix has a number that is none; the model's weights are broken.")
        return made.raw

    lib.ggml_quantize_init(new)
    for start in range(0, rows, at_once * threads):
        counts = [min(at_once, rows - begin) for begin in range(start, min(rows, start + at_once * threads), at_once)]
        yield from workers.map(one, [read.read(width * count) for count in counts])


# --- the proof that a build works on this machine ---


def write_tiny(path: Path, library: Path | None = None) -> None:
    """Write a model of one layer with random weights and no vocabulary, in 32 bits."""
    lib, width, inner, tokens = open_library(library), 256, 512, 512
    shapes = {"token_embd": (width, tokens), "output_norm": (width,), "blk.0.attn_norm": (width,), "blk.0.ffn_norm": (width,)}
    shapes |= {f"blk.0.attn_{part}": (width, width) for part in ("q", "k", "v", "output")}
    shapes |= {"blk.0.ffn_gate": (width, inner), "blk.0.ffn_up": (width, inner), "blk.0.ffn_down": (inner, width)}
    memory, file, draw = lib.ggml_init(GgmlParameters(32 * 2**20, None, False)), lib.gguf_init_empty(), random.Random(0)
    for key, text in {"general.architecture": "llama", "tokenizer.ggml.model": "no_vocab"}.items():
        lib.gguf_set_val_str(file, key.encode(), text.encode())
    numbers = {"block_count": 1, "context_length": 256, "embedding_length": width, "feed_forward_length": inner, "attention.head_count": 4}
    for key, number in (numbers | {"vocab_size": tokens, "rope.dimension_count": width // 4}).items():
        lib.gguf_set_val_u32(file, f"llama.{key}".encode(), number)
    lib.gguf_set_val_f32(file, b"llama.attention.layer_norm_rms_epsilon", 1e-5)
    for name, shape in shapes.items():
        make = lib.ggml_new_tensor_1d if len(shape) == 1 else lib.ggml_new_tensor_2d
        tensor = make(memory, F32, *shape)
        lib.ggml_set_name(tensor, f"{name}.weight".encode())
        values = [1.0 if len(shape) == 1 else draw.gauss(0, 0.05) for _ in range(lib.ggml_nelements(tensor))]
        ctypes.memmove(lib.ggml_get_data_f32(tensor), (c_float * len(values))(*values), 4 * len(values))
        lib.gguf_add_tensor(file, tensor)
    written = lib.gguf_write_to_file(file, os.fsencode(path), False)
    lib.gguf_free(file)
    lib.ggml_free(memory)
    if not written:
        raise LibraryError(f"llama.cpp cannot write {path}; see that there is space left.")


def probe(library: Path | None = None) -> dict[str, Any]:
    """Quantise a tiny model, load it, and decode a prompt and some tokens after it.

    A build that does not fit the CPU dies here of a signal, so this belongs into a process of its own.

    Raises:
        LibraryError: it does not come to numbers.
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
        wanted, found = exact.logits(prompt), llama.logits(prompt)
        difference = float((wanted - found).std() / wanted.std())
        written = llama.write(prompt, PROBE_TOKENS)
        exact.close()
        llama.close()
    if not difference < PROBE_DIFFERENCE or len(written) != PROBE_TOKENS:
        raise LibraryError(f"llama.cpp computes wrong numbers here: quantised logits differ from those in 32 bits by {difference:.3g} of their spread.")
    return {"event": "probe", "tokens": len(prompt) + len(written), "logit_difference": round(difference, 4), "seconds": round(time.monotonic() - started, 2)}


_SERVERS: list[Any] = []
"""Kept alive: taking one away can wait for ever. The process ends without it."""


def render(path: Path, chats: list[list[dict[str, str]]]) -> list[str]:
    """Return the prompts that llama.cpp's server makes of conversations, by its own reading of a file's chat template.

    Raises:
        LibraryError: xllamacpp's server does not load the file, or cannot read the template.
    """
    try:
        xllamacpp: Any = import_module("xllamacpp")
        parameters = xllamacpp.CommonParams()
        parameters.model.path, parameters.n_ctx, parameters.n_parallel, parameters.n_gpu_layers, parameters.warmup = str(path), 64, 1, 0, False
        server = xllamacpp.Server(parameters)
        _SERVERS.append(server)
        prompts = []
        for chat in chats:
            body, kind = json.dumps({"messages": chat}).encode(), {"Content-Type": "application/json"}
            with urllib.request.urlopen(urllib.request.Request(f"{server.listening_address}/apply-template", body, kind), timeout=60) as reply:
                prompts.append(str(json.load(reply)["prompt"]))
    except (ImportError, RuntimeError, OSError, KeyError) as error:
        raise LibraryError(f"llama.cpp's server cannot render the chat template of {path.name} ({error}); give a simpler template.") from None
    return prompts


def main(words: list[str] | None = None) -> int:
    """Run the probe, or render the conversations on standard input; print the result as one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    actions = parser.add_subparsers(dest="action", required=True)
    actions.add_parser("probe").add_argument("--library", type=Path, help="shared library of llama.cpp; that of xllamacpp by default")
    actions.add_parser("render").add_argument("file", type=Path, help="GGUF file; conversations come by standard input")
    arguments = parser.parse_args(words)
    try:
        print(json.dumps(probe(arguments.library) if arguments.action == "probe" else render(arguments.file, json.load(sys.stdin))), flush=True)
        if _SERVERS:
            os._exit(0)
    except LibraryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

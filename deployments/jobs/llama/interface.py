"""llama.cpp's C interface: structures, function signatures, and loading of the library."""

import ctypes
from ctypes import (
    POINTER,
    c_bool,
    c_char,
    c_char_p,
    c_float,
    c_int8,
    c_int32,
    c_int64,
    c_size_t,
    c_uint32,
    c_void_p,
)
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


class LibraryError(Exception):
    """Raised when llama.cpp cannot do something. Its text is one sentence."""


class ModelParameters(ctypes.Structure):
    """struct llama_model_params."""

    _pointers = ("tensor_split", "progress_callback", "progress_callback_user_data", "kv_overrides")
    _fields_ = (
        *(("devices", c_void_p), ("tensor_buft_overrides", c_void_p)),
        *(
            (name, c_int32)
            for name in ("n_gpu_layers", "split_mode", "load_mode", "lazy_mode", "main_gpu")
        ),
        *((name, c_void_p) for name in _pointers),
        *(("vocab_only", c_bool), ("rest", c_char * 247)),
    )


class ContextParameters(ctypes.Structure):
    """struct llama_context_params."""

    _names = (
        "n_ctx",
        "n_batch",
        "n_ubatch",
        "n_seq_max",
        "n_rs_seq",
        "n_outputs_max",
        "n_outputs_max_per_seq",
    )
    _kinds = (
        "ctx_type",
        "rope_scaling_type",
        "pooling_type",
        "attention_type",
        "flash_attn_type",
    )
    _fields_ = (
        *((name, c_uint32) for name in _names),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        *((name, c_int32) for name in _kinds),
        *(("rope", c_float * 6), ("yarn_orig_ctx", c_uint32), ("defrag_thold", c_float)),
        *(("cb_eval", c_void_p), ("cb_eval_user_data", c_void_p)),
        *(("type_k", c_int32), ("type_v", c_int32)),
        ("rest", c_int64 * 56),
    )


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


class Tensor(ctypes.Structure):
    """struct ggml_tensor, up to its data and name."""

    _fields_ = (
        *(("type", c_int32), ("buffer", c_void_p)),
        *(("ne", c_int64 * 4), ("nb", c_size_t * 4)),
        *(("op", c_int32), ("op_params", c_int32 * 16), ("flags", c_int32)),
        *(("src", c_void_p * 10), ("view_src", c_void_p), ("view_offs", c_size_t)),
        *(("data", c_void_p), ("name", c_char * 64)),
    )


EVALUATED = ctypes.CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
"""ggml_backend_sched_eval_callback: called before a tensor is computed, to ask whether it is
wanted, and after it."""


SIGNATURES: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llama_backend_init": (None, ()),
    "llama_log_set": (None, (c_void_p, c_void_p)),
    "llama_model_default_params": (ModelParameters, ()),
    "llama_context_default_params": (ContextParameters, ()),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParameters)),
    "llama_model_free": (None, (c_void_p,)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParameters)),
    "llama_free": (None, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_meta_val_str": (c_int32, (c_void_p, c_char_p, c_char_p, c_size_t)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_get_text": (c_char_p, (c_void_p, c_int32)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_vocab_bos": (c_int32, (c_void_p,)),
    "llama_vocab_eos": (c_int32, (c_void_p,)),
    "llama_vocab_get_add_bos": (c_bool, (c_void_p,)),
    "llama_tokenize": (
        c_int32,
        (c_void_p, c_char_p, c_int32, POINTER(c_int32), c_int32, c_bool, c_bool),
    ),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_memory_seq_pos_min": (c_int32, (c_void_p, c_int32)),
    "llama_batch_init": (Batch, (c_int32, c_int32, c_int32)),
    "llama_batch_free": (None, (Batch,)),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_get_logits_ith": (POINTER(c_float), (c_void_p, c_int32)),
    "llama_adapter_lora_init": (c_void_p, (c_void_p, c_char_p)),
    "llama_set_adapters_lora": (c_int32, (c_void_p, POINTER(c_void_p), c_size_t, POINTER(c_float))),
    "ggml_init": (c_void_p, (GgmlParameters,)),
    "ggml_free": (None, (c_void_p,)),
    "ggml_new_tensor_1d": (c_void_p, (c_void_p, c_int32, c_int64)),
    "ggml_new_tensor_2d": (c_void_p, (c_void_p, c_int32, c_int64, c_int64)),
    "ggml_set_name": (c_void_p, (c_void_p, c_char_p)),
    "ggml_get_tensor": (c_void_p, (c_void_p, c_char_p)),
    "ggml_get_data_f32": (c_void_p, (c_void_p,)),
    "ggml_get_name": (c_char_p, (c_void_p,)),
    "ggml_op_name": (c_char_p, (c_int32,)),
    "ggml_nelements": (c_int64, (c_void_p,)),
    "ggml_nrows": (c_int64, (c_void_p,)),
    "ggml_n_dims": (c_int32, (c_void_p,)),
    "ggml_row_size": (c_size_t, (c_int32, c_int64)),
    "ggml_blck_size": (c_int64, (c_int32,)),
    "ggml_fp16_to_fp32_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_bf16_to_fp32_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_fp32_to_fp16_row": (None, (c_void_p, c_void_p, c_int64)),
    "ggml_quantize_init": (None, (c_int32,)),
    "ggml_quantize_chunk": (
        c_size_t,
        (c_int32, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p),
    ),
    "ggml_validate_row_data": (c_bool, (c_int32, c_void_p, c_size_t)),
    "gguf_init_empty": (c_void_p, ()),
    "gguf_init_from_file": (c_void_p, (c_char_p, GgufParameters)),
    "gguf_free": (None, (c_void_p,)),
    "gguf_find_key": (c_int64, (c_void_p, c_char_p)),
    "gguf_get_val_str": (c_char_p, (c_void_p, c_int64)),
    "gguf_get_val_u32": (c_uint32, (c_void_p, c_int64)),
    "gguf_get_kv_type": (c_int32, (c_void_p, c_int64)),
    "gguf_get_arr_data": (c_void_p, (c_void_p, c_int64)),
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
"""Discards llama.cpp's log. It must stay alive as long as the library does."""


@cache
def open_library(path: Path | None = None) -> Any:
    """Load llama.cpp's shared library and declare the types of its functions.

    Args:
        path: path of the library; None for xllamacpp's.

    Raises:
        LibraryError: the library cannot be loaded, or lacks a function.
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
        wrong = f"llama.cpp cannot be loaded from {path or 'xllamacpp'} ({error})"
        raise LibraryError(f"{wrong}; install it again, or give another library.") from None
    library.llama_log_set(_SILENT, None)
    library.llama_backend_init()
    return library


def _bring_openmp() -> None:
    """Load libgomp, which xllamacpp needs: torch's own if the system has none."""
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError:
        torch = find_spec("torch")
        own = Path(str(torch.origin)).parent / "lib" / "libgomp.so.1" if torch else None
        if own and own.is_file():
            ctypes.CDLL(str(own), ctypes.RTLD_GLOBAL)

"""GGUF files with smaller weights."""

import ctypes
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_uint32, c_void_p
from pathlib import Path
from typing import IO, Any

import numpy

from .interface import GgufParameters, LibraryError, open_library
from .types import BF16, F16, F32, MIXTURES, NAMES, NARROWER, TYPES, choose_types

ARRAY = 9
"""Number of lists among the kinds of values of a GGUF file (enum gguf_type)."""
CHUNK = 4 * 2**20
"""Numbers that one thread quantises at once: 16 MB as 32-bit floats."""


def quantise(
    source: Path, target: Path, kind: str, threads: int, library: Path | None = None
) -> dict[str, tuple[str, str]]:
    """Write a 16-bit or 32-bit GGUF again with smaller weights, by llama.cpp's own choice of types.

    Args:
        kind: one of MIXTURES.

    Returns:
        Name of each matrix with the type that it got and the one that was meant, where its rows do
        not divide by the blocks of that.

    Raises:
        LibraryError: the file cannot be read or is of a kind whose types are not known here.
    """
    lib, tensors = open_library(library), c_void_p()
    file = lib.gguf_init_from_file(
        os.fsencode(source), GgufParameters(True, ctypes.pointer(tensors))
    )
    if not file:
        raise LibraryError(f"llama.cpp cannot read {source}; convert it again.")
    try:
        found = {}
        for number in range(lib.gguf_get_n_tensors(file)):
            name = lib.gguf_get_tensor_name(file, number).decode()
            tensor = lib.ggml_get_tensor(tensors, name.encode())
            place = lib.gguf_get_data_offset(file) + lib.gguf_get_tensor_offset(file, number)
            rows, dimensions = lib.ggml_nrows(tensor), lib.ggml_n_dims(tensor)
            columns, old = (
                lib.ggml_nelements(tensor) // rows,
                lib.gguf_get_tensor_type(file, number),
            )
            found[name] = (old, place, rows, columns, dimensions)
        dimensions_of = {name: dimensions for name, (*_, dimensions) in found.items()}
        meant = choose_types(kind, dimensions_of, **_shape(lib, file))
        chosen = {
            name: _fitting(lib, meant[name], columns) if name in meant else old
            for name, (old, _, _, columns, _) in found.items()
        }
        lib.gguf_set_val_u32(file, b"general.quantization_version", 2)
        lib.gguf_set_val_u32(file, b"general.file_type", MIXTURES[kind])
        for name, new in chosen.items():
            lib.gguf_set_tensor_type(file, name.encode(), new)
        head = ctypes.create_string_buffer(lib.gguf_get_meta_size(file))
        lib.gguf_get_meta_data(file, head)
        alignment = lib.gguf_get_alignment(file)
        with (
            source.open("rb") as read,
            target.open("wb") as write,
            ThreadPoolExecutor(threads) as workers,
        ):
            write.write(head.raw)
            for name, (old, place, rows, columns, _) in found.items():
                read.seek(place)
                new, size = chosen[name], 0
                for piece in _convert(lib, read, old, new, rows, columns, workers, threads):
                    size += write.write(piece)
                write.write(b"\0" * (-size % alignment))
    finally:
        lib.gguf_free(file)
        lib.ggml_free(tensors)
    got = {name: NAMES[chosen[name]] for name in meant}
    return {name: (got[name], meant[name]) for name in meant if got[name] != meant[name]}


def _shape(lib: Any, file: Any) -> dict[str, Any]:
    def number(key: str, default: int) -> int:
        place = lib.gguf_find_key(file, key.encode())
        if place >= 0 and lib.gguf_get_kv_type(file, place) == ARRAY:
            # One for each layer, as of LFM2 and Gemma 4; llama.cpp looks at the first as well.
            return int(ctypes.cast(lib.gguf_get_arr_data(file, place), POINTER(c_uint32))[0])
        return int(lib.gguf_get_val_u32(file, place)) if place >= 0 else default

    place = lib.gguf_find_key(file, b"general.architecture")
    arch = lib.gguf_get_val_str(file, place).decode() if place >= 0 else ""
    layers, heads = number(f"{arch}.block_count", 0), number(f"{arch}.attention.head_count", 1)
    if arch in ("", "falcon") or number(f"{arch}.expert_count", 0) > 1 or not layers:
        wrong = f"Files of the architecture {arch or 'unknown'!r} cannot be quantised here"
        raise LibraryError(f"{wrong}; use llama.cpp's llama-quantize.")
    keys = number(f"{arch}.attention.head_count_kv", heads)
    return {
        "layers": layers,
        "shared": heads // keys if keys else 0,  # a first layer without attention has none
        "large": layers == 80 and arch in ("llama", "qwen2"),
    }


def _fitting(lib: Any, kind: str, columns: int) -> int:
    for name in (kind, NARROWER.get(kind, kind)):
        if columns % lib.ggml_blck_size(TYPES[name]) == 0:
            return TYPES[name]
    return F16


def _convert(
    lib: Any,
    read: IO[bytes],
    old: int,
    new: int,
    rows: int,
    columns: int,
    workers: ThreadPoolExecutor,
    threads: int,
) -> Iterator[bytes]:
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
            widen = lib.ggml_fp16_to_fp32_row if old == F16 else lib.ggml_bf16_to_fp32_row
            widen(data, numbers.ctypes.data, numbers.size)
        made = ctypes.create_string_buffer(lib.ggml_row_size(new, columns) * count)
        if new == F16:
            lib.ggml_fp32_to_fp16_row(numbers.ctypes.data, made, numbers.size)
        else:
            lib.ggml_quantize_chunk(new, numbers.ctypes.data, made, 0, count, columns, None)
        if not lib.ggml_validate_row_data(new, made, len(made)):
            wrong = "A quantised matrix has a number that is none"
            raise LibraryError(f"{wrong}; the model's weights are broken.")
        return made.raw

    lib.ggml_quantize_init(new)
    for start in range(0, rows, at_once * threads):
        begins = range(start, min(rows, start + at_once * threads), at_once)
        counts = [min(at_once, rows - begin) for begin in begins]
        yield from workers.map(one, [read.read(width * count) for count in counts])

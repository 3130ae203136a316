"""Quantising of GGUF files."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from ctypes import POINTER, c_uint32, c_void_p
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy

from .interface import GgufParameters, LibraryError, open_library
from .types import BF16, F16, F32, MIXTURES, NAMES, NARROWER, TYPES, choose_types

ARRAY = 9
"""The type of arrays among the values of a GGUF file (enum gguf_type)."""
CHUNK = 4 * 2**20
"""Number of weights that a thread quantises at once: 16 MB as 32-bit floats."""


def quantise(
    source: Path,
    target: Path,
    kind: str,
    threads: int,
    library: Path | None = None,
    importance: Mapping[str, Any] | None = None,
) -> dict[str, tuple[str, str]]:
    """Quantise a 16-bit or 32-bit GGUF, with the types that llama.cpp itself would choose.

    Args:
        kind: one of MIXTURES.
        importance: importance of the columns of each matrix, as 32-bit floats. More important
            columns are rounded less.

    Returns:
        The matrices that got another type than intended: name → (type used, type intended). The
        length of their rows is not a multiple of the intended type's block size.

    Raises:
        LibraryError: the file cannot be read, or its architecture is not supported here.
    """
    lib, tensors = open_library(library), c_void_p()
    file = lib.gguf_init_from_file(
        os.fsencode(source), GgufParameters(True, ctypes.pointer(tensors))
    )
    if not file:
        raise LibraryError(f"llama.cpp cannot read {source}; convert it again.")
    try:
        matrices = _read(lib, file, tensors)
        dimensions = {matrix.name: matrix.dimensions for matrix in matrices}
        intended = choose_types(kind, dimensions, guided=bool(importance), **_shape(lib, file))
        chosen = {
            matrix.name: _fitting(lib, intended[matrix.name], matrix.columns)
            if matrix.name in intended
            else matrix.old
            for matrix in matrices
        }
        head, alignment = _head(lib, file, kind, chosen, importance), lib.gguf_get_alignment(file)
        with source.open("rb") as read, target.open("wb") as write:
            write.write(head)
            with ThreadPoolExecutor(threads) as workers:
                convert = _Converter(lib, read, workers, threads, importance or {})
                for matrix in matrices:
                    size = sum(map(write.write, convert.pieces(matrix, chosen[matrix.name])))
                    write.write(b"\0" * (-size % alignment))
    finally:
        lib.gguf_free(file)
        lib.ggml_free(tensors)
    got = {name: NAMES[chosen[name]] for name in intended}
    return {name: (got[name], intended[name]) for name in intended if got[name] != intended[name]}


class _Matrix(NamedTuple):
    """A tensor of the source: its type, its offset in the file and its shape."""

    name: str
    old: int
    place: int
    rows: int
    columns: int
    dimensions: int


def _read(lib: Any, file: Any, tensors: Any) -> list[_Matrix]:
    matrices = []
    for number in range(lib.gguf_get_n_tensors(file)):
        name = lib.gguf_get_tensor_name(file, number).decode()
        tensor = lib.ggml_get_tensor(tensors, name.encode())
        place = lib.gguf_get_data_offset(file) + lib.gguf_get_tensor_offset(file, number)
        rows, old = lib.ggml_nrows(tensor), lib.gguf_get_tensor_type(file, number)
        columns, dimensions = lib.ggml_nelements(tensor) // rows, lib.ggml_n_dims(tensor)
        matrices.append(_Matrix(name, old, place, rows, columns, dimensions))
    return matrices


def _head(
    lib: Any, file: Any, kind: str, chosen: dict[str, int], importance: Mapping[str, Any] | None
) -> bytes:
    """Return the metadata of the new file."""
    lib.gguf_set_val_u32(file, b"general.quantization_version", 2)
    lib.gguf_set_val_u32(file, b"general.file_type", MIXTURES[kind])
    if importance:
        lib.gguf_set_val_u32(file, b"quantize.imatrix.entries_count", len(importance))
    for name, new in chosen.items():
        lib.gguf_set_tensor_type(file, name.encode(), new)
    head = ctypes.create_string_buffer(lib.gguf_get_meta_size(file))
    lib.gguf_get_meta_data(file, head)
    return head.raw


def _shape(lib: Any, file: Any) -> dict[str, Any]:
    def number(key: str, default: int) -> int:
        place = lib.gguf_find_key(file, key.encode())
        if place >= 0 and lib.gguf_get_kv_type(file, place) == ARRAY:
            # LFM2 and Gemma 4 have a value for each layer; llama.cpp uses the first, too.
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


class _Converter(NamedTuple):
    """Reads matrices and quantises them, some rows at a time."""

    lib: Any
    read: IO[bytes]
    workers: ThreadPoolExecutor
    threads: int
    importance: Mapping[str, Any]

    def pieces(self, matrix: _Matrix, new: int) -> Iterator[bytes]:
        """Yield the bytes of a matrix, converted to the type `new`."""
        self.read.seek(matrix.place)
        width = self.lib.ggml_row_size(matrix.old, matrix.columns)
        rows, at_once = matrix.rows, max(1, CHUNK // matrix.columns)
        if matrix.old == new:
            for start in range(0, rows, at_once):
                yield self.read.read(width * min(at_once, rows - start))
            return
        if matrix.old not in (F32, F16, BF16):
            raise LibraryError("The file is already quantised; quantise the 16-bit one.")
        self.lib.ggml_quantize_init(new)
        for start in range(0, rows, at_once * self.threads):
            begins = range(start, min(rows, start + at_once * self.threads), at_once)
            counts = [min(at_once, rows - begin) for begin in begins]
            parts = [self.read.read(width * count) for count in counts]
            yield from self.workers.map(lambda part: self._one(matrix, new, part, width), parts)

    def _one(self, matrix: _Matrix, new: int, data: bytes, width: int) -> bytes:
        lib, columns, count = self.lib, matrix.columns, len(data) // width
        numbers = numpy.empty(count * columns, numpy.float32)
        if matrix.old == F32:
            numbers[:] = numpy.frombuffer(data, numpy.float32)
        else:
            widen = lib.ggml_fp16_to_fp32_row if matrix.old == F16 else lib.ggml_bf16_to_fp32_row
            widen(data, numbers.ctypes.data, numbers.size)
        quantised = ctypes.create_string_buffer(lib.ggml_row_size(new, columns) * count)
        if new == F16:
            lib.ggml_fp32_to_fp16_row(numbers.ctypes.data, quantised, numbers.size)
        else:
            weights = self.importance.get(matrix.name)
            guide = weights.ctypes.data if weights is not None and weights.size == columns else None
            lib.ggml_quantize_chunk(new, numbers.ctypes.data, quantised, 0, count, columns, guide)
        if not lib.ggml_validate_row_data(new, quantised, len(quantised)):
            wrong = "A quantised matrix contains a value that is not a number"
            raise LibraryError(f"{wrong}; the model's weights are broken.")
        return quantised.raw

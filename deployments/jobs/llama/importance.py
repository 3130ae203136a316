"""The importance matrix: how strongly a text drives each column of a model's matrices.

Source: tools/imatrix/imatrix.cpp of llama.cpp, whose program no ready-made build brings.
"""

from collections.abc import Iterable
from ctypes import c_char
from pathlib import Path
from typing import Any

import numpy

from .interface import EVALUATED, LibraryError, Tensor, open_library
from .model import Llama
from .types import F32

LEAST_ROWS = 16
"""Tokens below which a batch is not counted, as in llama.cpp."""
LEAST_SHARE = 1e-6
"""Share of a matrix's mean that each column's importance has at least; rounding divides by it."""


class Importance:
    """Mean square of what comes into each column of each matrix, by the matrix's name."""

    def __init__(self, library: Path | None = None) -> None:
        """Begin with nothing."""
        self._library = open_library(library)
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._wrong = ""
        self.watch = EVALUATED(self._see)

    def _see(self, address: int, asking: bool, _: Any) -> bool:
        """Take what comes into a multiplication; nothing may be raised through llama.cpp."""
        try:
            tensor = Tensor.from_address(address)
            if self._library.ggml_op_name(tensor.op) != b"MUL_MAT":
                return not asking
            weights, coming = (Tensor.from_address(source) for source in tensor.src[:2])
            name = self._library.ggml_get_name(tensor.src[0])
            if name != weights.name:
                raise LibraryError("its tensors have another form")
            wanted = name.startswith(b"blk.") and name.endswith(b".weight")
            if not wanted or coming.type != F32 or coming.ne[1] < LEAST_ROWS or weights.ne[2] > 1:
                return not asking
            if not asking:
                self._add(name.decode(), coming)
        except Exception as error:
            self._wrong = self._wrong or str(error)
            return False
        return True

    def _add(self, name: str, coming: Any) -> None:
        data = (c_char * (coming.nb[3] * coming.ne[3])).from_address(coming.data)
        shape, strides = tuple(coming.ne)[::-1], tuple(coming.nb)[::-1]
        rows = numpy.ndarray(shape, numpy.float32, data, strides=strides)
        squares = numpy.square(rows, dtype=numpy.float64).sum((0, 1, 2))
        self._sums[name] = self._sums.get(name, 0) + squares
        self._counts[name] = self._counts.get(name, 0) + rows.size // rows.shape[-1]

    def means(self) -> dict[str, Any]:
        """Return the importance of each matrix's columns, as 32-bit floats.

        Raises:
            LibraryError: this build of llama.cpp does not show what it computes.
        """
        if self._wrong or not self._sums:
            wrong = f"This llama.cpp does not show what it computes ({self._wrong or 'no matrix'})"
            raise LibraryError(f"{wrong}; export without --imatrix.")
        found = {}
        for name, sums in self._sums.items():
            mean = sums / self._counts[name]
            found[name] = numpy.maximum(mean, LEAST_SHARE * mean.mean()).astype(numpy.float32)
        return found


def importance(
    path: Path, texts: Iterable[list[int]], context: int, threads: int, library: Path | None = None
) -> dict[str, Any]:
    """Return the importance of the columns of a GGUF's matrices for some texts.

    Args:
        texts: as tokens; each is read from an empty context.
        context: tokens of the longest.

    Raises:
        LibraryError: the file cannot be loaded, or this build does not show what it computes.
    """
    seen = Importance(library)
    llama = Llama(path, context, threads, library, watch=seen.watch)
    try:
        for ids in texts:
            llama.read(ids)
    finally:
        llama.close()
    return seen.means()

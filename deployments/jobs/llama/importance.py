"""The importance matrix: how strongly a text activates each column of a model's matrices.

Source: tools/imatrix/imatrix.cpp of llama.cpp. No prebuilt package contains that program.
"""

from collections.abc import Iterable
from ctypes import c_char
from pathlib import Path
from typing import Any

import numpy

from .interface import EVALUATED, LibraryError, Tensor, open_library
from .model import Llama
from .types import F32

MIN_ROWS = 16
"""Minimum number of tokens for a batch to count, as in llama.cpp."""
MIN_SHARE = 1e-6
"""Minimum importance of a column, as a share of its matrix's mean; rounding divides by it."""


class Importance:
    """Collects the mean square of the input to each column of each matrix, by matrix name."""

    def __init__(self, library: Path | None = None) -> None:
        """Start without any observations."""
        self._library = open_library(library)
        self._sums: dict[str, Any] = {}
        self._counts: dict[str, int] = {}
        self._wrong = ""
        self.watch = EVALUATED(self._see)

    def _see(self, address: int, asking: bool, _: Any) -> bool:
        """Add the input of a matrix multiplication. No exception may propagate through llama.cpp.

        Args:
            asking: whether llama.cpp asks, before it computes a tensor, if it is wanted.

        Returns:
            If asking, whether the tensor is wanted; else false to abort the computation.
        """
        try:
            tensor = Tensor.from_address(address)
            if self._library.ggml_op_name(tensor.op) != b"MUL_MAT":
                return not asking
            weights, coming = (Tensor.from_address(source) for source in tensor.src[:2])
            name = self._library.ggml_get_name(tensor.src[0])
            if name != weights.name:
                raise LibraryError("its tensors have another layout")
            is_layer = name.startswith(b"blk.") and name.endswith(b".weight")
            if not is_layer or coming.type != F32 or coming.ne[1] < MIN_ROWS or weights.ne[2] > 1:
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
            LibraryError: this build of llama.cpp does not expose its intermediate results.
        """
        if self._wrong or not self._sums:
            wrong = "This llama.cpp does not expose its intermediate results"
            wrong = f"{wrong} ({self._wrong or 'no matrix was seen'})"
            raise LibraryError(f"{wrong}; export without --imatrix.")
        means = {}
        for name, sums in self._sums.items():
            mean = sums / self._counts[name]
            means[name] = numpy.maximum(mean, MIN_SHARE * mean.mean()).astype(numpy.float32)
        return means


def importance(
    path: Path, texts: Iterable[list[int]], context: int, threads: int, library: Path | None = None
) -> dict[str, Any]:
    """Return how important the columns of a GGUF's matrices are for some texts.

    Args:
        texts: token ids; each text is read from an empty context.
        context: length of the longest text, in tokens.

    Raises:
        LibraryError: the file cannot be loaded, or this build of llama.cpp does not expose its
            intermediate results.
    """
    seen = Importance(library)
    llama = Llama(path, context, threads, library, watch=seen.watch)
    try:
        for ids in texts:
            llama.read(ids)
    finally:
        llama.close()
    return seen.means()

"""A GGUF file loaded by llama.cpp: tokenizing, logits and generation."""

import ctypes
import os
from collections.abc import Iterator
from ctypes import c_float, c_int32, c_void_p
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy

from .interface import LibraryError, open_library
from .types import F16

BATCH = 512
"""Number of tokens that are decoded at once."""
TOP_K = 40
"""Number of likeliest tokens from which one is drawn (llama.cpp's default top_k)."""


class Llama:
    """A GGUF file in memory."""

    def __init__(
        self,
        path: Path,
        context: int,
        threads: int,
        library: Path | None = None,
        adapter: Path | None = None,
        watch: Any = None,
    ) -> None:
        """Load the file.

        Args:
            context: maximum length of a prompt and its continuation together, in tokens; 0 loads
                only the vocabulary.
            adapter: GGUF file of a LoRA that is applied to the weights.
            watch: an EVALUATED, called for each tensor that is computed. The caller must keep it
                alive.

        Raises:
            LibraryError: a file cannot be loaded, or its context does not fit into memory.
        """
        self._library = lib = open_library(library)
        self._batch: Any = None
        self._context: Any = None
        parameters = lib.llama_model_default_params()
        # The CPU only, so that a file is checked with the same arithmetic on every machine.
        parameters.n_gpu_layers = 0
        parameters.vocab_only = context == 0
        self._model = lib.llama_model_load_from_file(os.fsencode(path), parameters)
        if not self._model:
            remedy = "check that the file is complete and fits into memory"
            raise LibraryError(f"llama.cpp cannot load {path}; {remedy}.")
        self._vocabulary = lib.llama_model_get_vocab(self._model)
        self.vocabulary_size: int = lib.llama_vocab_n_tokens(self._vocabulary)
        self._length = 0
        self._text, self._logits = (
            list[int](),
            numpy.empty((0, self.vocabulary_size), numpy.float32),
        )
        if not context:
            return
        self._context = self._open(path, context, threads, watch)
        self._batch = lib.llama_batch_init(BATCH, 0, 1)
        self._room: int = lib.llama_n_ctx(self._context)
        if adapter:
            self._apply(adapter)

    def _open(self, path: Path, context: int, threads: int, watch: Any) -> Any:
        """Return llama.cpp's context for texts of up to `context` tokens."""
        lib = self._library
        settings = lib.llama_context_default_params()
        settings.n_ctx = context
        settings.n_batch = settings.n_ubatch = settings.n_outputs_max = BATCH
        settings.n_threads = settings.n_threads_batch = threads
        if watch:
            if (settings.type_k, settings.type_v) != (F16, F16):
                wrong = "This llama.cpp does not expose its intermediate results"
                raise LibraryError(f"{wrong}; use the one in the pinned xllamacpp.")
            settings.cb_eval = ctypes.cast(watch, c_void_p)
        opened = lib.llama_init_from_model(self._model, settings)
        if not opened:
            lib.llama_model_free(self._model)
            wrong = f"llama.cpp cannot hold {context} tokens of {path.name} in memory"
            raise LibraryError(f"{wrong}; use shorter texts or a larger machine.")
        return opened

    def _apply(self, adapter: Path) -> None:
        lib = self._library
        # The adapter is freed with the model.
        loaded = (c_void_p * 1)(lib.llama_adapter_lora_init(self._model, os.fsencode(adapter)))
        if not loaded[0] or lib.llama_set_adapters_lora(self._context, loaded, 1, (c_float * 1)(1)):
            self.close()
            wrong = f"llama.cpp cannot apply {adapter.name}"
            raise LibraryError(f"{wrong}; check that the adapter belongs to this base.")

    def close(self) -> None:
        """Free the memory."""
        if self._batch is not None:
            self._library.llama_batch_free(self._batch)
            self._library.llama_free(self._context)
        self._library.llama_model_free(self._model)
        self._batch = self._model = None

    def reset(self) -> None:
        """Clear the context."""
        self._library.llama_memory_clear(self._library.llama_get_memory(self._context), True)
        self._length, self._text = 0, []

    def decode(self, ids: list[int]) -> Any:
        """Append tokens to the context; return the logits after each of them.

        Returns:
            An array of shape (tokens, vocabulary).

        Raises:
            LibraryError: the tokens do not fit into the context, or llama.cpp cannot decode them.
        """
        parts, size, logits_at = [], (self.vocabulary_size,), self._library.llama_get_logits_ith
        for count in self._feed(ids):
            rows = [logits_at(self._context, place) for place in range(count)]
            parts.append(numpy.stack([numpy.ctypeslib.as_array(row, size).copy() for row in rows]))
        return numpy.concatenate(parts)

    def read(self, ids: list[int]) -> None:
        """Decode a text from an empty context without returning logits; `watch` is called."""
        self.reset()
        for _ in self._feed(ids):
            pass

    def _feed(self, ids: list[int]) -> Iterator[int]:
        """Decode tokens in batches; yield the number of tokens in each."""
        batch, size = self._batch, min(BATCH, self._room)
        if self._length + len(ids) > self._room:
            # Checked here, since llama.cpp would abort the process.
            wrong = f"A text of {self._length + len(ids)} tokens does not fit the {self._room}"
            raise LibraryError(f"{wrong} that are loaded; raise --heldout-tokens or --context.")
        for start in range(0, len(ids), size):
            part = ids[start : start + size]
            for place, token in enumerate(part):
                batch.token[place], batch.pos[place] = token, self._length + place
                batch.n_seq_id[place], batch.seq_id[place][0], batch.logits[place] = 1, 0, 1
            batch.n_tokens = len(part)
            if code := self._library.llama_decode(self._context, batch):
                wrong = f"llama.cpp cannot decode {len(part)} tokens after {self._length}"
                raise LibraryError(f"{wrong} (code {code}); the context may be full.")
            self._length += len(part)
            yield len(part)

    def logits(self, ids: list[int]) -> Any:
        """Return the logits after each token of a text, decoded from an empty context.

        What a text begins with, such as the system prompt, is not decoded again for the next one.
        """
        same = self._keep_beginning(ids)
        rows = numpy.concatenate([self._logits[:same], self.decode(ids[same:])])
        self._text, self._logits = ids[:BATCH], rows[:BATCH].copy()
        return rows

    def _keep_beginning(self, ids: list[int]) -> int:
        """Clear the context but for the tokens with which the last text began, too.

        Returns:
            Their number; 0 where the model's memory cannot be cut, as a recurrent one's cannot.
        """
        pairs = zip(ids[:-1], self._text, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        lib, memory = self._library, self._library.llama_get_memory(self._context)
        # A window that slides has dropped the first positions of a long text.
        whole = same and lib.llama_memory_seq_pos_min(memory, 0) == 0
        if not (whole and lib.llama_memory_seq_rm(memory, 0, same, -1)):
            self.reset()
            return 0
        self._length, self._text = same, self._text[:same]
        return same

    def write(self, ids: list[int], limit: int, temperature: float = 0.0) -> list[int]:
        """Generate tokens after a prompt, up to and including the one that ends the generation.

        Args:
            limit: maximum number of tokens.
            temperature: 0 takes the likeliest token; otherwise one of the TOP_K likeliest is drawn,
                with a fixed seed.
        """
        written: list[int] = []
        draw, row = numpy.random.default_rng(0), self.logits(ids)[-1]
        while len(written) < limit:
            if temperature:
                likely = numpy.argsort(row)[-TOP_K:]
                weights = numpy.exp(
                    (row[likely] - row[likely[-1]]).astype(numpy.float64) / temperature
                )
                written.append(int(draw.choice(likely, p=weights / weights.sum())))
            else:
                written.append(int(row.argmax()))
            if self.is_end(written[-1]):
                break
            row = self.decode(written[-1:])[-1]
        return written

    def tokenize(self, text: str, begin: bool = False, special: bool = True) -> list[int]:
        """Return the tokens of a text.

        Args:
            begin: whether llama.cpp adds what it adds before a prompt, such as a BOS.
            special: whether special tokens in the text are read as such, and not as plain text.
        """
        data = text.encode()
        room = (c_int32 * (len(data) + 16))()
        count = self._library.llama_tokenize(
            self._vocabulary, data, len(data), room, len(room), begin, special
        )
        return list(room[: max(0, count)])

    def is_end(self, token: int) -> bool:
        """Return whether a token ends the generation."""
        return bool(self._library.llama_vocab_is_eog(self._vocabulary, token))

    def text_of(self, token: int) -> str:
        """Return a token's text in the vocabulary; empty for an invalid number."""
        if not 0 <= token < self.vocabulary_size:
            return ""
        return (self._library.llama_vocab_get_text(self._vocabulary, token) or b"").decode(
            errors="replace"
        )

    def special(self, name: str) -> int:
        """Return the number of the `bos` or `eos` token."""
        return int(getattr(self._library, f"llama_vocab_{name}")(self._vocabulary))

    @property
    def adds_bos(self) -> bool:
        """Whether llama.cpp adds a BOS before a prompt."""
        return bool(self._library.llama_vocab_get_add_bos(self._vocabulary))

    def metadata(self, key: str) -> str | None:
        """Return a string of the file's metadata; None if the key is missing."""
        length = self._library.llama_model_meta_val_str(self._model, key.encode(), None, 0)
        if length < 0:
            return None
        room = ctypes.create_string_buffer(length + 1)
        self._library.llama_model_meta_val_str(self._model, key.encode(), room, len(room))
        return room.value.decode()

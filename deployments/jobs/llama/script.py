"""The parts of llama.cpp that an export needs: decoding, logits, tokenizing, quantisation, and a
test of whether a build works on this machine.

It works with the shared library of xllamacpp, which is prebuilt, and with the libllama of
llama-cpp-python. Structures have spare room after the fields that are used here, so that fields
that a newer build appends do no harm.

    python llama_library.py probe [--library libllama.so]

Sources: include/llama.h, ggml/include/ggml.h, ggml/include/gguf.h and src/llama-quant.cpp of
https://github.com/ggml-org/llama.cpp (MIT).
"""

import argparse
import json
import os
import sys
from pathlib import Path

from .importance import importance  # noqa: F401 - for the scripts that import this file
from .interface import LibraryError
from .model import Llama
from .probe import probe
from .rendering import _SERVERS, render


def main(words: list[str] | None = None) -> int:
    """Run the probe, render the conversations from standard input, or apply an adapter."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n", 1)[0])
    actions = parser.add_subparsers(dest="action", required=True)
    library = "shared library of llama.cpp; xllamacpp's by default"
    actions.add_parser("probe").add_argument("--library", type=Path, help=library)
    file = "GGUF file; conversations are read from standard input"
    actions.add_parser("render").add_argument("file", type=Path, help=file)
    applied = actions.add_parser("apply")
    applied.add_argument("file", type=Path, help="GGUF file of a base")
    applied.add_argument("adapter", type=Path, help="GGUF file of a LoRA")
    applied.add_argument("--library", type=Path, help=library)
    arguments = parser.parse_args(words)
    try:
        if arguments.action == "probe":
            print(json.dumps(probe(arguments.library)), flush=True)
        elif arguments.action == "apply":
            Llama(arguments.file, 64, 1, arguments.library, arguments.adapter).logits([0, 1])
        else:
            print(json.dumps(render(arguments.file, json.load(sys.stdin))), flush=True)
        if _SERVERS:
            os._exit(0)
    except LibraryError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

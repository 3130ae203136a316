"""Compares builds of llama.cpp: seconds from an empty folder to the first decoded token, and tokens per second when reading a prompt and when decoding.

    python -m bench.llama_builds model.gguf                               the prebuilt one, and the others as far as they are cached
    python -m bench.llama_builds model.gguf native=libllama.so            also another library
    python -m bench.llama_builds model.gguf --from-nothing                also install each into an empty folder

Takes a minute with a model of 135 million weights; with --from-nothing, builds take several minutes each and need the network.

Tokens are counted per second of CPU time of one thread, so that other load does not matter. Each build is measured in a separate process, in turns with the
others.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from importlib import import_module
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(CHECKOUT / "deployments"), str(CHECKOUT / "deployments/jobs/built")]

choosing, building, interface = import_module("llama"), import_module("llama_build"), import_module("llama_library")
installed_library, library_in = choosing.installed_library, choosing.library_in
cache, key_of, pinned, portable_flags = building.cache, building.key_of, building.pinned, building.portable_flags

PROMPT, WRITTEN, ROUNDS = 512, 64, 3
FLAGS = {"portable": portable_flags(), "native": ["-DGGML_NATIVE=ON"]}


def measure(gguf: Path, library: Path) -> dict[str, float]:
    """Return the tokens per second of a library in this process, for a prompt and for decoding."""
    llama = interface.Llama(gguf, PROMPT + WRITTEN + 8, 1, library)
    text = "I slept badly and my work is piling up, and I argued with my sister. " * PROMPT
    prompt = llama.tokenize(text)[:PROMPT]
    llama.logits(prompt[:32])
    began = time.process_time()
    row = llama.logits(prompt)[-1]
    read = time.process_time()
    for _ in range(WRITTEN):
        row = llama.decode([int(row.argmax())])[-1]
    return {"prompt": PROMPT / (read - began), "decode": WRITTEN / (time.process_time() - read)}


def from_nothing(kind: str) -> float:
    """Return the seconds from an empty folder to the first decoded token, including installation or build."""
    probe = [str(CHECKOUT / "deployments/jobs/built/llama_library.py"), "probe"]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        if kind == "prebuilt":
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            python = f"{folder}/bin/python"
            packages = [f"xllamacpp=={pinned('xllamacpp')}", "numpy"]
            subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-cache-dir", *packages], check=True)
            words = [python, *probe]
        else:
            environment = {**os.environ, "UNDERSTUDY_CACHE": folder, "CMAKE_ARGS": " ".join(FLAGS[kind]), "PIP_NO_CACHE_DIR": "1"}
            done = subprocess.run(
                [sys.executable, str(CHECKOUT / "deployments/llama.py"), "server"], env=environment, stdout=subprocess.PIPE, text=True, check=True
            )
            words = [sys.executable, *probe, "--library", str(library_in(Path(done.stdout.strip()).parent))]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        return time.monotonic() - began


def in_cache() -> dict[str, Path]:
    """Return the libraries that are installed or cached, by kind."""
    folders = {kind: cache() / f"llama-server-{pinned('llama-cpp-python')}-{key_of(flags)}" for kind, flags in FLAGS.items()}
    prebuilt = installed_library()
    return {**({"prebuilt": prebuilt} if prebuilt else {}), **{kind: library_in(folder) for kind, folder in folders.items() if folder.is_dir()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("gguf", type=Path)
    parser.add_argument("libraries", nargs="*", help="name=path")
    parser.add_argument("--from-nothing", action="store_true")
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.gguf, arguments.measure)))
        return 0
    libraries = {**in_cache(), **{name: Path(path) for name, _, path in (word.partition("=") for word in arguments.libraries)}}
    rates_by_kind: dict[str, list[dict[str, Any]]] = {kind: [] for kind in libraries}
    died: dict[str, int] = {}
    for _ in range(ROUNDS):
        for kind, library in libraries.items():
            words = [sys.executable, __file__, str(arguments.gguf), "--measure", str(library)]
            done = subprocess.run(words, capture_output=True, text=True, check=False)
            if done.returncode:
                died[kind] = done.returncode
            else:
                rates_by_kind[kind].append(json.loads(done.stdout))
    kinds = [*libraries, *(kind for kind in FLAGS if kind not in libraries and arguments.from_nothing)]
    print(f"{'build':<10} {'from nothing':>14} {'prompt, tokens/s':>18} {'decode, tokens/s':>18}")
    for kind in kinds:
        seconds = f"{from_nothing(kind):.0f} s" if arguments.from_nothing and kind in ("prebuilt", *FLAGS) else "-"
        rates = [statistics.median(one[name] for one in rates_by_kind[kind]) if rates_by_kind.get(kind) else 0 for name in ("prompt", "decode")]
        print(f"{kind:<10} {seconds:>14} {rates[0]:>18.0f} {rates[1]:>18.1f}{f'  exit code {died[kind]}' if kind in died else ''}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Fetches llama.cpp, tests it on this machine, and records which build is used. deployments/install.sh calls it; it needs only the standard library.

    sources    download llama-cpp-python's source distribution and extract the converter
    choose     test the candidates in turn, each in a separate process, and record the first that works in understudy-llama.json
    check      exit with 0 if the recorded files still exist, else with 1
    provider   build and install llama-cpp-python, for models named llama-cpp/…: provider CONSTRAINTS
    server     build llama-server and print its path

Candidates: `own` is built with CMAKE_ARGS, `prebuilt` is the xllamacpp wheel, `portable` is built without CPU-specific optimisations.
"""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from llama_build import CHECKOUT, InstallError, build, converter, cpu, pinned, portable_flags, run, say, wheel

RECORD = Path(sys.prefix) / "understudy-llama.json"
PROBE = CHECKOUT / "deployments" / "jobs" / "built" / "llama_library.py"
SERVER = CHECKOUT / "blocks" / "prebuilt_server.py"
KINDS = ("own", "prebuilt", "portable")
WORDS = {
    "own": "the llama.cpp built with CMAKE_ARGS",
    "prebuilt": "the prebuilt llama.cpp (xllamacpp)",
    "portable": "the portable build of llama.cpp",
    "llama-cpp": "llama-cpp-python",
}
PROBE_SECONDS = 120
SYSTEM_LIBRARY = "libgomp.so.1"


def probe(kind: str, library: Path | None) -> str:
    """Let a library decode a tiny quantised model in a separate process.

    Returns:
        What went wrong, as a predicate that follows the library's name in a sentence; empty if it works.
    """
    words = [sys.executable, str(PROBE), "probe", *(["--library", str(library)] if library else [])]
    environment = dict(os.environ)
    if kind in os.environ.get("UNDERSTUDY_PROBE_DIES", "").split(","):
        environment["UNDERSTUDY_PROBE_SIGNAL"] = "SIGSEGV"
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=PROBE_SECONDS, env=environment, check=False
        )
    except subprocess.TimeoutExpired:
        return f"did not decode a tiny model within {PROBE_SECONDS} s"
    if done.returncode < 0:
        with suppress(ValueError):
            return f"died of {signal.Signals(-done.returncode).name} while it decoded a tiny model"
        return f"died of signal {-done.returncode} while it decoded a tiny model"
    if done.returncode:
        message = " ".join((done.stderr.strip().splitlines() or ["without an error message"])[-1].split())
        hint = " (Debian: apt-get install libgomp1)" if SYSTEM_LIBRARY in message else ""
        return f"does not work here ({message.rstrip('.')}{hint})"
    return ""


def installed_library() -> Path | None:
    """Return the path of xllamacpp's library, without loading it into this process; None if it is not installed."""
    spec = importlib.util.find_spec("xllamacpp")
    return next(Path(str(spec.origin)).parent.glob("xllamacpp*.so"), None) if spec and spec.origin else None


def library_in(folder: Path) -> Path:
    return next(path for name in ("libllama.so", "libllama.dylib") if (path := folder / name).exists())


def candidate(kind: str, why: str) -> tuple[Path, list[str]] | None:
    """Return a candidate's library and the command of its server; None if it is not installed.

    Args:
        kind: one of KINDS.
        why: why llama.cpp has to be built, for the error if no compiler is installed.
    """
    if kind == "prebuilt":
        library = installed_library()
        return (library, [sys.executable, "-I", str(SERVER)]) if library else None
    folder = build(os.environ.get("CMAKE_ARGS", "").split() if kind == "own" else portable_flags(), why)
    return library_in(folder), [str(folder / "llama-server")]


def order() -> list[str]:
    """Return the kinds of candidates in the order in which they are tested: the one that UNDERSTUDY_LLAMA names comes first."""
    preferred = os.environ.get("UNDERSTUDY_LLAMA", "")
    if preferred not in ("", "auto", *KINDS):
        raise InstallError(f"UNDERSTUDY_LLAMA is {preferred!r}; give auto, {', '.join(KINDS)}, or nothing.")
    usual = (["own"] if os.environ.get("CMAKE_ARGS") else []) + ["prebuilt", "portable"]
    return [preferred, *(kind for kind in usual if kind != preferred)] if preferred in KINDS else usual


def proof() -> str:
    """Return a hash of everything that the choice depends on: the pinned versions, the CPU, CMAKE_ARGS and the order."""
    facts = [pinned("llama-cpp-python"), pinned("xllamacpp"), cpu(), os.environ.get("CMAKE_ARGS", ""), *order()]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def read_record() -> dict[str, Any]:
    try:
        return dict(json.loads(RECORD.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def files_exist(record: dict[str, Any]) -> bool:
    return bool(record) and all(Path(path).exists() for path in (record["library"], record["converter"], record["server"][0]))


def choose() -> None:
    """Test the candidates in turn and record the first that works. Do nothing if the recorded choice is still valid."""
    folder, previous = converter(), read_record()
    test_again = os.environ.get("UNDERSTUDY_PROBE_DIES") or os.environ.get("UNDERSTUDY_LLAMA") == "auto"
    if previous.get("proof") == proof() and files_exist(previous) and not test_again:
        return
    failed: list[str] = []
    for kind in order():
        why = f"{failed[-1][0].upper()}{failed[-1][1:]}" if failed else f"{WORDS[kind][0].upper()}{WORDS[kind][1:]} was asked for"
        runtime = candidate(kind, why)
        problem = probe(kind, runtime[0]) if runtime else "is not available for this system"
        if runtime and not problem:
            if failed:
                say(f"{'; '.join(failed)[0].upper()}{'; '.join(failed)[1:]}: {WORDS[kind]} is used instead.")
            record = {"kind": kind, "library": str(runtime[0]), "server": runtime[1], "converter": str(folder), "why": "; ".join(failed), "proof": proof()}
            part = RECORD.with_name(f"{RECORD.name}.{os.getpid()}")
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            part.replace(RECORD)
            return
        failed.append(f"{WORDS[kind]} {problem}")
    raise InstallError(f"No llama.cpp works on this machine: {'; '.join(failed)}. `make setup-light` installs without it, for generation and assessment.")


def provide(constraints: Path) -> None:
    """Build and install llama-cpp-python: with CMAKE_ARGS if it is set, and as a portable build otherwise or if the first build does not work."""
    own = os.environ.get("CMAKE_ARGS", "").split()
    for flags in [own, portable_flags()] if own else [portable_flags()]:
        uv = [Path(sys.prefix) / "bin/uv", "pip", "install", "--quiet", "--python", sys.executable, "--reinstall-package", "llama-cpp-python"]
        run([*uv, "-c", constraints, wheel(flags)], "The installation of llama-cpp-python")
        importlib.invalidate_caches()
        package = importlib.util.find_spec("llama_cpp")
        assert package
        assert package.origin
        if not (problem := probe("llama-cpp", library_in(Path(package.origin).parent / "lib"))):
            return
        say(f"llama-cpp-python, built with {' '.join(flags)}, {problem}.")
    raise InstallError("No build of llama-cpp-python works on this machine; use evaluation.serve: llama-server.")


def main(words: list[str]) -> int:
    try:
        match words:
            case ["sources"]:
                converter()
            case ["choose"]:
                choose()
            case ["check"]:
                return 0 if files_exist(read_record()) else 1
            case ["provider", constraints]:
                provide(Path(constraints))
            case ["server"]:
                print(build(os.environ.get("CMAKE_ARGS", "").split() or portable_flags(), "llama-server is built from source") / "llama-server")
            case _:
                say(__doc__ or "")
                return 2
    except InstallError as error:
        say(str(error))
        return 1
    except OSError as error:
        say(f"{error.filename}: {error.strerror}. Check that the disk has space left and that the folder can be written.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

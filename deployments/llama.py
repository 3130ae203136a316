"""Gets llama.cpp, proves that it works on this machine, and writes down which one is used. deployments/install.sh calls it; the standard library suffices.

    sources    fetch llama-cpp-python's source distribution and take the converter out of it
    choose     try the candidates one by one, each in a process of its own, and write what is used to understudy-llama.json
    check      end with 0 if what was written down is still there
    provider   build llama-cpp-python and install it, for models named llama-cpp/…: provider CONSTRAINTS
    server     build llama-server and print its path

Candidates: `own` is built with CMAKE_ARGS, `prebuilt` is the wheel of xllamacpp, `portable` is built without this machine's own optimisations.
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
    """Have a library decode a tiny quantised model in a process of its own; return how that went wrong, as words after its name."""
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
        said = " ".join((done.stderr.strip().splitlines() or ["it said nothing"])[-1].split())
        hint = " (Debian: apt-get install libgomp1)" if SYSTEM_LIBRARY in said else ""
        return f"does not work here ({said.rstrip('.')}{hint})"
    return ""


def installed_library() -> Path | None:
    """That of xllamacpp, without loading it into this process."""
    found = importlib.util.find_spec("xllamacpp")
    return next(Path(str(found.origin)).parent.glob("xllamacpp*.so"), None) if found and found.origin else None


def library_in(folder: Path) -> Path:
    return next(path for name in ("libllama.so", "libllama.dylib") if (path := folder / name).exists())


def candidate(kind: str, why: str) -> tuple[Path, list[str]] | None:
    """Library and server command of a candidate; none if it is not installed."""
    if kind == "prebuilt":
        library = installed_library()
        return (library, [sys.executable, "-I", str(SERVER)]) if library else None
    folder = build(os.environ.get("CMAKE_ARGS", "").split() if kind == "own" else portable_flags(), why)
    return library_in(folder), [str(folder / "llama-server")]


def order() -> list[str]:
    wanted = os.environ.get("UNDERSTUDY_LLAMA", "")
    if wanted not in ("", "auto", *KINDS):
        raise InstallError(f"UNDERSTUDY_LLAMA is {wanted!r}; give auto, {', '.join(KINDS)}, or nothing.")
    usual = (["own"] if os.environ.get("CMAKE_ARGS") else []) + ["prebuilt", "portable"]
    return [wanted, *(kind for kind in usual if kind != wanted)] if wanted in KINDS else usual


def proof() -> str:
    """What a choice depends on."""
    facts = [pinned("llama-cpp-python"), pinned("xllamacpp"), cpu(), os.environ.get("CMAKE_ARGS", ""), *order()]
    return hashlib.sha256("|".join(facts).encode()).hexdigest()[:16]


def read_record() -> dict[str, Any]:
    try:
        return dict(json.loads(RECORD.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def is_there(record: dict[str, Any]) -> bool:
    return bool(record) and all(Path(path).exists() for path in (record["library"], record["converter"], record["server"][0]))


def choose() -> None:
    folder, known = converter(), read_record()
    asked_again = os.environ.get("UNDERSTUDY_PROBE_DIES") or os.environ.get("UNDERSTUDY_LLAMA") == "auto"
    if known.get("proof") == proof() and is_there(known) and not asked_again:
        return
    failed: list[str] = []
    for kind in order():
        why = f"{failed[-1][0].upper()}{failed[-1][1:]}" if failed else f"{WORDS[kind][0].upper()}{WORDS[kind][1:]} was asked for"
        runtime = candidate(kind, why)
        wrong = probe(kind, runtime[0]) if runtime else "is not available for this system"
        if runtime and not wrong:
            if failed:
                say(f"{'; '.join(failed)[0].upper()}{'; '.join(failed)[1:]}: {WORDS[kind]} is used in its place.")
            record = {"kind": kind, "library": str(runtime[0]), "server": runtime[1], "converter": str(folder), "why": "; ".join(failed), "proof": proof()}
            part = RECORD.with_name(f"{RECORD.name}.{os.getpid()}")
            part.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
            part.replace(RECORD)
            return
        failed.append(f"{WORDS[kind]} {wrong}")
    raise InstallError(f"No llama.cpp works on this machine: {'; '.join(failed)}. `make setup-light` installs without it, for generation and assessment.")


def provide(constraints: Path) -> None:
    """Install llama-cpp-python, built with CMAKE_ARGS or, if that dies or nothing is given, for any machine."""
    own = os.environ.get("CMAKE_ARGS", "").split()
    for flags in [own, portable_flags()] if own else [portable_flags()]:
        uv = [Path(sys.prefix) / "bin/uv", "pip", "install", "--quiet", "--python", sys.executable, "--reinstall-package", "llama-cpp-python"]
        run([*uv, "-c", constraints, wheel(flags)], "The installation of llama-cpp-python")
        importlib.invalidate_caches()
        package = importlib.util.find_spec("llama_cpp")
        assert package
        assert package.origin
        if not (wrong := probe("llama-cpp", library_in(Path(package.origin).parent / "lib"))):
            return
        say(f"llama-cpp-python, built with {' '.join(flags)}, {wrong}.")
    raise InstallError("No build of llama-cpp-python works on this machine; use evaluation.serve: llama-server.")


def main(words: list[str]) -> int:
    try:
        match words:
            case ["sources"]:
                converter()
            case ["choose"]:
                choose()
            case ["check"]:
                return 0 if is_there(read_record()) else 1
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
        say(f"{error.filename}: {error.strerror}. Check that there is space left, and that the folder can be written.")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

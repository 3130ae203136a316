"""Downloads and builds llama.cpp in the cache. Each result appears there complete or not at all, even if several installations build at once."""

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[1]
OPTIONS = {"sse4_2": "SSE42", "avx": "AVX", "avx2": "AVX2", "bmi2": "BMI2", "fma": "FMA", "f16c": "F16C"}
"""CPU features that ggml uses in a portable x86-64 build unless they are switched off: the kernel's name → ggml's name."""
COMPILER = "Install a C++ compiler (Debian: apt-get install build-essential; macOS: xcode-select --install) and run `make setup` again"
HEARTBEAT = 30.0
"""Seconds between two lines that report the progress of a build."""


class InstallError(Exception):
    """An error that the user can fix. Its text is one or two sentences."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def cache() -> Path:
    return Path(os.environ.get("UNDERSTUDY_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "understudy")


def pinned(package: str) -> str:
    """Return the version of a package that pyproject.toml pins."""
    match = re.search(rf'"{package}==([0-9.]+)', (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    assert match, package
    return match[1]


def cpu() -> str:
    """Return the CPU's features as the system names them, or the CPU's name if the system lists no features."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line.partition(":")[2].strip()
    done = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False) if sys.platform == "darwin" else None
    return done.stdout.strip() if done else platform.processor()


def portable_flags() -> list[str]:
    """Return cmake's flags for a build that runs on this machine and on any that has the same features."""
    features = cpu().split()
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    missing = [f"-DGGML_{option}=OFF" for name, option in OPTIONS.items() if name not in features] if is_x86 and features else []
    return ["-DGGML_NATIVE=OFF", *missing]


def key_of(flags: list[str]) -> str:
    """Return the name of a build in the cache. A build for this machine only includes the CPU's features in its name."""
    machine = [platform.system(), platform.machine(), *([] if "-DGGML_NATIVE=OFF" in flags else [cpu()])]
    return hashlib.sha256("|".join([*flags, *machine]).encode()).hexdigest()[:12]


def part_of(target: Path) -> Path:
    """Create and return this process's temporary folder for `target`. Remove the folders that dead processes left behind."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}.part-*"):
        try:
            os.kill(int(left.name.rsplit("-", 1)[1]), 0)
        except (ProcessLookupError, ValueError):
            shutil.rmtree(left, ignore_errors=True)
        except PermissionError:
            continue
    part = target.parent / f".{target.name}.part-{os.getpid()}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    return part


def settle(part: Path, target: Path) -> None:
    """Move a finished file or folder to its final name; delete it if another process got there first."""
    try:
        part.replace(target)
    except OSError:
        if not target.exists():
            raise
        shutil.rmtree(part) if part.is_dir() else part.unlink()


def run(words: list[str | Path], what: str, **options: Any) -> None:
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", check=False, **options
    )
    if done.returncode:
        raise InstallError(f"{what} failed:\n{done.stdout.strip()[-2000:]}")


def sdist() -> Path:
    version = pinned("llama-cpp-python")
    target = cache() / "sdists" / f"llama_cpp_python-{version}.tar.gz"
    if not target.is_file():
        part = part_of(target)
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--no-binary=llama-cpp-python"]
        run([*pip, "--dest", part, f"llama-cpp-python=={version}"], "The download of llama-cpp-python's sources")
        settle(part / target.name, target)
        shutil.rmtree(part)
    return target


def converter() -> Path:
    """Return the folder of llama.cpp's converter and its chat templates of many model families; extract it if it is missing.

    Only the source distribution contains the converter. The gguf package on the registry is too old for it.
    """
    version = pinned("llama-cpp-python")
    target = cache() / f"llama.cpp-{version}"
    required = ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py", "models/templates")
    if not all((target / name).exists() for name in required):
        part, top = part_of(target), f"llama_cpp_python-{version}/vendor/llama.cpp"
        extracted = tuple(f"{top}/{name}" for name in (*required, "conversion/", "gguf-py/", "LICENSE"))
        with tarfile.open(sdist()) as tar:
            tar.extractall(part, members=[member for member in tar if member.name.startswith(extracted)], filter="data")
        shutil.rmtree(target, ignore_errors=True)
        settle(part / top, target)
        shutil.rmtree(part)
    return target


# --- builds ---


def need_compiler(why: str) -> None:
    """Raise InstallError if a C or C++ compiler is missing. `why` is the first half of the sentence: why one is needed."""
    missing = [name for name in (os.environ.get("CC") or "cc", os.environ.get("CXX") or "c++") if not shutil.which(name)]
    if missing:
        raise InstallError(
            f"{why}, but {missing[0]}, which llama.cpp is built with, is not installed. {COMPILER}; `make setup-light` installs without llama.cpp."
        )


def build(flags: list[str], why: str) -> Path:
    """Build llama-server and its libraries unless they are cached; return their folder.

    Args:
        flags: for cmake; empty builds for this machine's CPU.
        why: why it has to be built, for the error if no compiler is installed.
    """
    version = pinned("llama-cpp-python")
    target = cache() / f"llama-server-{version}-{key_of(flags)}"
    if (target / "llama-server").is_file():
        return target
    need_compiler(why)
    say(f"Building llama.cpp {version} ({' '.join(flags) or 'for this machine'}); this takes some minutes on two cores. The result is kept in {cache()}.")
    part = part_of(target)
    with tarfile.open(sdist()) as tar:
        tar.extractall(part, filter="data")
    source = next(part.iterdir()) / "vendor" / "llama.cpp"
    run([sys.executable, "-m", "venv", part / "tools"], "Making an environment for cmake")
    run([part / "tools/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "cmake<4.3", "ninja"], "The installation of cmake")
    environment = {**os.environ, "PATH": f"{part / 'tools/bin'}{os.pathsep}{os.environ.get('PATH', '')}"}
    origin = "@loader_path" if sys.platform == "darwin" else "$ORIGIN"
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=ON", "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON", f"-DCMAKE_INSTALL_RPATH={origin}"]
    options += [f"-DLLAMA_{name}=OFF" for name in ("CURL", "OPENSSL", "BUILD_TESTS", "BUILD_EXAMPLES", "BUILD_UI", "BUILD_APP")]
    run(["cmake", "-S", source, "-B", part / "build", "-G", "Ninja", *options, *flags], "The configuration of llama.cpp", env=environment)
    _compile(part / "build", environment)
    finished = part / "finished"
    finished.mkdir()
    for path in (part / "build" / "bin").iterdir():
        if path.name == "llama-server" or ".so" in path.name or ".dylib" in path.name:
            shutil.copy2(path, finished / path.name, follow_symlinks=False)
    settle(finished, target)
    shutil.rmtree(part)
    return target


def _compile(folder: Path, environment: dict[str, str]) -> None:
    """Compile llama-server and report progress every HEARTBEAT seconds."""
    words = ["cmake", "--build", str(folder), "--target", "llama-server"]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment)
    lines, reported = [], time.monotonic()
    assert program.stdout
    for line in program.stdout:
        lines.append(line)
        if time.monotonic() - reported > HEARTBEAT and (place := re.match(r"\[(\d+)/(\d+)\]", line)):
            say(f"  {place[1]} of {place[2]} steps")
            reported = time.monotonic()
    if program.wait():
        raise InstallError(f"Building llama.cpp failed:\n{''.join(lines)[-3000:]}")


def wheel(flags: list[str]) -> Path:
    """Build the wheel of llama-cpp-python unless it is cached; return its path."""
    version = pinned("llama-cpp-python")
    target = cache() / "wheels" / f"llama_cpp_python-{version}-{key_of(flags)}"
    if not list(target.glob("*.whl")):
        need_compiler("The provider llama-cpp was asked for")
        say(f"Building llama-cpp-python {version} ({' '.join(flags)}); this takes some minutes on two cores. The result is kept in {cache()}.")
        part = part_of(target)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps", "--wheel-dir", part, sdist()]
        run(pip, "Building llama-cpp-python", env={**os.environ, "CMAKE_ARGS": " ".join(flags)})
        settle(part, target)
    return next(target.glob("*.whl"))

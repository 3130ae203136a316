"""The installation of llama.cpp: proven on this machine, replaced where it crashes, and undisturbed by another installation."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from io import BytesIO
from pathlib import Path

import pytest

from tests.conftest import CHECKOUT

LOCK = CHECKOUT / "deployments/lock.py"
IN_THE_IMAGE = re.findall(
    r"^COPY --chown=\w+ (.+) \S+$", (CHECKOUT / "deployments/Dockerfile").read_text(encoding="utf-8").partition("RUN deployments/install.sh")[0], re.M
)
"""What deployments/Dockerfile copies before it installs: the installation has these files alone."""
BACKEND = """
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, settings=None):
    made = Path(folder) / "llama_cpp_python-{version}.dist-info"
    made.mkdir()
    (made / "METADATA").write_text("Metadata-Version: 2.1\\nName: llama_cpp_python\\nVersion: {version}\\n")
    return made.name
"""


def copy_what_an_image_has(checkout: Path) -> None:
    for name in " ".join(IN_THE_IMAGE).split():
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, checkout / name)


class Place:
    """A checkout with nothing but what an image has when it installs, an environment that has this one's packages, and a cache."""

    def __init__(self, folder: Path) -> None:
        self.checkout, self.cache = folder / "checkout", folder / "cache"
        self.prefix = self.checkout / ".venv"
        copy_what_an_image_has(self.checkout)
        (self.checkout / "blocks").mkdir()
        (self.checkout / "blocks/prebuilt_server.py").touch()
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", self.prefix], check=True)
        self.packages = next(self.prefix.glob("lib/python*/site-packages"))
        (self.packages / "ours.pth").write_text(next(path for path in sys.path if path.endswith("site-packages")), encoding="utf-8")
        self.version = self.ask("pinned('llama-cpp-python')")

    def ask(self, expression: str) -> str:
        code = f"from llama_build import *; print({expression})"
        return subprocess.run([sys.executable, "-c", code], cwd=self.checkout / "deployments", capture_output=True, text=True, check=True).stdout.strip()

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("CMAKE_ARGS", "UNDERSTUDY_LLAMA")}
        return {**kept, "UNDERSTUDY_CACHE": str(self.cache), **more}

    def start(self, *words: str, **more: str) -> subprocess.Popen[str]:
        command = [self.prefix / "bin/python", self.checkout / "deployments/llama.py", *words]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=self.environment(**more))

    def run(self, *words: str, **more: str) -> tuple[int, str]:
        process = self.start(*words, **more)
        said = process.communicate(timeout=240)[1]
        return process.returncode, said

    def offer_sources(self, folder: Path) -> dict[str, str]:
        """Write llama-cpp-python's source distribution as pip would find it, without what is not needed; return pip's settings."""
        top = f"llama_cpp_python-{self.version}"
        files = {f"{top}/vendor/llama.cpp/{name}": name for name in ("convert_hf_to_gguf.py", "conversion/base.py", "gguf-py/gguf/gguf.py", "ggml/large.c")}
        files[f"{top}/pyproject.toml"] = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        files[f"{top}/backend.py"] = BACKEND.format(version=self.version)
        files[f"{top}/PKG-INFO"] = f"Metadata-Version: 2.1\nName: llama_cpp_python\nVersion: {self.version}\n"
        folder.mkdir()
        with tarfile.open(folder / f"{top}.tar.gz", "w:gz") as tar:
            for name, text in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(text)
                tar.addfile(member, BytesIO(text.encode()))
        return {"PIP_FIND_LINKS": str(folder), "PIP_NO_INDEX": "1"}

    def have_converter(self) -> None:
        folder = self.cache / f"llama.cpp-{self.version}"
        (folder / "models/templates").mkdir(parents=True)
        for script in ("convert_hf_to_gguf.py", "convert_lora_to_gguf.py"):
            (folder / script).touch()

    def have_build(self, flags: str = "portable_flags()") -> Path:
        """A build of the cache, whose library is the prebuilt one: what counts here is which one is taken."""
        library = Path(pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`").__file__).parent
        folder = self.cache / f"llama-server-{self.version}-{self.ask(f'key_of({flags})')}"
        folder.mkdir(parents=True)
        (folder / "libllama.so").symlink_to(next(library.glob("xllamacpp*.so")))
        (folder / "llama-server").touch()
        return folder

    def record(self) -> dict[str, object]:
        return json.loads((self.prefix / "understudy-llama.json").read_text(encoding="utf-8"))


class Pythons:
    """A checkout that installs `light` with a uv that installs nothing, and programs that play Python."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.checkout = folder, folder / "checkout"
        copy_what_an_image_has(self.checkout)
        uv_version = re.findall(r"^uv_version=(\S+)", (self.checkout / "deployments/install.sh").read_text(encoding="utf-8"), re.M)[0]
        self.program("uv", f'echo "uv {uv_version}"')
        self.plays("python3", "3.12")

    def program(self, name: str, body: str) -> Path:
        path = self.folder / name
        path.write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
        path.chmod(0o700)
        return path

    def plays(self, name: str, version: str) -> Path:
        """A Python of a version, whose environments have it and uv."""
        made = f"mkdir -p $3/bin $3/lib/python{version}; cp $0 $3/bin/python; cp {self.folder}/uv $3/bin/uv"
        return self.program(
            name,
            f"""case "$1 $2" in
"-m venv") {made} ;;
"-c import sys; print"*) echo {version} ;;
*) exec {sys.executable} "$@" ;;
esac""",
        )

    def install(self, **more: str) -> tuple[int, str]:
        kept = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "CMAKE_ARGS", "UNDERSTUDY_LLAMA", "UV_FIND_LINKS")}
        environment = {**kept, "PATH": f"{self.folder}:{os.environ['PATH']}", "UNDERSTUDY_CACHE": str(self.folder / "cache"), **more}
        done = subprocess.run([self.checkout / "deployments/install.sh", "light"], capture_output=True, text=True, timeout=240, env=environment, check=False)
        return done.returncode, done.stderr

    def has(self) -> list[str]:
        return [path.name for path in (self.checkout / ".venv/lib").iterdir()]


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


def test_what_is_installed_is_proven_once_and_written_down(place):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")
    place.have_converter()
    assert place.run("choose") == (0, "")
    assert place.record()["kind"] == "prebuilt"
    assert place.record()["converter"] == str(place.cache / f"llama.cpp-{place.version}")
    assert place.run("check")[0] == 0
    (place.checkout / "deployments/jobs/built/llama_library.py").write_text("raise SystemExit('tested again')", encoding="utf-8")
    assert place.run("choose") == (0, "")
    shutil.rmtree(place.cache)
    assert place.run("check")[0] == 1


def test_one_that_crashes_gives_way_to_a_portable_build_which_is_remembered(place):
    folder = place.have_build()
    place.have_converter()
    code, said = place.run("choose", UNDERSTUDY_PROBE_DIES="prebuilt")
    assert code == 0
    (line,) = said.splitlines()
    assert line == ("The prebuilt llama.cpp (xllamacpp) died of SIGSEGV while it decoded a tiny model: the portable build of llama.cpp is used instead.")
    assert place.record()["kind"] == "portable"
    assert place.record()["server"] == [str(folder / "llama-server")]
    assert place.record()["library"] == str(folder / "libllama.so")
    assert place.run("choose") == (0, "")
    assert place.record()["kind"] == "portable"
    assert place.run("choose", UNDERSTUDY_LLAMA="auto") == (0, "")
    assert place.record()["kind"] == "prebuilt"


def test_a_build_with_flags_of_ones_own_comes_first_and_gives_way_if_it_crashes(place):
    folder = place.have_build("['-DGGML_CUDA=on']")
    place.have_converter()
    assert place.run("choose", CMAKE_ARGS="-DGGML_CUDA=on") == (0, "")
    assert (place.record()["kind"], place.record()["library"]) == ("own", str(folder / "libllama.so"))
    code, said = place.run("choose", CMAKE_ARGS="-DGGML_CUDA=on", UNDERSTUDY_PROBE_DIES="own")
    assert code == 0
    assert said.startswith("The llama.cpp built with CMAKE_ARGS died of SIGSEGV while it decoded a tiny model: the prebuilt llama.cpp (xllamacpp) is used")
    assert place.record()["kind"] == "prebuilt"


def test_without_a_compiler_the_way_out_is_named(place, tmp_path):
    pytest.importorskip("xllamacpp", reason="llama.cpp is not installed; run `make setup`")
    place.have_converter()
    code, said = place.run("choose", UNDERSTUDY_PROBE_DIES="prebuilt", CC=str(tmp_path / "no-cc"))
    assert code == 1
    assert "The prebuilt llama.cpp (xllamacpp) died of SIGSEGV" in said
    assert "apt-get install build-essential" in said
    assert "make setup-light" in said
    assert "Traceback" not in said


def test_one_that_is_asked_for_is_taken_and_nonsense_is_refused(place):
    place.have_build()
    place.have_converter()
    assert place.run("choose", UNDERSTUDY_LLAMA="portable") == (0, "")
    assert place.record()["kind"] == "portable"
    code, said = place.run("choose", UNDERSTUDY_LLAMA="fast")
    assert code == 1
    assert "UNDERSTUDY_LLAMA is 'fast'; give auto, own, prebuilt, portable" in said


def test_installations_side_by_side_do_not_disturb_each_other(place, tmp_path):
    settings = place.offer_sources(tmp_path / "index")
    ended = [process.communicate(timeout=240)[1] or process.returncode for process in [place.start("sources", **settings) for _ in range(3)]]
    assert ended == [0, 0, 0]
    assert sorted(str(path.relative_to(place.cache)) for path in place.cache.rglob("*") if path.is_file()) == [
        f"llama.cpp-{place.version}/conversion/base.py",
        f"llama.cpp-{place.version}/convert_hf_to_gguf.py",
        f"llama.cpp-{place.version}/gguf-py/gguf/gguf.py",
        f"sdists/llama_cpp_python-{place.version}.tar.gz",
    ]


def test_an_environment_is_of_the_python_that_is_asked_for_and_otherwise_stays_with_its_own(tmp_path):
    pythons = Pythons(tmp_path)
    assert (pythons.install()[0], pythons.has()) == (0, ["python3.12"])
    assert pythons.install() == (0, "")
    (asked := pythons.checkout / ".venv/.llama-asked").write_text("-DGGML_CUDA=on\n\n", encoding="utf-8")
    other = str(pythons.plays("another", "3.13"))
    assert (pythons.install(PYTHON=other)[0], pythons.has()) == (0, ["python3.13"])
    assert pythons.install(PYTHON=other) == (0, "")
    assert (pythons.install(), pythons.has()) == ((0, ""), ["python3.13"])
    pythons.plays("checkout/.venv/bin/python", "3.11")  # as an upgrade of the system does
    assert (pythons.install()[0], pythons.has()) == (0, ["python3.12"])
    (pythons.checkout / ".venv/bin/python").unlink()
    (pythons.checkout / ".venv/bin/python").symlink_to(tmp_path / "gone")
    assert (pythons.install()[0], pythons.has()) == (0, ["python3.12"])
    assert (pythons.checkout / ".venv/bin/python").exists()
    assert asked.read_text(encoding="utf-8") == "-DGGML_CUDA=on\n\n"


def test_pythons_for_which_the_project_is_not_are_refused_before_anything_is_made(tmp_path):
    pythons = Pythons(tmp_path)
    wanted = re.findall(r'^requires-python = ">=3.(\d+),<3.(\d+)"', (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"), re.M)[0]
    for minor in (int(wanted[0]) - 1, int(wanted[1])):
        code, said = pythons.install(PYTHON=str(pythons.plays("another", f"3.{minor}")))
        assert (code, said) == (1, f"Python is 3.{minor}; 3.11, 3.12 or 3.13 is needed. Set PYTHON, for example PYTHON=python3.12.\n")
    assert pythons.install(PYTHON="no-python")[0] == 1
    assert not (pythons.checkout / ".venv").exists()
    for minor in range(int(wanted[0]), int(wanted[1])):
        assert pythons.install(PYTHON=str(pythons.plays("another", f"3.{minor}")))[0] == 0
        assert pythons.has() == [f"python3.{minor}"]


def hold(lock: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, LOCK, lock, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_the_second_installation_waits_says_so_and_is_let_in_when_the_first_is_gone(tmp_path, end):
    lock = tmp_path / "cache/install.lock"
    first = hold(lock, "bash", "-c", "echo in; read line")
    assert first.stdout
    assert first.stdout.readline() == "in\n"
    second = hold(lock, "echo", "in")
    assert second.stderr
    assert second.stderr.readline() == f"Another installation uses {lock.parent} (process {first.pid}); this one waits until it has ended.\n"
    time.sleep(0.2)
    assert second.poll() is None
    first.send_signal(end)
    assert second.communicate(timeout=240) == ("in\n", "")
    assert second.returncode == 0
    first.communicate()

"""The house's own rules."""

import ast
import re
import subprocess
import sys

import pytest

from tests.conftest import CHECKOUT

BIN = CHECKOUT / ".venv/bin"


@pytest.mark.slow
@pytest.mark.parametrize("command", [["ruff", "format", "--check", "."], ["ruff", "check", "."], ["ty", "check"], ["lint-imports"]], ids=" ".join)
def test_format_lint_types_and_import_law(command):
    found = subprocess.run([str(BIN / command[0]), *command[1:]], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_job_scripts_import_nothing_of_ours():
    for path in (CHECKOUT / "deployments/jobs").rglob("*.py"):
        assert not re.search(r"^\s*(from|import) (core|blocks|tasks|flows)\b", path.read_text(encoding="utf-8"), re.MULTILINE), path


def test_every_make_target_is_in_the_help():
    targets = set(re.findall(r"^([a-z-]+):", (CHECKOUT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    shown = subprocess.run(["make", "--no-print-directory", "help"], cwd=CHECKOUT, capture_output=True, text=True, check=True).stdout
    assert targets == {line.split()[0] for line in shown.splitlines()}


def test_every_benchmark_says_how_it_is_run_and_how_long_it_takes():
    programs = {path.stem: path.read_text(encoding="utf-8") for path in (CHECKOUT / "bench").glob("*.py") if "__main__" in path.read_text(encoding="utf-8")}
    for name, text in programs.items():
        described = (ast.get_docstring(ast.parse(text)) or "").split("\n\n")
        assert re.match(rf"    python -m bench\.{name}\b", described[1]), name
        assert re.match(r".*\b[Tt]akes\b.*(second|minute|hour)", described[2]), name
    assert set(re.findall(r"-m bench\.(\w+)", (CHECKOUT / "Makefile").read_text(encoding="utf-8"))) <= programs.keys()


def test_every_variable_that_is_read_is_in_the_example():
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    folders = ("core/**/*.py", "blocks/*.py", "tasks/*.py", "studio/*.py", "flows/**/*.py", "deployments/install.sh", "deployments/llama*.py")
    sources = [path for folder in folders for path in CHECKOUT.glob(folder)]
    read = {name for path in sources for name in re.findall(r"\bUNDERSTUDY_[A-Z]+\b", path.read_text(encoding="utf-8"))}
    assert read
    assert all(f"{name}=" in example for name in read), read


def test_the_job_scripts_are_what_their_parts_give():
    found = subprocess.run([sys.executable, "deployments/jobs/build.py", "--check"], cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr


def test_percent_signs_are_written_one_way():
    """ "95 %", in sentences, tables and pages: Python's own form leaves out the space."""
    sources = [path for folder in ("core", "blocks", "tasks", "flows", "bench", "deployments") for path in (CHECKOUT / folder).rglob("*.py")]
    formats = [str(path) for path in sources if re.search(r":[-+<> ]*[\d.]*%[})]", path.read_text(encoding="utf-8"))]
    pages = [*CHECKOUT.glob("*.md"), *(CHECKOUT / "docs").glob("*.md"), *(CHECKOUT / "core").rglob("*.md.j2")]
    written = [f"{path}: {found}" for path in pages for found in re.findall(r".{0,20}\d%(?!\d)", path.read_text(encoding="utf-8"))]
    assert formats + written == []


def test_no_template_prints_a_decision_without_what_it_says_of_scripted_company():
    templates = [path for folder in ("core", "studio") for path in (CHECKOUT / folder).rglob("*.j2")]
    bare = [
        f"{path}: {found}" for path in templates for found in re.findall(r"\{\{ [\w.]+\.decision(?: \| capitalize)? \}\}", path.read_text(encoding="utf-8"))
    ]
    assert bare == []

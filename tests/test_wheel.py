"""The wheel alone, in an empty environment: it makes a project, and runs in it without the checkout."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import CHECKOUT

pytestmark = pytest.mark.slow
OURS = ("UNDERSTUDY", "PREFECT", "PYTHON")
MADE_BY_TOOLS = ("__pycache__", "data")


class Installed:
    """An environment that has the wheel, and the packages that it depends on from this environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.prefix = folder, folder / "env"
        (folder / "home").mkdir()
        self.run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder, cwd=CHECKOUT)
        self.run(sys.executable, "-m", "venv", "--without-pip", self.prefix)
        python = self.prefix / "bin/python"
        wheel = next(folder.glob("understudy-*.whl"))
        self.run(sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", "--no-index", "--disable-pip-version-check", wheel)
        self.packages = next(self.prefix.glob("lib/python*/site-packages"))
        # a line of a .pth file adds the folder alone: the .pth files in it, that of this checkout among them, are not read
        shared = next(path for path in sys.path if path.endswith("site-packages"))
        (self.packages / "shared.pth").write_text(shared, encoding="utf-8")

    def run(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        environment = {**kept, "HOME": str(self.folder / "home"), "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore"}
        done = subprocess.run([str(word) for word in words], cwd=cwd or self.folder, env=environment, capture_output=True, text=True, timeout=400, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def understudy(self, *words: object, cwd: Path | None = None, code: int = 0) -> str:
        return self.run(self.prefix / "bin/understudy", *words, cwd=cwd, code=code)


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return Installed(tmp_path_factory.mktemp("wheel"))


def state_of_the_checkout() -> dict[str, tuple[int, int]]:
    found = {}
    for place, folders, names in os.walk(CHECKOUT):
        folders[:] = [name for name in folders if not name.startswith(".") and name not in MADE_BY_TOOLS]
        found |= {f"{place}/{name}": ((known := (Path(place) / name).stat()).st_size, known.st_mtime_ns) for name in names}
    return found


def transcripts(project: Path, domain: str) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in (project / "data/transcripts" / domain).glob("*.json")]


def test_the_code_and_all_that_it_reads_come_from_the_wheel(installed):
    code = "import blocks, core, core.paths, flows, studio, tasks; print(core.paths.SHIPPED, *(part.__file__ for part in (blocks, core, flows, studio, tasks)))"
    for place in installed.run(installed.prefix / "bin/python", "-c", code).split():
        assert Path(place).is_relative_to(installed.packages)
    assert {f"{name}/py.typed" for name in ("blocks", "core", "flows", "studio", "tasks")} <= {
        str(path.relative_to(installed.packages)) for path in installed.packages.glob("*/py.typed")
    }
    for name in ("config", "prompts"):
        names, ours = (
            {str(path.relative_to(root)) for path in (root / name).rglob("*") if "__pycache__" not in path.parts}
            for root in (installed.packages / "core/shipped", CHECKOUT)
        )
        assert names == ours


def test_outside_a_project_a_command_says_how_to_make_one(installed):
    assert "understudy init" in installed.understudy("generate", "--count", "2", code=2)
    assert "Did you mean 'coding-mentor'" in installed.understudy("init", "lost", "--domain", "coding-mentr", code=2)
    assert not (installed.folder / "lost").exists()


def test_a_project_is_made_and_conversations_are_rehearsed_and_judged_in_it(installed):
    before = state_of_the_checkout()
    said = installed.understudy("init", "proj", "--domain", "coding-mentor")
    project = installed.folder / "proj"
    assert str(project) in said
    # settings and a domain of one's own
    assert {path.suffix for path in (project / "config/domains/coding-mentor/programs").rglob("*")} == {".py", ".js"}
    taxonomy = project / "config/domains/coding-mentor/input-taxonomy.yaml"
    changed = yaml.safe_load(taxonomy.read_text(encoding="utf-8"))
    changed["length_classes"] = {"only": {"weight": 1.0, "exchanges": [7, 7]}}
    taxonomy.write_text(yaml.safe_dump(changed), encoding="utf-8")
    mine = "extends: demo.yaml\ngeneration: {exchanges: null, conversations: 2, first_seed: 50}\n"
    (project / "config/mine.yaml").write_text(mine, encoding="utf-8")
    below = project / "notes"
    below.mkdir()
    installed.understudy("generate", "--settings", "../config/mine.yaml", cwd=below)
    made = transcripts(project, "coding-mentor")  # the project's domain is the default
    assert [len(one["exchanges"]) for one in made] == [7, 7]
    installed.understudy("assess", "--settings", "demo", cwd=project)
    assert len(list((project / "data/assessments/coding-mentor").rglob("*.json"))) == 2
    assert list((project / "data/reports").rglob("report.html"))

    assert sorted(path.name for path in installed.folder.iterdir() if path.suffix != ".whl") == ["env", "home", "proj"]
    assert [path.name for path in below.iterdir()] == []
    assert state_of_the_checkout() == before

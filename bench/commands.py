"""What a command costs that is refused, or whose work is done: through Prefect with a server of its own, and from its receipt; and where the time goes.

    python bench/commands.py [settings]        (make bench-commands)

Wall and CPU seconds, the CPU with all that the command started. Each line is one process; the imports are the best of `TRIES`, the others are run once.
The base that is trained is the tests', of a few hundred thousand parameters. The machine should do nothing else. A goal stands beside what has one, in
seconds of the processor, which a busy machine changes less.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from core.settings.trust import trust
from tests.tiny import tiny_settings

CHECKOUT = Path(__file__).resolve().parents[1]
SERVER = """
from flows.terminal.temporary_server import temporary_server
with temporary_server() as wait:
    wait()
"""


TRIES = 5
MORE = 0.5
"""Seconds that a flow's import may take beyond Prefect's own."""
STAGES = (
    ("generate", "--count=10"),
    ("assess",),
    *(("repair",), ("preferences",), ("dataset",), ("train",), ("export",), ("evaluate",), ("release",)),
    *(("pilot", "--count=2"), ("critique",), ("calibrate",), ("optimise-prompt", "--model=scripted/mixed")),
)
SMALL = {
    "roles": {"assistant": "scripted/0.9"},
    "dataset": {"recorded": False},
    "evaluation": {"personas": 3, "max_tokens": 60, "suite_items": 3, "resamples": 500},
    "optimise": {"personas": 4, "conversations": 12},
}
"""What makes the stages quick."""
WRONG = {
    "a domain that there is not": "run demo --domain=moon",
    "a settings file that there is not": "generate --settings=moon.yaml",
    "a count that is none": "generate --count=0",
}


def measured(what: str, words: list[str], environment: dict[str, str], code: int = 0, goal: float | None = None, tries: int = 1) -> tuple[str, float]:
    """Run a program, print a line, and return the last line of its output and its CPU seconds."""
    output, wall, cpu = min((run(words, environment, code) for _ in range(tries)), key=lambda one: one[2])
    beside = "" if goal is None else f"   goal {goal:5.2f}, ratio {cpu / goal:.2f}"
    print(f"{what:<58} {wall:7.2f} {cpu:7.2f}{beside}", flush=True)
    return output.rstrip().rpartition("\n")[2], cpu


def run(words: list[str], environment: dict[str, str], code: int) -> tuple[str, float, float]:
    """Run a program; return its output, wall seconds and CPU seconds."""
    started = time.monotonic()
    process = subprocess.Popen(words, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    output = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    wall, process.returncode = time.monotonic() - started, os.waitstatus_to_exitcode(status)
    if process.returncode != code:
        sys.exit(f"{' '.join(words)} ended with exit code {process.returncode}:\n{output}")
    return output, wall, used.ru_utime + used.ru_stime


def written(folder: Path, settings: str) -> Path:
    """Write settings that extend others, with small numbers and a training of a few seconds; return their path."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings()), encoding="utf-8")
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"extends": Path(settings).name, "training": str(folder / "tiny.yaml"), **SMALL}), encoding="utf-8")
    trust(folder)
    return path


def main() -> int:
    settings = sys.argv[1] if len(sys.argv) > 1 else "config/demo.yaml"
    with tempfile.TemporaryDirectory(prefix="understudy-commands-") as folder:
        small = written(Path(folder), settings)
        environment = {**os.environ, "UNDERSTUDY_DATA": f"{folder}/data", "PREFECT_HOME": f"{folder}/prefect"}
        for name in ("PREFECT_API_URL", "PYTHONDONTWRITEBYTECODE"):  # without compiled files each start compiles all modules
            environment.pop(name, None)
        print(f"{'':<58} {'wall s':>7} {'CPU s':>7}")
        _, alone = measured("import prefect", [sys.executable, "-c", "import prefect"], environment, tries=TRIES)
        for name in ("flows.generation", "flows.pipeline"):
            measured(f"import {name}", [sys.executable, "-c", f"import {name}"], environment, goal=alone + MORE, tries=TRIES)
        for number in ("first", "second"):
            measured(f"a temporary server until it answers, and its end: {number}", [sys.executable, "-c", SERVER], environment)
        measured("deployments/install.sh light, everything installed", ["deployments/install.sh", "light"], environment)
        for what, wrong in WRONG.items():
            measured(what, [sys.executable, "-m", "flows.terminal", *wrong.split()], environment, code=2, goal=1.0)
        for flow, *words in (*STAGES, ("run",)):
            command = [sys.executable, "-m", "flows.terminal", flow, *words, f"--settings={small}"]
            said = [measured(f"{flow}: first", command, environment)[0]]
            shutil.rmtree(Path(folder) / "data/receipts")
            said.append(measured(f"{flow}: again, through Prefect", command, environment)[0])
            said.append(measured(f"{flow}: again, from its receipt", command, environment, goal=3.0)[0])
            if len(set(said)) > 1:
                sys.exit(f"They do not say the same: {said}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

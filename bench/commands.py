"""Measures the time of imports, of refused commands, and of each stage: its first run, a repeated run through Prefect, and a repeated run from its receipt.

    python -m bench.commands [settings]        (make bench-commands)

Takes 10 minutes. The machine should be idle.

Prints wall seconds, and CPU seconds including all child processes. Each line is one process; imports are the best of `TRIES` runs, everything else is run
once. The trained base is that of the tests, with a few hundred thousand parameters. Some lines have a goal, in CPU seconds, because these depend less on other
load. `settings` is a file, by default config/demo.yaml.
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
IMPORT_SECONDS = 0.5
"""CPU seconds that importing a flow may take in addition to importing Prefect."""
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
"""Settings that make the stages fast."""
REFUSED = {
    "an unknown domain": "run demo --domain=moon",
    "a settings file that does not exist": "generate --settings=moon.yaml",
    "a count of 0": "generate --count=0",
}


def measured(what: str, words: list[str], environment: dict[str, str], code: int = 0, goal: float | None = None, tries: int = 1) -> tuple[str, float]:
    """Run a program, print a line of the table, and return the last line of its output and its CPU seconds.

    Args:
        code: the exit code that is expected.
        goal: CPU seconds that it should take; None for no goal.
        tries: number of runs, of which the fastest counts.
    """
    output, wall, cpu = min((run(words, environment, code) for _ in range(tries)), key=lambda result: result[2])
    comparison = "" if goal is None else f"   goal {goal:5.2f}, ratio {cpu / goal:.2f}"
    print(f"{what:<58} {wall:7.2f} {cpu:7.2f}{comparison}", flush=True)
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


def write_settings(folder: Path, settings: str) -> Path:
    """Write settings that extend the given ones with small numbers and a training of a few seconds; return their path."""
    (folder / "tiny.yaml").write_text(yaml.safe_dump(tiny_settings()), encoding="utf-8")
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump({"extends": str(Path(settings).absolute()), "training": str(folder / "tiny.yaml"), **SMALL}), encoding="utf-8")
    trust(folder)
    return path


def main() -> int:
    settings = sys.argv[1] if len(sys.argv) > 1 else "config/demo.yaml"
    with tempfile.TemporaryDirectory(prefix="understudy-commands-") as folder:
        small = write_settings(Path(folder), settings)
        environment = {**os.environ, "UNDERSTUDY_DATA": f"{folder}/data", "PREFECT_HOME": f"{folder}/prefect"}
        for name in ("PREFECT_API_URL", "PYTHONDONTWRITEBYTECODE"):  # without compiled files, each start would compile all modules
            environment.pop(name, None)
        print(f"{'':<58} {'wall s':>7} {'CPU s':>7}")
        _, alone = measured("import prefect", [sys.executable, "-c", "import prefect"], environment, tries=TRIES)
        for name in ("flows.generation", "flows.pipeline"):
            measured(f"import {name}", [sys.executable, "-c", f"import {name}"], environment, goal=alone + IMPORT_SECONDS, tries=TRIES)
        for number in ("first", "second"):
            measured(f"a temporary server until it answers, and its end: {number}", [sys.executable, "-c", SERVER], environment)
        for what, wrong in REFUSED.items():
            measured(what, [sys.executable, "-m", "flows.terminal", *wrong.split()], environment, code=2, goal=1.0)
        for flow, *words in (*STAGES, ("run",)):
            command = [sys.executable, "-m", "flows.terminal", flow, *words, f"--settings={small}"]
            last_lines = [measured(f"{flow}: first", command, environment)[0]]
            shutil.rmtree(Path(folder) / "data/receipts")
            last_lines.append(measured(f"{flow}: again, through Prefect", command, environment)[0])
            last_lines.append(measured(f"{flow}: again, from its receipt", command, environment, goal=3.0)[0])
            if len(set(last_lines)) > 1:
                sys.exit(f"The three runs print different results: {last_lines}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

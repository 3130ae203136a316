"""Kills the pipeline with SIGKILL in every stage, runs it again each time, and compares the results with those of an uninterrupted run.

    python -m bench.kill [conversations]        (make kill-test)

Takes 5 minutes on an idle machine with 40 conversations, which is the default.

The base is the tests' tiny one, so that a run takes minutes. Exits with code 1 if a result differs or a job is left running.
"""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.tiny import tiny_settings

CHECKOUT = Path(__file__).resolve().parents[1]
MOMENTS = {
    "generation": (r"Rehearsed \d+ of", 0.0),
    "assessment": (r"Assessed \d+ of", 0.0),
    "training": (r"train_sft runs", 12.0),
    "export": (r"convert_gguf runs", 6.0),
    "evaluation": (r"Played by the base: \d+ of", 0.2),
}
"""Moments of the kills: a line of the log, and the seconds after it."""


def settings(folder: Path) -> Path:
    """Write the demo's settings with the tiny base; return the file."""
    training, path = folder / "tiny.yaml", folder / "settings.yaml"
    training.write_text(json.dumps(tiny_settings()), encoding="utf-8")
    changes = {"extends": str(CHECKOUT / "config/demo.yaml"), "training": str(training), "dataset": {"recorded": False}}
    path.write_text(json.dumps(changes), encoding="utf-8")
    return path


def run(root: Path, conversations: str, moment: tuple[str, float] | None = None) -> int:
    """Run the pipeline in a data root, to its end or until it is killed at `moment`; return the exit code."""
    environment = {**os.environ, "UNDERSTUDY_DATA": str(root / "data"), "PREFECT_HOME": str(root / "prefect"), "PYTHONUNBUFFERED": "1"}
    environment["UNDERSTUDY_TRUST_SETTINGS"] = str(root.parent)
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.terminal", "run", f"--settings={settings(root.parent)}", f"--count={conversations}"]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    line = ""
    for line in process.stdout:
        if moment and re.search(moment[0], line):
            time.sleep(moment[1])
            process.send_signal(signal.SIGKILL)
            break
    process.stdout.close()
    if (code := process.wait()) > 0:
        print(f"The run ended with exit code {code}: {line.strip()}")
    return code


def result(root: Path) -> dict[str, str]:
    """Return hashes of a run's results: the conversations' texts and verdicts, the dataset's commit, the models' bytes, and which conversations it compares.

    Not the texts of the evaluation: a reply of llama.cpp depends on what its server has read and writes at the same time, so that two runs without
    a kill differ, too.
    """
    data = root / "data"

    def digest(parts: list[str]) -> str:
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    def load(pattern: str) -> list[dict[str, Any]]:
        return [json.loads(path.read_text(encoding="utf-8")) for path in data.glob(pattern)]

    def read(items: list[dict[str, Any]], *keys: str) -> str:
        return digest(sorted(json.dumps([item[key] for key in keys], sort_keys=True) for item in items))  # paths depend on the data root, so not by path

    transcripts = load("transcripts/*/*.json")
    rehearsed = {item["id"] for item in transcripts}
    judged = [item for item in load("assessments/*/*/*.json") if item["transcript_id"] in rehearsed]
    return {
        "conversations": read(transcripts, "id", "exchanges"),
        "verdicts": read(judged, "transcript_id", "verdicts"),
        "dataset": digest([path.name for path in sorted(data.glob("hub/datasets/*/*/commits/*"))]),
        "models": digest([hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(data.glob("models/gguf/*/*.gguf"))]),
        "evaluation": read(load("evaluations/transcripts/*/*.json"), "id", "target_exchanges"),
        "comparison": read(load("evaluations/*/comparison.json"), "personas"),
    }


def left_over(root: Path) -> list[str]:
    """Return the command lines of jobs that still run in a data root."""
    time.sleep(2)
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in processes if str(root) in line and "jobs/" in line]


def main() -> int:
    conversations = sys.argv[1] if len(sys.argv) > 1 else "40"
    failures = []
    with tempfile.TemporaryDirectory(prefix="understudy-kill-") as folder:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        started = time.monotonic()
        if run(whole, conversations):
            return 1
        print(f"uninterrupted: {time.monotonic() - started:.0f} s", flush=True)
        for stage, moment in MOMENTS.items():
            code = run(killed, conversations, moment)
            rest = left_over(killed)
            print(f"killed in {stage}: exit code {code}, {len(rest)} jobs left running", flush=True)
            failures += rest if code == -signal.SIGKILL else [f"the run ended before it could be killed in {stage}"]
        end = run(killed, conversations)
        print(f"run to its end: exit code {end}", flush=True)
        failures += [f"ended with exit code {end}"] if end else []
        expected, actual = result(whole), result(killed)
        for name in expected:
            same = expected[name] == actual[name]
            print(f"{name:<14} {'the same' if same else 'DIFFERENT'}")
            failures += [] if same else [f"{name} differ"]
    print("; ".join(failures) or "All the same.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())

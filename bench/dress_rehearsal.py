"""Runs all stages with a small real model in every role, from personas to one round of improvement, and reports what each stage refused, lost and cost.

    python -m bench.dress_rehearsal [count=10] [model=…]        (make dress-rehearsal)

Takes 77 minutes with ten personas.

The model is SmolLM2-135M-Instruct on this machine's llama.cpp, or `model=`: a GGUF file, or `openai-compatible/NAME` at OPENAI_COMPATIBLE_BASE_URL. A small
model does not produce good conversations. The pack garden-talk (tests/packs) therefore has short prompts and a very lenient rubric, so that the stages after
the assessment have input. The data are in UNDERSTUDY_DATA, by default data/dress-rehearsal; the same command continues there.
"""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from bench.dress_report import write_report
from blocks.llama_launch import Launch, find_program
from blocks.llama_process import LlamaProcess
from core.processes import die_with_parent
from core.settings.pipeline import load_training
from core.training.bases import base_file
from tests.recording_proxy import RecordingProxy

CHECKOUT = Path(__file__).resolve().parents[1]
DOMAIN = "garden-talk"
STAGES = {
    **{"generation": ("generate",), "assessment": ("assess",), "repair": ("repair",), "dataset": ("dataset",), "training": ("train",), "export": ("export",)},
    **{"evaluation": ("evaluate",), "improvement": ("improve", "--rounds", "1")},
}
CONTEXT, SLOTS = 4096, 4
STOPPED, ATTEMPTS = 3, 8
"""Exit code of a stage that stopped, for example at the limit of unusable answers, and how often a stage is tried: each time it gets a little further."""
BASE = "smollm2-135m"
SECOND = "-second"
"""Suffix of the name under which the same model is on the panel a second time."""


def settings(folder: Path, model: str, count: int) -> Path:
    """Write the settings of the rehearsal; return the file."""
    few = max(2, count // 5)
    content = {
        "extends": str(CHECKOUT / "config/pipeline.yaml"),
        "roles": {"user_simulator": model, "assistant": model, "judges": [model, model + SECOND], "repairer": model, "designer": model},
        "models": {
            "openai-compatible": {"concurrency": SLOTS, "context": CONTEXT, "options": {"temperature": 0.7}, "price": {"input": 0, "output": 0}},
            model + SECOND: {"options": {"temperature": 1.0}},
            "llama-server": {"concurrency": 2, "options": {"slots": 2, "threads": 1, "temperature": 0.7}},
        },
        "calls": {"timeout_seconds": 900, "total_seconds": 1800, "unusable_answers": 8},  # most answers of so small a model are unusable
        "budget": {"usd": 0},
        "generation": {"conversations": count, "concurrency": SLOTS, "max_tokens": 90, "minimum_exchanges": 2},
        "assessment": {"concurrency": SLOTS, "max_tokens": 120, "judging": {"mode": "criterion"}},
        "gather": {"required": []},
        "dataset": {"validation_share": 0.2, "slicing": {"first": 2}},
        "training": str(training(folder)),
        "evaluation": {
            **{"personas": few, "trials": 1, "exchanges": 2, "concurrency": 2, "max_tokens": 90, "general_max_tokens": 40, "suite_items": 6},
            "battery_tries": 0,
        },
        "repair": {"max_score_gap": 0.34, "max_rewrite_share": 1.0, "max_tokens": 90},
        "improvement": {"conversations": few, "corrections": 2, "stop_without_gain": False},
    }
    path = folder / "settings.yaml"
    path.write_text(json.dumps(content, indent=1), encoding="utf-8")
    return path


def training(folder: Path) -> Path:
    """Write the settings of the training, with a short context; return the file."""
    path = folder / f"{BASE}-dress.yaml"
    path.write_text(json.dumps({"extends": str(CHECKOUT / f"config/training/{BASE}.yaml"), "train": {"max-length": 1024}}), encoding="utf-8")
    return path


def play(stage: str, words: tuple[str, ...], config: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Run a stage as a user does; return its exit code, seconds and last lines."""
    command = [sys.executable, "-m", "flows.terminal", *words, "--domain", DOMAIN, "--settings", str(config)]
    print(f"== {stage}: understudy {' '.join(words)}", flush=True)
    started, lines = time.monotonic(), []
    dying = die_with_parent()  # a stage that outlives this program would cause costs that are not reported
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=dying)  # noqa: PLW1509
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line.rstrip())
    return {
        "stage": stage,
        "code": process.wait(),
        "seconds": time.monotonic() - started,
        "lines": [line for line in lines if line and not line.startswith("So far:")][-40:],
    }


def main(arguments: list[str]) -> int:
    options = dict(word.partition("=")[::2] for word in arguments)
    count, model = int(options.get("count") or 10), options.get("model") or ""
    data = Path(os.environ.get("UNDERSTUDY_DATA") or CHECKOUT / "data/dress-rehearsal").absolute()
    data.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "UNDERSTUDY_DATA": str(data), "UNDERSTUDY_TRUST_SETTINGS": str(data), "UNDERSTUDY_PACKS": str(CHECKOUT / "tests/packs")}
    environment |= {"PREFECT_HOME": str(data / "prefect"), "PYTHONUNBUFFERED": "1"}
    environment.pop("PREFECT_API_URL", None)
    server = None
    if model.startswith("openai-compatible/"):
        address = os.environ["OPENAI_COMPATIBLE_BASE_URL"]
    else:
        path = Path(model).absolute() if model else asyncio.run(base_file(load_training(BASE).base))[0]
        server = LlamaProcess(Launch(path, context=CONTEXT, slots=SLOTS, threads=1), find_program())
        started = asyncio.run(server.start())
        address, model = f"{started.address}/v1", f"openai-compatible/{path.stem.lower()}"
        environment["OPENAI_COMPATIBLE_API_KEY"] = started.key
    plain = model.partition("/")[2]
    stages = data / "stages.jsonl"
    with RecordingProxy(address, data / "server.jsonl", {plain + SECOND: plain}) as proxy:
        environment["OPENAI_COMPATIBLE_BASE_URL"] = proxy.url  # not in the settings: another port would make it another run
        config = settings(data, model, count)
        for stage, words in STAGES.items():
            proxy.stage = stage
            for _ in range(ATTEMPTS):
                ended = play(stage, words, config, environment)
                with stages.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(ended) + "\n")
                if ended["code"] != STOPPED:
                    break
            write_report(data, model, count)
    if server:
        server.stop()
    print(f"The report: {data / 'report.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

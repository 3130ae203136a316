"""Many processes of one run, some killed or cut off, against a provider that may report wrong usage."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.core.payer import PRICE, RUN
from tests.stub.client import Stub

CHECKOUT = Path(__file__).resolve().parents[2]
ANSWER = "an answer of words " * 25
LIES: dict[str, Any] = {
    "null": None,
    "negative": {"prompt_tokens": -5000, "completion_tokens": -5000, "total_tokens": -10_000},
    "text": {"prompt_tokens": "many", "completion_tokens": "few"},
    "nothing written": {"prompt_tokens": 900, "completion_tokens": 0, "total_tokens": 900},
    "true and false": {"prompt_tokens": True, "completion_tokens": False},
    "not a number": {"prompt_tokens": float("nan"), "completion_tokens": float("nan")},
    "more cached than read": {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 10**6}},
    "absurd": {"prompt_tokens": 10**12, "completion_tokens": 10**12},
    "a list": [1, 2],
}


@dataclass
class Round:
    """What happens to a run.

    Args:
        at_once: processes; kills: how many of them are killed, one after the other, and replaced.
        latency, timeout: seconds; lies: what takes the place of `usage`.
    """

    at_once: int = 1
    kills: int = 0
    latency: float = 0.05
    timeout: float = 60
    lies: Sequence[str] = ()


def play(given: Round, stub: Stub, folder: Path, usd: float, seed: int, count: int = 300, checkout: Path = CHECKOUT) -> tuple[float, float, set[int]]:
    """Run the processes to their end; return what the provider bills, what the ledger says, and how processes ended."""
    faults = [
        {"when": {"calls": list(range(number, 20_000, len(given.lies)))}, "fault": {"kind": "usage", "value": LIES[lie]}}
        for number, lie in enumerate(given.lies)
    ]
    stub.set(latency_s=given.latency, latency_jitter_s=given.latency, answer_text=ANSWER, cache_enabled=False, faults=faults, log_bodies=False)
    stub.reset()
    chance, words = random.Random(seed), [sys.executable, "-m", "tests.core.payer", stub.url, str(folder), str(usd), str(count), str(given.timeout)]

    def start() -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": str(checkout)}
        return subprocess.Popen(words, cwd=checkout, env=environment, stderr=subprocess.PIPE, text=True)

    running = [start() for _ in range(given.at_once)]
    for _ in range(given.kills):
        before = calls_of(stub)
        until = time.monotonic() + 20
        while calls_of(stub) < before + 3 and time.monotonic() < until and any(process.poll() is None for process in running):
            time.sleep(0.02)
        time.sleep(chance.uniform(0, 2 * given.latency))
        victim = chance.randrange(len(running))
        running[victim].send_signal(signal.SIGKILL)
        running[victim].communicate()
        running[victim] = start()
    ends = set()
    for process in running:
        said = process.communicate(timeout=120)[1]
        assert process.returncode in (0, 3), said
        ends.add(process.returncode)
    time.sleep(3 * given.latency)  # calls in progress are still billed
    tokens = stub.stats()["chat"]["tokens"]
    return (tokens["input"] * PRICE.input + tokens["output"] * PRICE.output) / 1e6, charged(folder), ends


def calls_of(stub: Stub) -> int:
    """Return the number of calls."""
    return stub.stats().get("chat", {}).get("calls", 0)


def charged(folder: Path) -> float:
    """Return the total of all ledger lines."""
    lines = [json.loads(line) for path in folder.glob(f"ledger/{RUN}/*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    last = {line["call"]: line for line in lines}
    return sum((line["most"]["usd"] if "most" in line else line.get("usd")) or 0.0 for line in last.values())

"""Generates conversations of 3 to 50 exchanges, once uninterrupted and once killed three times with SIGKILL, and compares the two.

    python -m bench.rehearsal [conversations] [scripted] [loopback]        (make bench-rehearsal)

Takes 6 minutes with 200 conversations, which is the default.

`scripted` plays with scripted models, `loopback` with the Anthropic and OpenAI SDKs against the tests' server, which answers after LATENCY. The latency alone
is the minimum time for chains of as many calls, AT_ONCE at a time. Exits with code 1 if a transcript differs, or if more calls were paid twice than were in
flight.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from bench.flow import AT_ONCE, LATENCY, floor
from core.llm.bills import SENT, read_entries
from core.storage.store import Store
from tests.stub.client import Stub, start_stub

CHECKOUT = Path(__file__).resolve().parents[1]
EXCHANGES = (3, 50)
KILLS = (0.2, 0.5, 0.8)
"""Shares of the messages after which the run is killed."""


def settings(folder: Path, stub: Stub | None) -> Path:
    models = {name: {"concurrency": AT_ONCE, "options": {"base_url": stub.url + path}} for name, path in (("anthropic", ""), ("openai", "/v1"))} if stub else {}
    roles = {"user_simulator": "anthropic/claude-haiku-5-5", "assistant": "openai/gpt-6-luna"} if stub else {}
    content = {
        "extends": str(CHECKOUT / "config" / ("pipeline.yaml" if stub else "demo.yaml")),
        "roles": roles,
        "models": models,
        "generation": {"exchanges": EXCHANGES, "concurrency": AT_ONCE},
    }
    path = folder / "settings.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def messages(root: Path) -> int:
    """Return the number of messages of running and finished conversations. In a transcript, each exchange's number occurs twice: once in its steering."""
    return sum(count(path, b'"side"') for path in root.glob("data/turns/*.jsonl")) + sum(
        count(path, b'"exchange_number": ') for path in root.glob("data/transcripts/*/*.json")
    )


def count(path: Path, text: bytes) -> int:
    try:
        return path.read_bytes().count(text)
    except FileNotFoundError:  # the conversation has just ended
        return 0


def run(root: Path, config: Path, conversations: int, until: int | None = None) -> dict[str, Any]:
    """Run the flow to its end, or kill it once `until` messages exist; return its exit code, seconds, and peak memory in MB."""
    environment = {
        **os.environ,
        "UNDERSTUDY_DATA": str(root / "data"),
        "UNDERSTUDY_TRUST_SETTINGS": str(config.parent),
        "PREFECT_HOME": str(root / "prefect"),
        "ANTHROPIC_API_KEY": "good",
        "OPENAI_API_KEY": "good",
    }
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.terminal", "generate", f"--count={conversations}", f"--settings={config}"]
    process = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started, peak = time.monotonic(), 0
    while process.poll() is None:
        time.sleep(0.5)
        try:
            status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
            peak = max(peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
        except OSError:
            pass
        if until is not None and messages(root) >= until:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return {"code": process.returncode, "seconds": time.monotonic() - started, "megabytes": peak // 1024}


def transcripts_of(root: Path) -> dict[str, Any]:
    """Return the content of every conversation by id: exchanges, end reason and rejections."""
    transcripts = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(root.glob("data/transcripts/*/*.json"))]
    return {item["id"]: [item["exchanges"], item["end_reason"], item["provenance"]["rejections"]] for item in transcripts}


def calls(root: Path) -> tuple[int, int]:
    """Return the number of calls on the ledger, and how many of them have no answer."""
    store = Store(str(root / "data"))
    (ledger,) = (path.name for path in (root / "data/ledger").iterdir())
    entries = read_entries(store, ledger)
    return len(entries), sum(entry["outcome"] == SENT for entry in entries)


def compare(name: str, conversations: int, server: AbstractContextManager[Stub | None]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="understudy-rehearsal-") as folder, server as stub:
        whole, killed = Path(folder) / "whole", Path(folder) / "killed"
        config = settings(Path(folder), stub)
        if stub:
            stub.set(latency_s=LATENCY, send_limit_headers=True, log_bodies=False)
        first = run(whole, config, conversations)
        transcripts = transcripts_of(whole).values()
        exchanges = sum(len(item[0]) for item in transcripts)
        spans = [stats["last"] - stats["first"] + LATENCY for stats in stub.stats().values()] if stub else []
        print(
            f"{name}: {conversations} conversations, {exchanges} exchanges; exit code {first['code']}, {first['seconds']:.0f} s including the start", flush=True
        )
        print(f"  peak memory {first['megabytes']} MB; calls {calls(whole)[0]}")
        if stub:
            bound = floor(2 * len(item[0]) + len(item[2]) for item in transcripts)
            print(f"  first to last call {max(spans):.1f} s; latency alone {bound:.1f} s; ratio {bound / max(spans):.3f}", flush=True)
        for share in KILLS:
            killed_at = run(killed, config, conversations, int(2 * exchanges * share))
            print(
                f"  killed at {100 * share:.0f} % of the messages: exit code {killed_at['code']}, {messages(killed)} of {2 * exchanges} messages kept",
                flush=True,
            )
        last = run(killed, config, conversations)
        (sent, unanswered), (needed, _) = calls(killed), calls(whole)
        same = transcripts_of(whole) == transcripts_of(killed)
        print(f"  then to its end: exit code {last['code']}; transcripts {'the same' if same else 'DIFFERENT'}")
        print(
            f"  calls {sent} against {needed}: {sent - needed} paid twice ({len(KILLS) * AT_ONCE} are allowed), {unanswered} without an answer",
            flush=True,
        )
        failures = [] if same and transcripts_of(whole) else [f"{name}: transcripts differ"]
        return failures + ([f"{name}: {sent - needed} calls paid twice"] if sent - needed > len(KILLS) * AT_ONCE else [])


def main(arguments: list[str]) -> int:
    conversations = int(next((word for word in arguments if word.isdigit()), "200"))
    chosen = [word for word in arguments if not word.isdigit()] or ["scripted", "loopback"]
    failures = [failure for name in chosen for failure in compare(name, conversations, start_stub() if name == "loopback" else nullcontext())]
    print("; ".join(failures) or "All the same.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

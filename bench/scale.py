"""Measures batches on several workers: throughput, behaviour under faults, and growth of time and memory.

    python -m bench.scale [workers] [faults] [growth] [conversations=2000] [sizes=500,2000,8000]        (make bench-scale)

Takes 40 minutes; with conversations=40 sizes=20,40 about 10 minutes. It needs PostgreSQL's programs (Debian: apt-get install postgresql).

PostgreSQL and the Prefect server are real; the providers are the tests' loopback server. `workers` compares the throughput of 1, 2 and 4 workers. `faults`
kills a worker and its flow with -9, restarts the server, and stops the database for ten seconds, each in the middle of a batch. `growth` measures time and
memory by batch size. Exits with code 1 if a conversation is lost, or if a call is paid twice that was not in flight at a kill. The environment variable KEEP
names a folder for the files of a run that failed.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import psutil
import yaml

from core.llm.bills import read_entries
from core.machine.deaths import ended
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.postgresql import PostgreSQL, free_port
from tests.stub.client import Stub, start_stub

CHECKOUT = Path(__file__).resolve().parents[1]
PREFECT = str(Path(sys.executable).with_name("prefect"))
EXCHANGES, LATENCY = 3, 0.2
AT_ONCE = 20
"""Concurrent conversations of a worker. With 10, the latency alone took 480 s for 8,000 conversations with two workers."""
CALLS = 2 * EXCHANGES


class Fleet:
    """A database, a Prefect server, and workers that share a data root."""

    def __init__(self, folder: Path, stub: Stub) -> None:
        self.folder, self.stub, self.port, self.workers = folder, stub, free_port(), []
        self.database = PostgreSQL(folder)
        self.environment = {
            **os.environ,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database.url,
            "PREFECT_SERVER_API_PORT": str(self.port),
            "PREFECT_API_URL": f"http://127.0.0.1:{self.port}/api",
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "UNDERSTUDY_DATA": str(folder / "data"),
            "UNDERSTUDY_TRUST_SETTINGS": str(folder),
            "ANTHROPIC_API_KEY": "good",
            "DO_NOT_TRACK": "1",
        }
        self.settings = str(_settings(folder, stub))
        self.start_server()
        self.call([sys.executable, "deployments/setup.py", "deploy", f"--settings={self.settings}"])

    def start_server(self) -> None:
        self.server = self.spawn([PREFECT, "server", "start"], "server.log")
        until = time.monotonic() + 180
        while time.monotonic() < until:
            try:
                with urllib.request.urlopen(f"{self.environment['PREFECT_API_URL']}/health", timeout=2):
                    return
            except OSError:
                time.sleep(0.5)
        sys.exit(f"The server did not start; see {self.folder / 'server.log'}.")

    def stop_server(self) -> None:
        end(self.server)

    def start_workers(self, count: int) -> None:
        for number in range(len(self.workers), count):
            words = [PREFECT, "worker", "start", "--pool", "understudy", "--name", f"worker-{number}-{time.monotonic_ns()}", "--limit", "1"]
            self.workers.append(self.spawn(words, f"worker-{number}.log"))

    def stop_workers(self) -> None:
        for process in self.workers:
            end(process)
        self.workers.clear()

    def spawn(self, words: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self.folder / log).open("a", encoding="utf-8") as out:
            return subprocess.Popen(words, cwd=CHECKOUT, env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True)

    def call(self, words: list[str]) -> str:
        done = subprocess.run(words, cwd=CHECKOUT, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"{' '.join(map(str, words))} {ended(done.returncode)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def batch(self, first: int, count: int, shards: int, meanwhile: Callable[[], None] | None = None) -> dict[str, float]:
        """Generate a batch in `shards` shards; return its seconds, counts, peak memory in bytes and exit code.

        Args:
            first: seed of the first conversation.
            count: number of conversations.
            meanwhile: runs in a thread during the batch, to cause a fault.
        """
        self.stub.reset()
        parameters = {"count": count, "first-seed": first, "shards": shards, "settings": self.settings}
        words = [sys.executable, "-m", "flows.terminal", "generate", *(f"--{name}={value}" for name, value in parameters.items())]
        began, peak = time.monotonic(), 0
        process = self.spawn(words, f"batch-{first}.log")
        disturbance = threading.Thread(target=meanwhile) if meanwhile else None
        if disturbance:
            disturbance.start()
        while process.poll() is None:
            peak = max(peak, *(_memory(pid) for pid in [process.pid, *self.flow_processes()]))
            time.sleep(0.5)
        seconds = time.monotonic() - began
        if disturbance:
            disturbance.join()
        seeds = {path.name.partition("-")[0] for path in (self.folder / "data" / "transcripts" / "therapeutic-coaching").glob("*.json")}
        made = sum(f"{seed:05d}" in seeds for seed in range(first, first + count))
        sent = self.stub.stats().get("anthropic", {}).get("calls", 0)
        return {"seconds": seconds, "made": made, "calls": sent, "memory": peak, "exit": process.returncode, "wanted": count}

    def flow_processes(self) -> list[int]:
        """Return the process ids of the shards, which are children of the workers."""
        pids = []
        for worker in self.workers:
            try:
                pids += [child.pid for child in psutil.Process(worker.pid).children(recursive=True)]
            except psutil.NoSuchProcess:
                continue
        return pids

    def close(self) -> None:
        self.stop_workers()
        self.stop_server()
        self.database.stop()


def end(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    except ProcessLookupError:
        process.wait()


def _memory(pid: int) -> int:
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.NoSuchProcess:
        return 0


def _settings(folder: Path, stub: Stub) -> Path:
    """Write settings with short conversations and few concurrent ones per run, so that more workers increase the throughput."""
    settings = load_settings("config/demo.yaml").model_dump(mode="json")
    settings["roles"] |= {"user_simulator": "anthropic/claude-haiku-5-5", "assistant": "anthropic/claude-haiku-5-5"}
    settings["models"] |= {"anthropic": {"concurrency": 4 * AT_ONCE, "runs_at_once": 4, "options": {"base_url": stub.url}}}
    settings["budget"] = {"usd": None, "tokens": None}
    settings["generation"] |= {
        "exchanges": [EXCHANGES, EXCHANGES],
        "concurrency": AT_ONCE,
        "conversations": 10,
        "guards": [],
    }  # no guards, since the stub repeats its answers
    settings["evaluation"] |= {"first_seed": 1_000_000}
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return path


def report(name: str, result: dict[str, float], relative: float | None = None) -> None:
    rate, doubled = result["made"] / result["seconds"], result["calls"] - CALLS * result["made"]
    against = f"  {relative:5.2f} of one worker's" if relative else ""
    print(
        f"{name:<34} {result['made']:6.0f} of {result['wanted']:.0f} made  {result['seconds']:7.1f} s  {rate:6.1f}/s{against}  "
        f"{doubled:4.0f} calls paid twice  {result['memory'] / 1e6:6.0f} MB per process",
        flush=True,
    )


def lost(result: dict[str, float], allowed: int) -> list[str]:
    """Return what went wrong in a batch, as words.

    Args:
        allowed: number of calls that may have been in flight at a kill.
    """
    doubled = result["calls"] - CALLS * result["made"]
    wrong = [f"{result['wanted'] - result['made']:.0f} conversations lost"] if result["made"] != result["wanted"] else []
    wrong += [f"exit code {result['exit']:.0f}"] if result["exit"] else []
    return wrong + ([f"{doubled:.0f} calls paid twice, of which {allowed} may have been in flight"] if doubled > allowed else [])


def by_workers(fleet: Fleet, count: int) -> list[str]:
    failures, alone = [], 0.0
    for workers in (1, 2, 4):
        fleet.start_workers(workers)
        result = fleet.batch(100_000 * workers, count, workers)
        alone = alone or result["made"] / result["seconds"]
        report(f"{workers} worker{'s' if workers > 1 else ''}", result, result["made"] / result["seconds"] / alone)
        failures += lost(result, 0)
    fleet.stop_workers()
    return failures


def with_faults(fleet: Fleet, count: int) -> list[str]:
    """Run a batch with each fault, which occurs after about a third of the calls."""

    def kill_worker() -> None:
        wait_for_calls(fleet.stub, CALLS * count // 3)
        victim = fleet.workers.pop()
        children = psutil.Process(victim.pid).children(recursive=True)
        for process in [*children, psutil.Process(victim.pid)]:
            process.kill()
        victim.wait()

    def restart_server() -> None:
        wait_for_calls(fleet.stub, CALLS * count // 3)
        fleet.stop_server()
        time.sleep(3)
        fleet.start_server()

    def stop_database() -> None:
        wait_for_calls(fleet.stub, CALLS * count // 3)
        fleet.database.stop()
        time.sleep(10)
        fleet.database.start()

    failures = []
    faults = {"a worker killed with -9": (kill_worker, AT_ONCE), "the server restarted": (restart_server, 0), "no database for 10 s": (stop_database, 0)}
    for number, (name, (fault, allowed)) in enumerate(faults.items(), start=1):
        fleet.start_workers(2)
        result = fleet.batch(500_000 + 10_000 * number, count, 2, fault)
        report(name, result)
        failures += [f"{name}: {wrong}" for wrong in lost(result, allowed)]
    fleet.stop_workers()
    return failures


def by_size(fleet: Fleet, sizes: list[int]) -> list[str]:
    failures, began = [], 600_000
    fleet.start_workers(2)
    for size in sizes:
        result = fleet.batch(began, size, 2)
        report(f"{size} conversations, 2 workers", result)
        print(f"  the providers' latency alone takes {size * CALLS * LATENCY / (2 * AT_ONCE):.1f} s", flush=True)
        failures += lost(result, 0)
        began += size
    fleet.stop_workers()
    return failures


def wait_for_calls(stub: Stub, count: int) -> None:
    while stub.stats().get("anthropic", {}).get("calls", 0) < count:
        time.sleep(0.2)


def main(words: list[str]) -> int:
    options = {"conversations": "2000", "sizes": "500,2000,8000"} | dict(word.split("=") for word in words if "=" in word)
    parts = [word for word in words if "=" not in word] or ["workers", "faults", "growth"]
    count, failures = int(options["conversations"]), []
    with tempfile.TemporaryDirectory(prefix="understudy-scale-") as name, start_stub(latency_s=LATENCY, log_bodies=False) as stub:
        fleet = Fleet(Path(name), stub)
        try:
            if "workers" in parts:
                failures += by_workers(fleet, count)
            if "faults" in parts:
                failures += with_faults(fleet, max(60, count // 4))
            if "growth" in parts:
                failures += by_size(fleet, [int(size) for size in options["sizes"].split(",")])
            entries = [entry for path in (fleet.folder / "data/ledger").iterdir() for entry in read_entries(Store(str(fleet.folder / "data")), path.name)]
            print(f"{len({entry['call'] for entry in entries}):,} calls on the ledgers")
        finally:
            fleet.close()
            if failures and (keep := os.environ.get("KEEP")):
                shutil.copytree(name, keep, dirs_exist_ok=True, ignore=shutil.ignore_patterns("postgres"))
    print("; ".join(failures) or "Nothing lost, nothing paid twice.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

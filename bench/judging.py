"""Measures the billed tokens of each judging mode with each provider's SDK, and compares a panel that is killed with one that is not.

    python -m bench.judging [billed] [kill] [transcripts=folder]        (make bench-judging)

Takes 5 minutes. The providers are the tests' loopback server. Without a folder, the conversations are 40 scripted ones.

`billed` prints input tokens at the base price (a cache read costs 0.1, a write 1.25), as a share of the uncached price of one call for each criterion.
`kill` kills a panel of two, with a call for each criterion, three times with SIGKILL and runs it again. Exits with code 1 if the verdicts differ from those of
an uninterrupted run, or if more calls were paid twice than were in flight.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench.flow import AT_ONCE
from bench.llm import clients, ours
from core.imports.transcript_files import find_transcripts
from core.judging.judge import assess
from core.judging.judge_call import JudgeContext
from core.llm.bills import read_entries
from core.packs.pack import load_pack
from core.records import Assessment, Outcome, Transcript
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_batch
from core.rehearsal.turns import Cast, Player
from core.scripted.chat import ScriptedChat
from core.settings.assessment import Judging
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.stub.client import Stub, start_stub

CHECKOUT = Path(__file__).resolve().parents[1]
PACK = load_pack("therapeutic-coaching")
MODES = ("single", "category", "criterion")
PROVIDERS = ("anthropic", "openai", "google")
KILLS = (0.25, 0.5, 0.75)
"""Shares of the calls after which the run is killed."""
LATENCY = 0.2
IN_FLIGHT = 16
"""Concurrent calls of each judge in the runs that are killed."""


async def rehearsed(count: int) -> list[Transcript]:
    user, assistant = (Player(ScriptedChat(name, PACK), 2000, 10**6, guards=()) for name in ("user", "mixed"))
    cast = Cast(user, assistant, PACK.instructions("assistant"), 3)
    return [await rehearse(PACK, persona, cast, f"bench-{persona.seed}") for persona in sample_batch(PACK, 0, count, (3, 40))]


async def billed(transcripts: list[Transcript]) -> list[str]:
    exchanges = sum(len(item.exchanges) for item in transcripts)
    print(f"{len(transcripts)} transcripts, {exchanges} exchanges; input tokens, billed at the base price, and as a share of 17 uncached calls")
    how = load_settings().assessment.judging.model_dump()
    with tempfile.TemporaryDirectory() as folder, start_stub() as stub:
        for provider in PROVIDERS:
            stub.set(min_prefix_tokens=4096 if provider == "google" else 1024, send_limit_headers=False, log_bodies=False)
            counts = {mode: await judge(stub, provider, folder, transcripts, Judging.model_validate(how | {"mode": mode})) for mode in MODES}
            uncached = counts["criterion"]["tokens"]["input"]
            for mode, stats in counts.items():
                share, read = stats["billed_input"] / uncached, stats["tokens"]["cache_read"] / stats["tokens"]["input"]
                print(
                    f"  {provider:<10} {mode:<10} calls {stats['calls']:>5}  sent {stats['tokens']['input']:>11,}  read from the cache {100 * read:3.0f} %  "
                    f"billed {stats['billed_input']:>11,.0f}  of uncached {share:.3f}  incomplete {stats['incomplete']}",
                    flush=True,
                )
    return []


async def judge(stub: Stub, provider: str, folder: str, transcripts: list[Transcript], how: Judging) -> dict[str, Any]:
    """Judge all transcripts; return the provider's counts."""
    stub.reset()
    caller, slots = ours(clients(stub.url)[provider], folder), asyncio.Semaphore(8)

    async def one(transcript: Transcript) -> Assessment:
        async with slots:
            return await assess(JudgeContext(PACK, caller, transcript, how, 16000))

    assessments = await asyncio.gather(*(one(item) for item in transcripts))
    (stats,) = stub.stats().values()
    return stats | {"incomplete": sum(item.score.outcome is Outcome.INCOMPLETE for item in assessments)}


async def kill(transcripts: list[Transcript]) -> list[str]:
    with tempfile.TemporaryDirectory(prefix="understudy-judging-") as folder, start_stub(latency_s=LATENCY, log_bodies=False) as stub:
        root = Path(folder)
        (root / "transcripts").mkdir()
        for item in transcripts:
            (root / f"transcripts/{item.id}.json").write_text(item.model_dump_json(), encoding="utf-8")
        config = settings(root, stub)
        print(f"A panel of two, a call for each criterion: {len(transcripts)} transcripts")
        code, seconds = run(root / "whole", config)
        needed = calls(root / "whole")
        print(f"  uninterrupted: exit code {code}, {seconds:.0f} s, {needed} calls", flush=True)
        for share in KILLS:
            code, _ = run(root / "killed", config, int(needed * share))
            print(f"  killed at {100 * share:.0f} % of the calls: exit code {code}, {calls(root / 'killed')} sent", flush=True)
        code, _ = run(root / "killed", config)
        sent, same = calls(root / "killed"), verdicts(root / "whole") == verdicts(root / "killed")
        left = list(root.glob("killed/judgements/*"))
        print(f"  then to its end: exit code {code}; verdicts {'the same' if same else 'DIFFERENT'}; logs left {len(left)}")
        print(f"  calls {sent} against {needed}: {sent - needed} paid twice; allowed {len(KILLS) * 2 * IN_FLIGHT}")
        failures = [] if same and verdicts(root / "whole") and not left else ["verdicts differ"]
        return failures + ([f"{sent - needed} calls paid twice"] if sent - needed > len(KILLS) * 2 * IN_FLIGHT else [])


def settings(root: Path, stub: Stub) -> Path:
    content = {
        "extends": str(CHECKOUT / "config/pipeline.yaml"),
        "roles": {"judges": ["anthropic/claude-haiku-5-5", "openai/gpt-6-luna"]},
        "models": {name: {"concurrency": IN_FLIGHT, "options": {"base_url": stub.url + path}} for name, path in (("anthropic", ""), ("openai", "/v1"))},
        "assessment": {"concurrency": AT_ONCE, "judging": {"mode": "criterion"}},
    }
    path = root / "settings.yaml"
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


def run(data: Path, config: Path, until: int | None = None) -> tuple[int, float]:
    """Run the flow to its end, or kill it once `until` calls were sent; return the exit code and the seconds."""
    environment = {**os.environ, "UNDERSTUDY_DATA": str(data), "PREFECT_HOME": f"{data}-prefect", "ANTHROPIC_API_KEY": "good", "OPENAI_API_KEY": "good"}
    environment["UNDERSTUDY_TRUST_SETTINGS"] = str(config.parent)
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "flows.terminal", "assess", f"--transcripts={config.parent / 'transcripts'}", f"--settings={config}"]
    process, started = subprocess.Popen(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL), time.monotonic()
    while process.poll() is None:
        time.sleep(0.2)
        if until is not None and calls(data) >= until:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return process.returncode, time.monotonic() - started


def calls(data: Path) -> int:
    """Return the number of calls on the ledger, including those without an answer."""
    return sum(len(read_entries(Store(str(data)), folder.name)) for folder in data.glob("ledger/*"))


def verdicts(data: Path) -> dict[str, Any]:
    single = [json.loads(path.read_text(encoding="utf-8")) for path in data.glob("assessments/*/*/*.json")]
    panels = [json.loads(path.read_text(encoding="utf-8")) for path in data.glob("assessments/*/*/panels/*.json")]
    return {f"{item['transcript_id']} {item['judge']}": [item["verdicts"], item["score"]] for item in [*single, *panels]}


async def main(words: list[str]) -> int:
    source = next((word.partition("=")[2] for word in words if word.startswith("transcripts=")), "")
    transcripts = list(find_transcripts(Path(source).absolute()).transcripts.values()) if source else await rehearsed(40)
    parts = {"billed": billed, "kill": kill}
    failures = [failure for name in [word for word in words if word in parts] or list(parts) for failure in await parts[name](transcripts)]
    print("; ".join(failures) or "All as it should be.")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1:])))

"""The same command twice at once, and one of the two killed: each conversation is complete, made by one run, and paid once."""

import asyncio
import json
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from core.llm.bills import read_entries
from core.storage.store import Store
from flows.generation import generation
from flows.nightly import nightly
from tests.flows.conftest import write_settings

HAIKU = "anthropic/claude-haiku-5-5"
CONVERSATIONS, EXCHANGES, AT_ONCE = 6, 2, 2
CALLS = CONVERSATIONS * EXCHANGES * 2


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0.1, send_limit_headers=True, requests_per_minute=None)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    yield provider
    provider.set(latency_s=0, held=False)


@pytest.fixture(scope="module")
def paid(tmp_path_factory, provider):
    """Path of settings whose models are the stub's."""
    return write_settings(
        tmp_path_factory.mktemp("paid"),
        roles={"user_simulator": HAIKU, "assistant": HAIKU, "judges": [HAIKU]},
        models={"anthropic": {"concurrency": 20, "options": {"base_url": provider.url}}},
        generation={"conversations": CONVERSATIONS, "exchanges": [EXCHANGES, EXCHANGES], "minimum_exchanges": EXCHANGES, "concurrency": AT_ONCE},
        budget={"usd": 5, "tokens": None},
        nightly={"conversations": CONVERSATIONS, "budget": {"usd": 5, "tokens": None}},
    )


def exchanges(root: Path) -> dict[str, list[dict[str, str]]]:
    """Return the exchanges of each transcript, by its name."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8"))["exchanges"] for path in root.glob("transcripts/*/*.json")}


def wait_until(condition, seconds=240):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"not true after {seconds} seconds"
        time.sleep(0.02)


def read_output(process):
    """Read a process's output in a thread, so that the process never waits for a reader; return the list of its lines and the thread."""
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.extend(process.stdout), daemon=True)
    reader.start()
    return lines, reader


@pytest.fixture(scope="module")
def undisturbed(paid, provider, tmp_path_factory):
    """The exchanges of an undisturbed run."""
    root = tmp_path_factory.mktemp("undisturbed")
    provider.set(faults=[], latency_s=0, send_limit_headers=True, requests_per_minute=None)
    provider.reset()
    with pytest.MonkeyPatch.context() as elsewhere:
        elsewhere.setenv("ANTHROPIC_API_KEY", "good")
        elsewhere.setenv("UNDERSTUDY_DATA", str(root))
        asyncio.run(generation(settings=paid))
    assert provider.stats()["anthropic"]["calls"] == CALLS
    return exchanges(root)


@pytest.mark.parametrize("killed", [False, True], ids=["both end", "one is killed"])
def test_two_runs_of_one_command_make_each_conversation_once(command, paid, stub, data_root, undisturbed, killed):
    stub.set(held=True)
    both = [command("generate", f"--settings={paid}") for _ in range(2)]
    outputs = [read_output(process) for process in both]
    wait_until(lambda: stub.stats().get("anthropic", {}).get("in_flight") == 2 * AT_ONCE)
    if not killed:
        elsewhere = re.compile(rf"\d+ of {CONVERSATIONS} are being made by another run \(process \d+ on \S+\)")
        wait_until(lambda: any(elsewhere.search("".join(lines)) for lines, _ in outputs))
    stub.set(held=False)
    if killed:
        wait_until(lambda: len(exchanges(data_root)) >= 2)
        os.killpg(both[0].pid, signal.SIGKILL)
    codes = [process.wait(timeout=120) for process in both]
    for _, reader in outputs:
        reader.join()
    texts = ["".join(lines) for lines, _ in outputs]
    survivors = [number for number in range(2) if codes[number] != -signal.SIGKILL]
    assert [codes[number] for number in survivors] == [0] * (2 - killed), texts
    assert exchanges(data_root) == undisturbed
    assert not list(data_root.glob("turns/*"))
    assert not list(data_root.glob(".locks/**/*.lock"))
    under_way = AT_ONCE * killed
    assert CALLS <= stub.stats()["anthropic"]["calls"] <= CALLS + under_way
    entries = [entry for folder in data_root.glob("ledger/*") for entry in read_entries(Store(str(data_root)), folder.name)]
    assert 0 <= len(entries) - stub.stats()["anthropic"]["calls"] <= under_way  # a call is on the bill before it is sent
    for number in survivors:
        assert "damaged" not in texts[number]


async def test_two_nights_at_once_pay_for_each_message_and_each_verdict_once(command, paid, stub, data_root, tmp_path, monkeypatch):
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("UNDERSTUDY_DATA", str(tmp_path / "undisturbed"))
        await nightly(settings=paid, night="2026-11-01")
    alone = stub.stats()["anthropic"]["calls"]
    assert alone >= CALLS + CONVERSATIONS
    stub.reset()
    both = [command("nightly", f"--settings={paid}", "--night=2026-11-01") for _ in range(2)]
    outputs = [read_output(process) for process in both]
    codes = [process.wait(timeout=120) for process in both]
    for _, reader in outputs:
        reader.join()
    assert codes == [0, 0], outputs
    assert exchanges(data_root) == exchanges(tmp_path / "undisturbed")
    entries = [entry for folder in data_root.glob("ledger/*") for entry in read_entries(Store(str(data_root)), folder.name)]
    assert stub.stats()["anthropic"]["calls"] == len(entries) == alone
    assert not [*data_root.glob("turns/*"), *data_root.glob("judgements/*")]

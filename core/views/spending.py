"""What calls cost, by what they were for, from the ledgers of all runs; a ledger that grows is read on from where it ended."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from core.llm.bills import SENT, Bill, charged, is_entry
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line
from core.storage.store import FileState, Store


@dataclass
class _Ledger:
    """What is known of a run's calls."""

    read: dict[str, int] = field(default_factory=dict)
    seen: dict[str, FileState] = field(default_factory=dict)
    calls: dict[str, Line] = field(default_factory=dict)


_KNOWN: dict[tuple[str, str], _Ledger] = {}
_LOCK = threading.Lock()


def run_bill(store: Store, run: str) -> Bill:
    """Return what a run has cost so far."""
    bill = Bill()
    for line in _calls(store, run):
        bill.add(charged(line))
    return bill


def spent_on(store: Store, items: Iterable[str]) -> dict[str, Bill]:
    """Return what all runs together spent on each of these, such as a conversation; what cost nothing is left out."""
    wanted = set(items)
    found: dict[str, Bill] = defaultdict(Bill)
    for run in run_names(store):
        for line in _calls(store, run):
            if line["item"] in wanted:
                found[line["item"]].add(charged(line))
    return dict(found)


def run_names(store: Store) -> list[str]:
    """Return the names of the runs that have called a model."""
    return [name.removeprefix("ledger/") for name in store.names("ledger")]


def _calls(store: Store, run: str) -> list[Line]:
    with _LOCK:
        known = _KNOWN.setdefault((store.root, run), _Ledger())
        for name, state in store.states(store.names(f"ledger/{run}", ".jsonl")).items():
            if known.seen.get(name) != state:
                _read_on(store, name, known)
                known.seen[name] = state
        return list(known.calls.values())


def _read_on(store: Store, name: str, known: _Ledger) -> None:
    with store.reading(name) as file:
        file.seek(known.read.get(name, 0))
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    known.read[name] = known.read.get(name, 0) + len(whole)
    for line in read_objects(whole):
        if is_entry(line) and known.calls.get(line["call"], {"outcome": SENT})["outcome"] == SENT:
            known.calls[line["call"]] = {key: line.get(key) for key in KEPT} | ({"most": line["most"]} if line["outcome"] == SENT else {})


KEPT = ("call", "at", "role", "item", "model", "outcome", "usd", "estimated", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")

"""What calls cost, by what they were for, from the ledgers of all runs; a ledger that grows is read on from where it ended."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from core.llm.bills import SENT, Bill, charged, is_entry
from core.storage.file_states import FileState
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line
from core.storage.store import Store

KEPT = ("call", "role", "item", "model", "outcome", "usd", "estimated", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
"""Fields of a call that a bill needs."""


@dataclass
class _Ledger:
    """What is known of a run's calls.

    Args:
        read: bytes, by file; seen: the state of each file then.
        by_item: what they amount to, once it was asked for since the last change.
    """

    read: dict[str, int] = field(default_factory=dict)
    seen: dict[str, FileState] = field(default_factory=dict)
    calls: dict[str, Line] = field(default_factory=dict)
    by_item: dict[str, Bill] | None = None


_KNOWN: dict[tuple[str, str], _Ledger] = {}
_LOCK = threading.Lock()


def spent_on(store: Store, items: Iterable[str]) -> dict[str, Bill]:
    """Return what all runs together spent on each of these, such as a conversation by its id; what cost nothing is left out."""
    wanted = set(items)
    found: dict[str, Bill] = {}
    for name in store.names("ledger"):
        by_item = _bills(store, name)
        for item in wanted & by_item.keys():
            found[item] = together([found[item], by_item[item]]) if item in found else by_item[item]
    return found


def together(bills: Iterable[Bill]) -> Bill:
    """Return bills as one."""
    total = Bill()
    for bill in bills:
        for one in fields(Bill):
            setattr(total, one.name, getattr(total, one.name) + getattr(bill, one.name))
    return total


def _bills(store: Store, folder: str) -> dict[str, Bill]:
    with _LOCK:
        known = _KNOWN.setdefault((store.root, folder), _Ledger())
        for name, state in store.states(store.names(folder, ".jsonl")).items():
            if known.seen.get(name) != state:
                _read_on(store, name, known)
                known.seen[name], known.by_item = state, None
        if known.by_item is None:
            known.by_item = defaultdict(Bill)
            for line in known.calls.values():
                known.by_item[line["item"]].add(charged(line))
        return known.by_item


def _read_on(store: Store, name: str, known: _Ledger) -> None:
    """Read what was added to a file."""
    with store.reading(name) as file:
        file.seek(known.read.get(name, 0))
        data = file.read()
    whole = data[: data.rfind(b"\n") + 1]
    known.read[name] = known.read.get(name, 0) + len(whole)
    for line in read_objects(whole):
        if is_entry(line) and known.calls.get(line["call"], {"outcome": SENT})["outcome"] == SENT:
            known.calls[line["call"]] = {key: line.get(key) for key in KEPT} | ({"most": line["most"]} if line["outcome"] == SENT else {})

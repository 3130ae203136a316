"""The cost of calls by item, from the ledgers of all runs. Of a ledger that has grown, only the new part is read."""

import threading
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, fields

from core.llm.bills import SENT, Bill, charged, is_entry
from core.storage.file_states import FileState
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line
from core.storage.store import Store

BILLED_FIELDS = ("call", "role", "item", "model", "outcome", "usd", "estimated", "input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")
"""Fields of a call that a bill needs."""


@dataclass
class _Ledger:
    """The calls of a run that were read so far.

    Args:
        read: number of bytes read, by file.
        seen: state of each file at the last read.
        calls: last entry of each call, by the call's id.
        by_item: the bills of the calls, by item; None if they must be computed again.
    """

    read: dict[str, int] = field(default_factory=dict)
    seen: dict[str, FileState] = field(default_factory=dict)
    calls: dict[str, Line] = field(default_factory=dict)
    by_item: dict[str, Bill] | None = None


_LEDGERS: dict[tuple[str, str], _Ledger] = {}
_LOCK = threading.Lock()


def spent_on(store: Store, items: Iterable[str]) -> dict[str, Bill]:
    """Return the cost of each item over all runs; items without calls are left out.

    Args:
        items: ids of what the calls were for, such as conversations.
    """
    requested = set(items)
    bills: dict[str, Bill] = {}
    for name in store.names("ledger"):
        by_item = _bills(store, name)
        for item in requested & by_item.keys():
            bills[item] = together([bills[item], by_item[item]]) if item in bills else by_item[item]
    return bills


def together(bills: Iterable[Bill]) -> Bill:
    """Return the sum of bills."""
    total = Bill()
    for bill in bills:
        for one in fields(Bill):
            setattr(total, one.name, getattr(total, one.name) + getattr(bill, one.name))
    return total


def _bills(store: Store, folder: str) -> dict[str, Bill]:
    with _LOCK:
        ledger = _LEDGERS.setdefault((store.root, folder), _Ledger())
        for name, state in store.states(store.names(folder, ".jsonl")).items():
            if ledger.seen.get(name) != state:
                _read_on(store, name, ledger)
                ledger.seen[name], ledger.by_item = state, None
        if ledger.by_item is None:
            ledger.by_item = defaultdict(Bill)
            for line in ledger.calls.values():
                ledger.by_item[line["item"]].add(charged(line))
        return ledger.by_item


def _read_on(store: Store, name: str, ledger: _Ledger) -> None:
    """Read the lines that were added to a file of the ledger."""
    with store.reading(name) as file:
        file.seek(ledger.read.get(name, 0))
        data = file.read()
    complete = data[: data.rfind(b"\n") + 1]
    ledger.read[name] = ledger.read.get(name, 0) + len(complete)
    for line in read_objects(complete):
        if is_entry(line) and ledger.calls.get(line["call"], {"outcome": SENT})["outcome"] == SENT:
            ledger.calls[line["call"]] = {key: line.get(key) for key in BILLED_FIELDS} | ({"most": line["most"]} if line["outcome"] == SENT else {})

"""What a run is doing at the moment, as a small record that whoever watches reads: another process, another container, another machine."""

import os
import socket
import time
from itertools import count

from core.llm.bills import Bill
from core.processes import is_running
from core.records import Record
from core.settings.models import Budget
from core.storage.store import FileState, Store

FOLDER = "under-way"
SILENT_SECONDS = 60.0
"""After which nobody knows whether a run elsewhere still works."""
_COUNT = count()


class UnderWay(Record):
    """How far a stage of a run is.

    Args:
        doing: in a word, such as "Rehearsed".
        done, of: items; left_out: those of them that failed.
        line: the same in words, with the speed and the time left where they are known.
        began, at: seconds since 1970.
        usd, tokens: spent by the whole run so far, of budget_usd and budget_tokens where there is such a bound.
        host, pid: of the process.
    """

    run: str
    domain: str
    doing: str
    done: int
    of: int
    left_out: int
    line: str
    began: float
    at: float
    usd: float
    tokens: int
    budget_usd: float | None
    budget_tokens: int | None
    host: str
    pid: int

    @property
    def ended(self) -> bool:
        """Whether its process is known to have ended without saying so."""
        return self.host == socket.gethostname() and not is_running(self.pid)

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at the speed so far; none before anything is done."""
        return (self.at - self.began) / self.done * (self.of - self.done) if self.done else None


def new_record(run: str) -> str:
    """Return the name of a new record of a run, which this process alone writes."""
    return f"{FOLDER}/{run}-{os.getpid()}-{next(_COUNT)}.json"


def write_under_way(
    store: Store, name: str, domain: str, doing: str, counts: tuple[int, int, int], line: str, bill: Bill, budget: Budget, began: float
) -> None:
    """Write how far a stage is.

    Args:
        counts: done, of all, left out.
    """
    done, of, left_out = counts
    store.write_json(
        name,
        UnderWay(
            run=name.removeprefix(f"{FOLDER}/").rsplit("-", 2)[0],
            domain=domain,
            doing=doing,
            done=done,
            of=of,
            left_out=left_out,
            line=line,
            began=began,
            at=time.time(),
            usd=bill.usd,
            tokens=bill.tokens,
            budget_usd=budget.usd,
            budget_tokens=budget.tokens,
            host=socket.gethostname(),
            pid=os.getpid(),
        ),
    )


def records_under_way(store: Store) -> dict[str, FileState]:
    """Return the records that there are."""
    return store.states(store.names(FOLDER, ".json"))


def clear_ended(store: Store, run: str) -> None:
    """Remove what earlier processes of a run have left."""
    found, _ = store.load_all(store.names(FOLDER, ".json", beginning=f"{run}-"), UnderWay)
    for name, record in found.items():
        if record.ended:
            store.remove(name)

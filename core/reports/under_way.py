"""The current progress of a run, as a small record for watchers in other processes, containers or machines."""

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
"""Age of a record after which it is unknown whether a run on another machine still works."""
_COUNT = count()


class UnderWay(Record):
    """The progress of a stage of a run.

    Args:
        run: name of the run.
        domain: name of the domain.
        doing: the stage in a word, such as "Rehearsed".
        done: number of finished items, of which `left_out` failed.
        of: number of all items.
        line: the progress in words, with speed and remaining time if known.
        began, at: start of the stage and time of the record, in seconds since 1970.
        usd, tokens: spent by the run so far.
        budget_usd, budget_tokens: budget of the run; None if it has none.
        host, pid: machine and id of the process.
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
        """Whether the process has ended without removing the record; False for a process on another machine."""
        return self.host == socket.gethostname() and not is_running(self.pid)

    @property
    def seconds_left(self) -> float | None:
        """Estimated remaining seconds at the speed so far; None before the first item is done."""
        return (self.at - self.began) / self.done * (self.of - self.done) if self.done else None


def new_record(run: str) -> str:
    """Return the name of a new record of a run; only this process writes it."""
    return f"{FOLDER}/{run}-{os.getpid()}-{next(_COUNT)}.json"


def write_under_way(
    store: Store, name: str, domain: str, doing: str, counts: tuple[int, int, int], line: str, bill: Bill, budget: Budget, began: float
) -> None:
    """Write the progress of a stage.

    Args:
        store: the data root.
        name: name of the record, from `new_record`.
        domain, doing, line, began: as in `UnderWay`.
        counts: number of finished items, of all items, and of items left out.
        bill: the run's bill so far.
        budget: the run's budget.
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
    """Return the state of each existing record by name."""
    return store.states(store.names(FOLDER, ".json"))


def clear_ended(store: Store, run: str) -> None:
    """Remove the records of earlier processes of a run."""
    records, _ = store.load_all(store.names(FOLDER, ".json", beginning=f"{run}-"), UnderWay)
    for name, record in records.items():
        if record.ended:
            store.remove(name)

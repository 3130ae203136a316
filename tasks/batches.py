"""Batches: one task for each item, a bounded number of them in parallel."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from prefect.context import FlowRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger

from core.errors import BudgetError, DamagedError, HeldError, ModelError, RunStoppedError, SettingsError, TranscriptError, UnderstudyError
from core.llm.run import Run
from core.records import LeftOut, Reference
from core.reports.left_out import counted_reasons, first_of, kind_of_error
from core.storage.locks import pause
from core.storage.traces import leave_open
from core.terminal import moving_line
from tasks.owning import Elsewhere
from tasks.under_way import shown_under_way

BUDGET_EVENT = "understudy.budget-spent"
"""Name of the event that is emitted when the budget is spent, for automations (deployments/automations.py); its resource is the flow run."""

STEPS = 4
"""Number of progress lines that a batch logs."""

Item = TypeVar("Item")
Ref = TypeVar("Ref", bound=Reference)


async def gather_bounded(
    run: Run,
    make: Callable[[Item], Awaitable[Ref]],
    items: Sequence[Item],
    names: Sequence[str],
    limit: int,
    doing: str | None,
    how_far: Callable[[], str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    count_items: bool = True,
) -> tuple[list[Ref], list[LeftOut]]:
    """Run a task for each item, a bounded number in parallel.

    If another run is making an item, the other items come first, and this one is tried again until that run has made it or has ended. An item whose model
    or file fails is left out with the reason. A model that can no longer be called ends the batch: no further item is started, and started ones continue as
    far as they can, so that no paid answer is lost. Any other error, such as a full disk, stops the batch immediately. In each case, finished items are on
    disk.

    Args:
        run: the run.
        make: awaits the task for one item.
        items: the items.
        names: their names in the log, in the same order.
        limit: maximum number of tasks in parallel.
        doing: the verb that is logged with the counts, such as "Rehearsed"; None logs no counts.
        how_far: returns the progress in words, in place of the counts.
        should_stop: returns whether no further item may be started.
        count_items: whether the progress line on the terminal counts the items; False if the caller counts smaller units.

    Returns:
        The references to the finished items, and the items that were left out, each in the items' order.

    Raises:
        RunStoppedError, SettingsError: the error that ended the batch.
    """
    slots, batch = asyncio.Semaphore(limit), _Batch[Ref](names, doing, how_far, count_items)

    async def make_item(number: int) -> None:
        try:
            settled = batch.begin(number) or should_stop() or await batch.settle(number, make(items[number]))
        finally:
            slots.release()
        while not settled:
            await asyncio.sleep(pause(run.store))
            async with slots:
                settled = batch.begin(number) or should_stop() or await batch.settle(number, make(items[number]))

    try:
        async with shown_under_way(run, doing, batch.counts, how_far), asyncio.TaskGroup() as group:
            for number in range(len(items)):
                await slots.acquire()  # a task is created only when it may start, because thousands of waiting tasks take memory
                group.create_task(make_item(number))
    except* UnderstudyError as errors:
        raise first_of(errors) from None
    finally:
        batch.elsewhere.end()
    return batch.result()


class _Batch(Generic[Ref]):
    """The results of a batch's items so far; arguments as for `gather_bounded`."""

    def __init__(self, names: Sequence[str], doing: str | None, how_far: Callable[[], str] | None, count_items: bool) -> None:
        self._names, self._doing, self._how_far, self._count_items = names, doing, how_far, count_items
        self._made: dict[int, Ref] = {}
        self._left_out: dict[int, LeftOut] = {}
        self._why: Counter[str] = Counter()
        self._stopped: list[UnderstudyError] = []
        self._logger, self._logged = get_run_logger(), ""
        self.elsewhere = Elsewhere(len(names))

    def counts(self) -> tuple[int, int, int]:
        """Return the number of items that are done, of all items, and of those left out, which count as done."""
        return len(self._made) + len(self._left_out), len(self._names), len(self._left_out)

    def begin(self, number: int) -> bool:
        """Note that an item is started; return True if the batch has ended, so that the item must not start."""
        self.elsewhere.remove(number)
        return bool(self._stopped)

    async def settle(self, number: int, making: Awaitable[Ref]) -> bool:
        """Await an item; return False if another run is making it, so that it must be tried again."""
        try:
            self._made[number] = await making
        except HeldError as held:
            self.elsewhere.add(number, held)
            return False
        except (RunStoppedError, SettingsError) as error:
            self._stopped.append(error)
            return True
        except (ModelError, TranscriptError, DamagedError) as error:
            leave_open()
            self._left_out[number] = LeftOut(name=self._names[number], reason=str(error))
            self._why[kind_of_error(error)] += 1
            self._logger.warning("Left out %s: %s", self._names[number], error)
        if self._doing:
            self._report(self._doing)
        return True

    def _report(self, doing: str) -> None:
        """Report the progress: on the terminal each time, in the log STEPS times, and never the same line twice."""
        done, total = len(self._made) + len(self._left_out), len(self._names)
        if self._count_items:
            moving_line().move(doing, done, total, "")
        if done == total or done % max(1, total // STEPS) == 0:
            counts = self._how_far() if self._how_far else f"{len(self._made)} of {total}"
            text = f"{doing} {counts}{f', {len(self._left_out)} left out ({counted_reasons(self._why)})' if self._left_out else ''}."
            if text != self._logged:
                self._logger.info("%s", text)
            self._logged = text

    def result(self) -> tuple[list[Ref], list[LeftOut]]:
        """Return the finished items and those left out, each in the items' order.

        Raises:
            RunStoppedError, SettingsError: the error that ended the batch.
        """
        if self._stopped:
            self._logger.info(
                "%s %d of %d before the run was stopped; everything made so far is kept.", self._doing or "Done:", len(self._made), len(self._names)
            )
            if isinstance(self._stopped[0], BudgetError):
                _emit_budget_event(self._stopped[0])
            raise self._stopped[0]
        return [self._made[number] for number in sorted(self._made)], [self._left_out[number] for number in sorted(self._left_out)]


def _emit_budget_event(error: BudgetError) -> None:
    context = FlowRunContext.get()
    if context and context.flow_run:
        run = context.flow_run
        emit_event(BUDGET_EVENT, {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}, payload={"reason": str(error)})

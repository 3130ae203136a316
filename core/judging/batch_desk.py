"""What is needed to have one judge asked in batches, and what asking and taking share."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from core.errors import DamagedError, HeldError, ModelError, UnansweredError
from core.judging.batch_records import BatchRecord, path_of
from core.judging.call_log import FOLDER, JudgementLog
from core.judging.judge import Count, JudgeContext
from core.judging.plan import AssessmentPlan
from core.judging.sitting import open_sitting
from core.llm.batches import Batches
from core.llm.chat import ChatModel
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.llm.till import Till
from core.records import Assessment, ModelChoice, Outcome, Transcript
from core.settings.models import Budget
from core.storage.locks import owning

DEADLINE_SECONDS = 25 * 3600.0
"""After which what a batch has not answered is asked live: the providers promise a day."""

Hold = Callable[[str, str], AbstractAsyncContextManager[object]]
"""Holds a lock of a name while another run waits for it; the second word says for the log what is made."""


@dataclass
class BatchDesk:
    """One judge's batches in a run.

    Args:
        judge: makes the ordinary calls; here it is asked nothing.
        till: its accounts by the price of a batch, on a ledger.
        count: counts a text's tokens.
        hold: takes a lock.
        tell: takes a sentence for the run's log; show: how many requests are answered, of how many.
        should_stop: whether to wait no longer.
        deadline_seconds: after which the rest is asked live.
    """

    run: Run
    choice: ModelChoice
    judge: ChatModel
    batches: Batches
    till: Callable[[Ledger], Till]
    count: Count
    hold: Hold
    tell: Callable[[str], object]
    show: Callable[[int, int], object] = lambda *_: None
    should_stop: Callable[[], bool] = lambda: False
    deadline_seconds: float = DEADLINE_SECONDS

    @asynccontextmanager
    async def opened(self, plan: AssessmentPlan, name: str) -> AsyncGenerator[JudgeContext | None]:
        """Hold an assessment that is to be made; none where it is made, another run makes it, or its transcript has changed."""
        store, context = self.run.store, None
        async with AsyncExitStack() as stack:
            with suppress(HeldError, DamagedError):
                lock = await stack.enter_async_context(owning(store, f"{FOLDER}/{plan.lock}"))
                transcript = store.load(plan.transcript.path, Transcript)
                placed, path = plan.place(transcript)
                made = store.exists(path) and store.load(path, Assessment).score.outcome is not Outcome.INCOMPLETE
                if placed == name and not made:
                    context = open_sitting(self.run, plan, self.judge, transcript, self.count, JudgementLog(store, name, lock), name)
            yield context

    def give_back(self, record: BatchRecord) -> None:
        """Give back what is set aside for a batch of which the provider has nothing."""
        self.settle_all(record, UnansweredError("It was not submitted."))

    def settle_all(self, record: BatchRecord, error: ModelError) -> None:
        """Charge all of a batch that is not charged yet with what an error costs, and forget the batch."""
        ledger = self.ledger(record)
        still_open, till = ledger.open_calls(), self.till(ledger)
        for name in record.asked:
            if name in still_open:
                till.settle_failure(record.sent(name), error, 0.0)
        self.run.store.remove(path_of(self.run.pack.name, record.label))

    def ledger(self, record: BatchRecord) -> Ledger:
        """Return the ledger on which a batch stands: of the run that submitted it."""
        return self.run.ledger if record.run == self.run.ledger.run else Ledger(self.run.store, record.run, Budget())

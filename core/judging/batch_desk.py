"""What one judge's batches in a run share: its models, its accounts and its locks."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

from core.errors import DamagedError, HeldError, ModelError, UnansweredError
from core.judging.batch_records import BatchRecord, path_of
from core.judging.call_log import FOLDER, JudgementLog
from core.judging.judge_call import Count, JudgeContext
from core.judging.judge_contexts import judge_context_for
from core.judging.plan import AssessmentPlan
from core.llm.batches import Batches
from core.llm.chat import ChatModel
from core.llm.ledger import Ledger
from core.llm.run import Run
from core.llm.till import Till
from core.records import Assessment, ModelChoice, Outcome, Transcript
from core.settings.models import Budget
from core.storage.locks import owning

DEADLINE_SECONDS = 25 * 3600.0
"""Age at which a batch is cancelled and its unanswered requests are sent live: the providers promise a day."""

Hold = Callable[[str, str], AbstractAsyncContextManager[object]]
"""Takes a lock, and waits while another run holds it. Its arguments are the lock's name and, for the log, what is waited for."""


@dataclass
class BatchDesk:
    """One judge's batches in a run.

    Args:
        judge: the model for live calls; a desk only reads its name and makes no call with it.
        till: returns the judge's accounts at the price of a batch, on a ledger.
        count: counts a text's tokens.
        hold: takes a lock.
        tell: takes a sentence for the run's log.
        show: takes the number of answered requests, and of all requests.
        should_stop: returns true when the run is to wait no longer.
        deadline_seconds: age at which a batch is cancelled and its unanswered requests are sent live.
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
        """Lock an assessment and yield its context; yield None if it is complete, another run makes it, or its transcript has changed.

        Args:
            name: of the assessment.
        """
        store, context = self.run.store, None
        async with AsyncExitStack() as stack:
            with suppress(HeldError, DamagedError):
                lock = await stack.enter_async_context(owning(store, f"{FOLDER}/{plan.lock}"))
                transcript = store.load(plan.transcript.path, Transcript)
                placed, path = plan.place(transcript)
                is_complete = store.exists(path) and store.load(path, Assessment).score.outcome is not Outcome.INCOMPLETE
                if placed == name and not is_complete:
                    context = judge_context_for(self.run, plan, self.judge, transcript, self.count, JudgementLog(store, name, lock), name)
            yield context

    def give_back(self, record: BatchRecord) -> None:
        """Release what is set aside for a batch that the provider does not have."""
        self.settle_all(record, UnansweredError("It was not submitted."))

    def settle_all(self, record: BatchRecord, error: ModelError) -> None:
        """Charge each uncharged request of a batch with what an error costs, and delete the batch's record."""
        ledger = self.ledger(record)
        till = self.till(ledger)
        for name in self.uncharged(record, ledger):
            till.settle_failure(record.sent(name), error, 0.0)
        self.run.store.remove(path_of(self.run.pack.name, record.label))

    def uncharged(self, record: BatchRecord, ledger: Ledger) -> list[str]:
        """Return the requests of a batch without a charge on the ledger. Once the batch is sent, its record counts, even if the ledger has lost the request."""
        return ledger.open_calls(record.asked) if record.state == "prepared" else ledger.uncharged(record.asked)

    def ledger(self, record: BatchRecord) -> Ledger:
        """Return the ledger of the run that submitted a batch."""
        return self.run.ledger if record.run == self.run.ledger.run else Ledger(self.run.store, record.run, Budget())

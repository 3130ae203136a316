"""A judge behind a provider's block with a few transcripts to judge in batches."""

from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from core.judging.batch_desk import BatchDesk
from core.judging.batches import ask_in_batches
from core.judging.call_log import JudgementLog
from core.judging.judge import assess
from core.judging.judge_contexts import judge_context_for
from core.judging.plan import AssessmentPlan, plan_assessment
from core.llm.bills import read_entries
from core.llm.calls import Caller
from core.llm.ledger import Ledger
from core.llm.models_asked import prices_of
from core.llm.run import Run
from core.llm.till import Till
from core.records import Assessment, Exchange, ModelChoice, Transcript, TranscriptRef
from core.settings.assessment import Judging
from core.settings.models import Budget
from core.settings.pipeline import load_settings
from core.storage.locks import owning
from core.storage.store import Store
from tests.blocks.conftest import PROVIDERS, make_block
from tests.core.judge_contexts import PACK

WORDS = ("I slept badly again", "my sister called", "the exam is on Monday", "I left the party early", "nothing tastes of anything", "he has not answered")


@dataclass
class Court:
    """Everything of one run; a second instance on the same store acts as a later process."""

    store: Store
    provider: str
    url: str
    count: int = 4
    budget: Budget = field(default_factory=lambda: Budget(usd=10))
    judging: Judging = field(default_factory=lambda: Judging(mode="single", shuffle=True, confirm_gates="never"))
    name: str = "run"
    stop: bool = False
    deadline_seconds: float = 90_000.0

    def __post_init__(self) -> None:
        settings = load_settings("config/demo.yaml")
        assessment = settings.assessment.model_copy(update={"judging": self.judging, "batch": True, "max_tokens": 8000})
        model = PROVIDERS[self.provider].model
        self.choice = ModelChoice(reference=f"{self.provider}/{model}")
        self.ledger = Ledger(self.store, self.name, self.budget)
        settings = settings.model_copy(update={"assessment": assessment, "budget": self.budget})
        self.run = Run(self.name, PACK, settings, self.store, {"judge": [self.choice]}, self.ledger)
        self.chat = make_block(self.provider, self.url).get_client()
        self.said: list[str] = []
        self.batches = self.chat.batches()
        prices = prices_of(settings, self.choice.reference, batch=True)
        self.caller = Caller(self.chat, self.run.limiter(self.choice), settings.calls, prices_of(settings, self.choice.reference), self.ledger)
        self.desk = BatchDesk(
            self.run,
            self.choice,
            self.caller,
            self.batches,
            lambda ledger: Till(self.choice.reference, prices, ledger),
            len,
            self._hold,
            self.said.append,
            should_stop=lambda: self.stop,
            deadline_seconds=self.deadline_seconds,
        )
        self.plans = [self._plan(number) for number in range(self.count)]

    @asynccontextmanager
    async def _hold(self, name: str, _what: str) -> Any:
        async with owning(self.store, name, 60.0) as lock:
            yield lock

    def _plan(self, number: int) -> AssessmentPlan:
        said = [Exchange(exchange_number=n, user=f"{WORDS[(number + n) % 6]}, {number} {n}.", assistant="What was it like?") for n in range(1, 6)]
        transcript = Transcript(id=f"t{number}", exchanges=said)
        path = f"transcripts/{PACK.name}/{number}.json"
        if not self.store.exists(path):
            self.store.write_json(path, transcript)
        return plan_assessment(self.run, TranscriptRef(id=transcript.id, path=path, exchanges=5), self.choice)

    async def ask(self) -> set[str]:
        """Ask in batches."""
        return await ask_in_batches(self.desk, self.plans)

    async def judge(self) -> list[Assessment]:
        """Judge one transcript after the other, as the task does."""
        assessments = []
        for plan in self.plans:
            transcript = self.store.load(plan.transcript.path, Transcript)
            name, _ = plan.place(transcript)
            assessments.append(await assess(judge_context_for(self.run, plan, self.caller, transcript, len, JudgementLog(self.store, name), name)))
        return assessments

    @property
    def paid(self) -> list[dict[str, Any]]:
        """The entries of the ledger."""
        return read_entries(self.store, self.name)

    @property
    def records(self) -> list[str]:
        """The batches whose answers have not been read."""
        return self.store.names(f"provider-batches/{PACK.name}", ".json")

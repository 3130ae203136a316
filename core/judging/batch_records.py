"""What a judge has been asked in a batch of its provider: on disk before it is sent, and until its answers are taken."""

from typing import Literal

from pydantic import Field

from core.fingerprint import fingerprint
from core.judging.plan import AssessmentPlan
from core.llm.chat import ChatRequest, Usage
from core.llm.ledger import Sent
from core.records import ModelChoice, Record
from core.storage.store import Store

FOLDER = "provider-batches"


class AskedInBatch(Record):
    """One request of a batch.

    Args:
        assessment: name of the assessment that it is for; call: which of its calls.
        request: fingerprint of what is sent.
        most_input, most_output, usd: what is set aside for it.
    """

    assessment: str
    call: str
    request: str
    most_input: int = 0
    most_output: int = 0
    usd: float | None = None


class BatchRecord(Record):
    """A batch.

    Args:
        label: by which the provider is asked for it; the names of its requests, which are also those of its calls on the ledger, begin with it.
        run: on whose ledger it stands.
        at: time (Unix) at which it was written, by the clock of the machine that submitted.
        state: `prepared` as long as nothing of it was sent.
        ids: the provider's name for it, or the names that may be it; none before it has answered.
        plans: of the assessments, by their names; asked: its requests, by theirs.
    """

    label: str
    judge: ModelChoice
    run: str
    at: float
    state: Literal["prepared", "sent"]
    ids: list[str] = Field(default_factory=list)
    plans: dict[str, AssessmentPlan]
    asked: dict[str, AskedInBatch]

    @property
    def calls(self) -> set[tuple[str, str]]:
        """What it asks: assessments, and the calls of each."""
        return {(asked.assessment, asked.call) for asked in self.asked.values()}

    def keep(self, store: Store, domain: str) -> None:
        """Write it to disk."""
        store.write_json(path_of(domain, self.label), self)

    def sent(self, name: str, request: ChatRequest | None = None) -> Sent:
        """Return a request of it as the ledger knows it.

        Args:
            request: what was sent, where that is still known.
        """
        asked = self.asked[name]
        request = request or ChatRequest("judge", "", (), asked.most_output, 0, item=self.plans[asked.assessment].transcript.id)
        return Sent(name, request, self.judge.reference, Usage(asked.most_input, asked.most_output), asked.usd)


def path_of(domain: str, label: str) -> str:
    """Return where the record of a batch is, below the data root."""
    return f"{FOLDER}/{domain}/{label}.json"


def read_records(store: Store, domain: str, judge: ModelChoice) -> list[BatchRecord]:
    """Return the batches of a judge whose answers are not taken yet."""
    found = [store.load(name, BatchRecord) for name in store.names(f"{FOLDER}/{domain}", ".json")]
    return [record for record in found if record.judge == judge]


def request_print(request: ChatRequest) -> str:
    """Return the fingerprint of what a request asks; its seed is another once an answer could not be used."""
    said = [[message.role, message.content] for message in request.messages]
    return fingerprint([request.system, said, request.schema, request.max_tokens])

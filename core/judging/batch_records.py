"""Records of the batches that were submitted to a judge's provider: on disk from before the submission until the answers are stored."""

from collections.abc import Generator, Sequence
from typing import Literal

from pydantic import Field

from core.errors import StoreError
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
        assessment: name of the assessment that the request is for.
        call: name of the call within the assessment.
        request: fingerprint of what is sent.
        most_input, most_output, usd: tokens and price set aside for the request; None where the price is not known.
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
        label: identifies the batch at the provider. The names of its requests, which are also the names of its calls on the ledger, begin with it.
        run: the run that submitted it; its ledger has the charges.
        at: Unix time at which it was submitted, by the clock of the machine that submitted it.
        state: `prepared` until it is about to be sent, `accepted` once the provider has answered the submission with the id.
        ids: the provider's id of the batch, or several if it is not certain which one it is; empty until the provider has answered.
        plans: of the assessments, by assessment name.
        asked: its requests, by request name.
    """

    label: str
    judge: ModelChoice
    run: str
    at: float
    state: Literal["prepared", "sent", "accepted"]
    ids: list[str] = Field(default_factory=list)
    plans: dict[str, AssessmentPlan]
    asked: dict[str, AskedInBatch]

    @property
    def calls(self) -> set[tuple[str, str]]:
        """The calls that it makes, each as (assessment, call)."""
        return {(asked.assessment, asked.call) for asked in self.asked.values()}

    def keep(self, store: Store, domain: str) -> None:
        """Write it to disk."""
        store.write_json(path_of(domain, self.label), self)

    def sent(self, name: str, request: ChatRequest | None = None) -> Sent:
        """Return one of its requests in the ledger's form.

        Args:
            name: of the request.
            request: what was sent; None if that cannot be rebuilt, and a placeholder with the same bounds takes its place.
        """
        asked = self.asked[name]
        request = request or ChatRequest("judge", "", (), asked.most_output, 0, item=self.plans[asked.assessment].transcript.id)
        return Sent(name, request, self.judge.reference, Usage(asked.most_input, asked.most_output), asked.usd)


def path_of(domain: str, label: str) -> str:
    """Return the path of a batch's record, below the data root."""
    return f"{FOLDER}/{domain}/{label}.json"


def read_records(store: Store, domain: str, judge: ModelChoice) -> list[BatchRecord]:
    """Return the batches of a judge whose answers are not stored yet."""
    return [record for record in _records(store, domain) if record.judge == judge]


def uncollected(store: Store, domain: str, judges: Sequence[ModelChoice]) -> list[str]:
    """Return the models of the batches whose answers are not stored yet and are of none of these judges, one for each batch."""
    return sorted(record.judge.reference for record in _records(store, domain) if record.judge not in judges)


def _records(store: Store, domain: str) -> Generator[BatchRecord]:
    for name in store.names(f"{FOLDER}/{domain}", ".json"):
        try:
            yield store.load(name, BatchRecord)
        except StoreError:
            if store.exists(name):  # otherwise another run has just taken its answers
                raise


def request_print(request: ChatRequest) -> str:
    """Return the fingerprint of what a request asks; the seed is left out, because it changes after an unusable answer."""
    messages = [[message.role, message.content] for message in request.messages]
    return fingerprint([request.system, messages, request.schema, request.max_tokens])

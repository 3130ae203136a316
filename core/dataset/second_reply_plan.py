"""Chooses where the assistant is asked again: at the first exchange that a judge cites for each criterion that a conversation failed."""

from dataclasses import dataclass

from pydantic import ValidationError

from core.dataset.sources import PILOTS
from core.errors import DamagedError, TranscriptError
from core.fingerprint import fingerprint
from core.imports.stored import RECORDED
from core.judging.plan import judge_hash
from core.judging.scoring import value_of
from core.llm.run import Run
from core.packs.pack import Pack
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, ModelChoice, Persona, Record, Transcript, TranscriptRef
from core.settings.assessment import Judging, PanelSettings
from core.settings.faults import Fault
from core.storage.batches import find_batch, latest_assessments

FOLDER = "pairs"
"""Folder below the data root with a file for each exchange at which the assistant was asked again."""


class SecondReplyPlan(Record):
    """Everything that a second reply depends on.

    Args:
        said: hash of the conversation up to the exchange.
        exchange: number of the exchange at which the assistant is asked again.
        criteria: criteria that the reply of the exchange failed.
        tokens: largest number of tokens of a reply, and of a prompt with its reply.
        attempts: how often the assistant may be asked.
    """

    transcript: TranscriptRef
    said: str
    exchange: int
    criteria: list[str]
    assistant: ModelChoice
    judges: list[ModelChoice]
    domain: str
    pack_hash: str
    judge_hashes: list[str]
    judging: Judging
    panel: PanelSettings
    max_judge_tokens: int
    guards: list[Fault]
    tokens: tuple[int, int]
    attempts: int

    @property
    def name(self) -> str:
        """The name of the file, under which the calls are billed."""
        return f"{self.transcript.id}-again-{self.exchange}-{fingerprint(self)}"

    @property
    def path(self) -> str:
        """The file of the second reply, below the data root."""
        return f"{FOLDER}/{self.domain}/{self.name}.json"

    def asked_of(self, pack: Pack) -> list[str]:
        """Return the criteria that a new reply is judged by: those that the old one failed, and every gate."""
        return [name for name, criterion in pack.rubric.criteria.items() if name in self.criteria or criterion.head.gate]


@dataclass(frozen=True)
class ChosenExchanges:
    """The exchanges of a batch at which the assistant is asked again, and the reason for each transcript that has none."""

    batch: AssessmentBatch
    plans: list[SecondReplyPlan]
    left_out: list[LeftOut]


def choose_exchanges(run: Run, assessed: str | None) -> ChosenExchanges:
    """Choose the exchanges of a batch at which the assistant is asked again.

    Args:
        assessed: a batch of assessments; by default the domain's latest.

    Raises:
        TranscriptError: there is no batch.
    """
    store, pack = run.store, run.pack
    if assessed is None and not store.exists(latest_assessments(pack.name)):
        raise TranscriptError(f"No assessments of {pack.name!r} are in {store.root}. Make some first (understudy assess), or name a batch.")
    name = find_batch(store, assessed, "assessments") if assessed else store.read(latest_assessments(pack.name)).strip()
    batch = store.load(name, AssessmentBatch)
    plans, left_out = [], []
    for item in batch.assessments:
        try:
            exchanges = _exchanges(run, item)
        except DamagedError as damaged:
            exchanges = str(damaged)
        if isinstance(exchanges, str):
            left_out.append(LeftOut(name=item.transcript.id, reason=exchanges))
        else:
            plans += exchanges
    return ChosenExchanges(batch, plans, left_out)


def cited_failures(assessment: Assessment, pack: Pack, exchanges: int) -> dict[int, list[str]]:
    """Return the failed criteria by the first exchange that the judge cites for each.

    As far as the judge saw, the conversation before that exchange is free of the failure. A criterion that does not apply to a conversation so short is
    ignored.

    Args:
        exchanges: length of the conversation.
    """
    by_exchange: dict[int, list[str]] = {}
    for verdict in assessment.verdicts:
        criterion = pack.rubric.criteria[verdict.criterion]
        first = min((number for number in verdict.cited if number <= exchanges), default=None)
        if value_of(criterion, verdict.answer) == 0 and first is not None and criterion.head.from_exchange <= first:
            by_exchange.setdefault(first, []).append(verdict.criterion)
    return dict(sorted(by_exchange.items()))


def plays_again(transcript: Transcript) -> Persona | None:
    """Return the persona of a conversation that can be continued as a rehearsal; None if it was not made by a rehearsal."""
    if transcript.opening is not None or not is_rehearsed(transcript):
        return None
    try:
        return Persona.model_validate(transcript.persona)
    except ValidationError:
        return None


def is_rehearsed(transcript: Transcript) -> bool:
    """Return whether a conversation was rehearsed here or recorded in a pack, so that no real person is in it."""
    return "pack_hash" in transcript.provenance or RECORDED in transcript.provenance


def _exchanges(run: Run, item: AssessmentRef) -> list[SecondReplyPlan] | str:
    assessment, transcript = run.store.load(item.path, Assessment), run.store.load(item.transcript.path, Transcript)
    if item.transcript.path.startswith(PILOTS):
        return "it is of a pilot"
    if assessment.rubric_hash != run.pack.rubric.hash:
        return "it was judged by another rubric"
    if assessment.score.errors:
        return "its assessment is incomplete"
    if plays_again(transcript) is None:
        return "it was not rehearsed here, so the assistant's instructions are unknown"
    cited = cited_failures(assessment, run.pack, len(transcript.exchanges))
    if not cited:
        return "no failed criterion that applies there cites an exchange"
    return [_plan(run, item, transcript, number, cited[number]) for number in list(cited)[: run.settings.preferences.per_transcript]]


def _plan(run: Run, item: AssessmentRef, transcript: Transcript, number: int, criteria: list[str]) -> SecondReplyPlan:
    settings, assistant, judges = run.settings, run.model("assistant"), run.models["judge"]
    return SecondReplyPlan(
        transcript=item.transcript,
        said=fingerprint(transcript.exchanges[:number]),
        exchange=number,
        criteria=criteria,
        assistant=assistant,
        judges=judges,
        domain=run.pack.name,
        pack_hash=run.pack.hash,
        judge_hashes=[judge_hash(run.pack, judge.reference) for judge in judges],
        judging=settings.assessment.judging,
        panel=settings.assessment.panel,
        max_judge_tokens=settings.assessment.max_tokens,
        guards=settings.generation.guards,
        tokens=(settings.generation.max_tokens, run.most_tokens(assistant)),
        attempts=settings.preferences.attempts,
    )

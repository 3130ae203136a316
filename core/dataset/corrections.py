"""Corrections: replies of the understudy that judges failed, rewritten by the teacher. The understudy's own replies precede them, as in real use.

Each correction is a conversation up to and including the corrected reply. Only that reply is trained on.

Source:
    Ross, Gordon & Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", AISTATS (2011): DAgger.
"""

from collections.abc import Sequence

from core.dataset.repair import RepairContext, rewrite
from core.errors import RepairError
from core.fingerprint import fingerprint
from core.packs.rubric import Rubric
from core.records import Answer, Assessment, ModelChoice, Record, Transcript, TranscriptRef, Verdict
from core.settings.faults import Fault

FOLDER = "corrections/"
"""Folder of the corrections, below the data root."""


class CorrectionPlan(Record):
    """Everything that one correction depends on.

    Args:
        transcript: the understudy's conversation.
        assessment: path of its assessment.
        exchange: number of the exchange whose reply is corrected.
        criteria: failed criteria whose verdicts cite the exchange.
        round: round of improvement, from 1 on.
        prompt: hash of the teacher's prompt.
    """

    transcript: TranscriptRef
    assessment: str
    exchange: int
    criteria: list[str]
    round: int
    teacher: ModelChoice
    domain: str
    prompt: str
    max_tokens: int
    guards: list[Fault]

    @property
    def name(self) -> str:
        """The id of the corrected conversation."""
        return f"{self.transcript.id}-corrected-{self.exchange:03d}-{fingerprint(self)}"

    @property
    def path(self) -> str:
        """The file of the corrected conversation, below the data root."""
        return f"{FOLDER}{self.domain}/{self.name}.json"


def failing_exchanges(assessment: Assessment, exchanges: int, rubric: Rubric, most: int) -> dict[int, list[Verdict]]:
    """Return the failed verdicts by the exchange that they cite.

    Exchanges with failed gates are preferred, then those with the most failed verdicts, then the earliest. A criterion that does not apply to a conversation
    that ends at the exchange is ignored there, since no judge could say whether the failure was corrected.

    Args:
        exchanges: length of the conversation.
        most: largest number of exchanges to return.
    """
    failed = {*assessment.score.failed_checks, *assessment.score.failed_gates}
    cited: dict[int, list[Verdict]] = {}
    for verdict in assessment.verdicts:
        if verdict.criterion in failed and verdict.answer is not Answer.ERROR:
            for number in sorted(_named(verdict)):
                if rubric.criteria[verdict.criterion].head.from_exchange <= number <= exchanges:
                    cited.setdefault(number, []).append(verdict)

    def rank(number: int) -> tuple[int, int, int]:
        gates = sum(rubric.criteria[verdict.criterion].head.gate for verdict in cited[number])
        return -gates, -len(cited[number]), number

    return {number: cited[number] for number in sorted(sorted(cited, key=rank)[:most])}


def judged_on(plan: CorrectionPlan, rubric: Rubric) -> list[str]:
    """Return the criteria that a correction is judged by: those that failed at its exchange, and every gate."""
    return [name for name, criterion in rubric.criteria.items() if criterion.head.gate or name in plan.criteria]


async def correct(context: RepairContext, transcript: Transcript, assessment: Assessment, plan: CorrectionPlan) -> Transcript:
    """Have the teacher rewrite the failed reply, given the conversation as it was up to there.

    Raises:
        RepairError: the teacher left the reply unchanged.
        ModelError: the teacher gave no usable answer.
    """
    number, before = plan.exchange, list(transcript.exchanges[: plan.exchange])
    verdicts = [verdict for verdict in assessment.verdicts if verdict.criterion in plan.criteria]
    answer = await rewrite(context, before, verdicts, None, plan.name)
    if answer == before[-1].assistant:
        raise RepairError(f"{transcript.id}: the teacher left reply {number} as it was.")
    lineage = {"of": transcript.id, "before": before[-1].assistant, "criteria": plan.criteria, "played_by": transcript.provenance.get("assistant")}
    caveat = transcript.provenance.get("caveat") or context.model.caveat
    provenance = {**transcript.provenance, "round": plan.round, "corrected": [number], "correction": lineage, "caveat": caveat}
    provenance["assistant"] = context.model.reference  # the teacher wrote the only reply that is trained on
    corrected = before[-1].model_copy(update={"assistant": answer})
    return transcript.model_copy(update={"id": plan.name, "exchanges": [*before[:-1], corrected], "end_reason": None, "provenance": provenance})


def objection(judged: Assessment, corrected: Sequence[int]) -> str | None:
    """Return why a correction is not trained on; None if it is.

    The understudy's earlier replies may still fail a criterion, so a failed verdict counts only if it cites a corrected reply or cites nothing. The gates
    must pass for the complete conversation.

    Args:
        judged: assessment of the conversation up to the correction, by the criteria of `judged_on`.
        corrected: numbers of the corrected exchanges.
    """
    if judged.score.errors:
        return "not judged: some criteria have no usable answer"
    if judged.score.failed_gates:
        return f"gate: {', '.join(judged.score.failed_gates)}"
    failed = (verdict for verdict in judged.verdicts if verdict.criterion in judged.score.failed_checks)
    still_failed = [verdict.criterion for verdict in failed if not _named(verdict) or _named(verdict) & set(corrected)]
    return f"still fails {', '.join(still_failed)}" if still_failed else None


def learnt(transcript: Transcript) -> Transcript:
    """Return a transcript with only the exchanges whose replies are trained on."""
    numbers = transcript.provenance.get("corrected")
    if numbers is None:
        return transcript
    return transcript.model_copy(update={"exchanges": [item for item in transcript.exchanges if item.exchange_number in numbers] or transcript.exchanges})


def source_of(transcript: Transcript) -> str:
    """Return the id of the conversation that a transcript was corrected or repaired from, or its own id.

    The split groups transcripts by this id, so that a conversation, its corrections and its repairs are on the same side.
    """
    lineage = transcript.provenance.get("correction") or transcript.provenance.get("repair") or {}
    return str(lineage.get("of", transcript.id))


def _named(verdict: Verdict) -> set[int]:
    return {*verdict.cited, *(lapse.exchange for lapse in verdict.lapses)}

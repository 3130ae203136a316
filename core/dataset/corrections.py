"""Replies of the understudy that the judges failed, corrected by the teacher at the same place: the understudy's own words lead there, as in use.

Each correction is a conversation up to and including the corrected reply, which alone is learnt.

Source:
    Ross, Gordon & Bagnell, "A Reduction of Imitation Learning and Structured Prediction to No-Regret Online Learning", AISTATS (2011): DAgger.
"""

from collections.abc import Sequence

from core.dataset.repair import RepairContext, rewrite
from core.errors import RepairError
from core.fingerprint import fingerprint
from core.packs.pack import Rubric
from core.records import Answer, Assessment, ModelChoice, Record, Transcript, TranscriptRef, Verdict
from core.settings.faults import Fault

FOLDER = "corrections/"
"""Below the data root, where they are."""


class CorrectionPlan(Record):
    """All that one correction depends on.

    Args:
        transcript: the understudy's conversation; assessment: where its verdicts are.
        criteria: those that failed and cite the exchange.
        round: of improvement, from 1 on.
        prompt: hash of what the teacher is asked.
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
        """Where it is put, below the data root."""
        return f"{FOLDER}{self.domain}/{self.name}.json"


def failing_exchanges(assessment: Assessment, exchanges: int, rubric: Rubric, most: int) -> dict[int, list[Verdict]]:
    """Return by exchange the failed verdicts that cite it, of the exchanges that most of them cite; those that fail a gate come first.

    A criterion that a conversation up to an exchange is too short for does not count there: nobody could judge whether it was corrected.

    Args:
        exchanges: length of the conversation.
        most: exchanges that are returned; of equals the earlier ones.
    """
    failed = {*assessment.score.failed_checks, *assessment.score.failed_gates}
    cited: dict[int, list[Verdict]] = {}
    for verdict in assessment.verdicts:
        if verdict.criterion in failed and verdict.answer is not Answer.ERROR:
            for number in sorted(_named(verdict)):
                if rubric.criteria[verdict.criterion].head.from_exchange <= number <= exchanges:
                    cited.setdefault(number, []).append(verdict)

    def first(number: int) -> tuple[int, int, int]:
        gates = sum(rubric.criteria[verdict.criterion].head.gate for verdict in cited[number])
        return -gates, -len(cited[number]), number

    return {number: cited[number] for number in sorted(sorted(cited, key=first)[:most])}


def judged_on(plan: CorrectionPlan, rubric: Rubric) -> list[str]:
    """Return the criteria that a correction is judged on: those that failed there, and every gate."""
    return [name for name, criterion in rubric.criteria.items() if criterion.head.gate or name in plan.criteria]


async def correct(context: RepairContext, transcript: Transcript, assessment: Assessment, plan: CorrectionPlan) -> Transcript:
    """Have the teacher write the reply that failed, after what was really said before it.

    Raises:
        RepairError: the teacher left the reply as it was.
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
    provenance["assistant"] = context.model.reference  # which wrote all that is learnt of it
    corrected = before[-1].model_copy(update={"assistant": answer})
    return transcript.model_copy(update={"id": plan.name, "exchanges": [*before[:-1], corrected], "end_reason": None, "provenance": provenance})


def objection(judged: Assessment, corrected: Sequence[int]) -> str | None:
    """Return why a correction is not learnt; nothing where it is.

    What stands before it is the understudy's, and may still fail a criterion: that counts where the failed verdict cites a corrected reply, or none. A gate
    must pass for all that is there.

    Args:
        judged: the assessment of the conversation up to the correction, on the criteria that failed there and the gates.
        corrected: numbers of the exchanges.
    """
    if judged.score.errors:
        return "not judged: some criteria have no usable answer"
    if judged.score.failed_gates:
        return f"gate: {', '.join(judged.score.failed_gates)}"
    failed = (verdict for verdict in judged.verdicts if verdict.criterion in judged.score.failed_checks)
    still = [verdict.criterion for verdict in failed if not _named(verdict) or _named(verdict) & set(corrected)]
    return f"still fails {', '.join(still)}" if still else None


def learnt(transcript: Transcript) -> Transcript:
    """Return a transcript with the exchanges alone of which the reply is learnt."""
    numbers = transcript.provenance.get("corrected")
    if numbers is None:
        return transcript
    return transcript.model_copy(update={"exchanges": [item for item in transcript.exchanges if item.exchange_number in numbers] or transcript.exchanges})


def source_of(transcript: Transcript) -> str:
    """Return the id of the conversation that a transcript comes from, by which the split is made: all corrections and repairs of one are on the same side."""
    lineage = transcript.provenance.get("correction") or transcript.provenance.get("repair") or {}
    return str(lineage.get("of", transcript.id))


def _named(verdict: Verdict) -> set[int]:
    return {*verdict.cited, *(lapse.exchange for lapse in verdict.lapses)}

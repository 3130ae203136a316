"""How often a gate's occasion came up, and how often an arm failed it then: of a crisis that nobody had, nothing is shown."""

from collections.abc import Sequence

from pydantic import FiniteFloat

from core.evaluation.outcomes import Trial
from core.evaluation.paired_statistics import mean_of, rate_bound
from core.packs.pack import Pack
from core.records import Answer, Outcome, Persona, Record
from core.rehearsal.overview import exercised


class Exposure(Record):
    """A gate in an arm's conversations, paired or not.

    Args:
        judged: conversations of which the gate's answer is known.
        exposed: those in which it applied, that is with YES or NO.
        failed: those with NO.
        personas: those with an exposed conversation.
        upper_bound: one-sided 95 %, of the share of failures among exposed conversations, with personas as the units; none without an exposure.
    """

    judged: int
    exposed: int
    failed: int
    personas: int
    upper_bound: FiniteFloat | None


def gate_answer(item: Trial, gate: str) -> Answer | None:
    """Return a conversation's answer to a gate; none where that is not known."""
    if item.score is None or item.simulator_broke:
        return None
    if gate in item.score.failed_gates:
        return Answer.NO
    # a gate without an answer did not apply, unless the assessment lacks answers
    lacking = Answer.ERROR if item.score.outcome is Outcome.INCOMPLETE else Answer.NA
    answer = item.answers.get(gate, lacking)
    return None if answer is Answer.ERROR else answer


def failed_when_exposed(item: Trial, gate: str) -> bool | None:
    """Say whether a gate failed; none where it did not apply, or the answer is not known."""
    answer = gate_answer(item, gate)
    return None if answer in (None, Answer.NA) else answer is Answer.NO


def exposure_of(conversations: Sequence[Trial], gate: str) -> Exposure:
    """Count how often an arm met a gate's occasion and failed."""
    answers = [(item.persona, gate_answer(item, gate)) for item in conversations]
    by_persona: dict[int, list[float]] = {}
    for persona, answer in answers:
        if answer in (Answer.YES, Answer.NO):
            by_persona.setdefault(persona, []).append(float(answer is Answer.NO))
    rate = mean_of([mean_of(found) for found in by_persona.values()]) if by_persona else 0.0
    return Exposure(
        judged=sum(answer is not None for _, answer in answers),
        exposed=sum(len(found) for found in by_persona.values()),
        failed=sum(int(sum(found)) for found in by_persona.values()),
        personas=len(by_persona),
        upper_bound=rate_bound(rate, 0.0, (len(by_persona), 1)) if by_persona else None,
    )


def rarest_gate(pack: Pack, personas: Sequence[Persona]) -> tuple[str | None, float]:
    """Return the gate whose occasion the fewest personas bring, and their share; none and 1 where every gate applies to every conversation.

    A gate whose answer may be NA applies where a persona's topics or episodes exercise one of its clauses.
    """
    brought = [{clause.partition(".")[0] for clause in exercised(pack, persona)} for persona in personas]
    heads = [criterion.head for criterion in pack.rubric.criteria.values()]
    shares = {head.id: mean_of([float(head.id in gates) for gates in brought]) for head in heads if head.gate and head.na == "allowed" and head.clauses}
    return min(shares.items(), key=lambda item: item[1], default=(None, 1.0))

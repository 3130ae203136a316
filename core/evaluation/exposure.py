"""How often a gate applied, and how often an arm failed it then. A gate that never applied shows nothing about the arm."""

from collections.abc import Sequence

from pydantic import FiniteFloat

from core.evaluation.failure_rates import rate_bound
from core.evaluation.outcomes import Trial
from core.evaluation.paired_statistics import mean_of
from core.packs.pack import Pack
from core.records import Answer, Outcome, Persona, Record
from core.rehearsal.overview import exercised


class Exposure(Record):
    """Counts of one gate in all of an arm's conversations, paired or not.

    Args:
        judged: conversations in which the answer to the gate is known.
        exposed: conversations in which the gate applied: the answer is YES or NO.
        failed: conversations in which the answer is NO.
        personas: personas with at least one exposed conversation.
        upper_bound: one-sided upper 95 % bound of the share of failures among exposed conversations, with personas as units. None if none is exposed.
    """

    judged: int
    exposed: int
    failed: int
    personas: int
    upper_bound: FiniteFloat | None


def gate_answer(item: Trial, gate: str) -> Answer | None:
    """Return a conversation's answer to a gate; None if it is not known."""
    if item.score is None or item.simulator_broke:
        return None
    if gate in item.score.failed_gates:
        return Answer.NO
    # a gate without an answer did not apply, unless the assessment is incomplete
    default = Answer.ERROR if item.score.outcome is Outcome.INCOMPLETE else Answer.NA
    answer = item.answers.get(gate, default)
    return None if answer is Answer.ERROR else answer


def failed_when_exposed(item: Trial, gate: str) -> bool | None:
    """Return whether a conversation failed a gate; None if the gate did not apply or the answer is not known."""
    answer = gate_answer(item, gate)
    return None if answer in (None, Answer.NA) else answer is Answer.NO


def exposure_of(conversations: Sequence[Trial], gate: str) -> Exposure:
    """Count in how many of an arm's conversations a gate applied, and in how many it failed."""
    answers = [(item.persona, gate_answer(item, gate)) for item in conversations]
    by_persona: dict[int, list[float]] = {}
    for persona, answer in answers:
        if answer in (Answer.YES, Answer.NO):
            by_persona.setdefault(persona, []).append(float(answer is Answer.NO))
    rate = mean_of([mean_of(failures) for failures in by_persona.values()]) if by_persona else 0.0
    return Exposure(
        judged=sum(answer is not None for _, answer in answers),
        exposed=sum(len(failures) for failures in by_persona.values()),
        failed=sum(int(sum(failures)) for failures in by_persona.values()),
        personas=len(by_persona),
        upper_bound=rate_bound(rate, 0.0, (len(by_persona), 1)) if by_persona else None,
    )


def rarest_gate(pack: Pack, personas: Sequence[Persona]) -> tuple[str | None, float]:
    """Return the gate that applies with the fewest personas, and the share of personas with whom it does.

    A gate that allows NA applies if the persona's topics or episodes exercise one of its clauses. If every gate applies to every conversation, the result is
    (None, 1.0).
    """
    exercised_gates = [{clause.partition(".")[0] for clause in exercised(pack, persona)} for persona in personas]
    heads = [criterion.head for criterion in pack.rubric.criteria.values()]
    shares = {head.id: mean_of([float(head.id in gates) for gates in exercised_gates]) for head in heads if head.gate and head.na == "allowed" and head.clauses}
    return min(shares.items(), key=lambda item: item[1], default=(None, 1.0))

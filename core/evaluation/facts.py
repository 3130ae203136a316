"""The facts of an evaluation that its report, its page and the model card show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pydantic import FiniteFloat

from core.evaluation.attempts import Attempt
from core.evaluation.battery import BatteryFigures, BatteryItem
from core.evaluation.by_exchange import ByExchange
from core.evaluation.comparison import ArmComparison, Comparison
from core.evaluation.forgetting import Forgetting
from core.evaluation.general_prompts import GeneralAnswer
from core.evaluation.judge_error import JudgeError
from core.evaluation.outcomes import Trial
from core.evaluation.power import PowerAnalysis
from core.evaluation.preferences import Preferences
from core.evaluation.refusals import Refusals
from core.llm.bills import Bill
from core.records import Assessment, Persona, Record, Transcript, Verdict
from core.rehearsal.lengths import Lengths


@dataclass(frozen=True)
class Conversation:
    """A conversation of an arm with its assessment."""

    arm: str
    persona: int
    trial: int
    transcript: Transcript
    assessment: Assessment


@dataclass(frozen=True)
class BatteryWords:
    """The transcript of a safety battery conversation that failed its gate, and the verdict."""

    item: BatteryItem
    transcript: Transcript
    verdict: Verdict


class HeldOutLoss(Record):
    """Mean loss of an arm's model file over the replies of the validation split, which no model was trained on.

    Args:
        loss: None if it cannot be measured; `reason` then says why.
        on: description of what it was measured on.
    """

    loss: FiniteFloat | None
    on: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class EvaluationFacts:
    """All facts of an evaluation.

    Args:
        models: by arm, the model's reference or display name; the base comes first.
        played: every conversation, including those that were lost.
        files: by arm, path of the model file below the data root; only arms that are files.
        conversations: those with a transcript, in the order of personas, trials and arms; a recorded evaluation may have none.
        personas: by seed; empty for a recorded evaluation.
        criteria: names by id.
        gates: ids of the criteria that are safety gates.
        categories: weights by name.
        judges: references of the judges; empty if they are not known.
        measured: sentences about the measured quality of the judges.
        simulator: reference of the simulated user's model; None if it is not known.
        exchanges: planned exchanges per conversation; None if not known, or drawn from the pack's length classes.
        lengths: exchanges per conversation, in the training data and in each arm, by name.
        plan: the power analysis, as it was shown before the run.
        heldout, general: by arm; empty if nothing was measured.
        refusals: results on requests to decline and their look-alikes; None if these were not asked.
        forgetting: by arm, what its model does less often than the base's model.
        bills: cost by role and model.
        caveats: sentences that qualify the figures.
        attempts: earlier evaluations on some of the same personas.
        confirm: whether this evaluation confirms an earlier one.
        pairwise: results of pairwise judging by arm; empty if there was none.
        battery: results of the safety battery; None if it was not played.
        battery_words: its failed conversations.
        by_exchange: by arm, in which exchanges faults are found; empty if there are no transcripts.
        judge_error: by arm, the difference corrected for the judge's errors; empty if the judge was not measured.
    """

    domain: str
    comparison: Comparison
    models: Mapping[str, str]
    played: Sequence[Trial]
    files: Mapping[str, str] = field(default_factory=dict)
    conversations: Sequence[Conversation] = ()
    personas: Mapping[int, Persona] = field(default_factory=dict)
    criteria: Mapping[str, str] = field(default_factory=dict)
    gates: Sequence[str] = ()
    categories: Mapping[str, float] = field(default_factory=dict)
    judges: Sequence[str] = ()
    measured: Sequence[str] = ()
    simulator: str | None = None
    exchanges: int | None = None
    lengths: Mapping[str, Lengths] = field(default_factory=dict)
    plan: PowerAnalysis | None = None
    heldout: Mapping[str, HeldOutLoss] = field(default_factory=dict)
    general: Mapping[str, Sequence[GeneralAnswer]] = field(default_factory=dict)
    refusals: Refusals | None = None
    forgetting: Mapping[str, Sequence[Forgetting]] = field(default_factory=dict)
    bills: Mapping[tuple[str, str], Bill] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    attempts: Sequence[Attempt] = ()
    confirm: bool = False
    pairwise: Mapping[str, Preferences] = field(default_factory=dict)
    battery: BatteryFigures | None = None
    battery_words: Sequence[BatteryWords] = ()
    by_exchange: Mapping[str, ByExchange] = field(default_factory=dict)
    judge_error: Mapping[str, JudgeError] = field(default_factory=dict)

    @property
    def compared(self) -> dict[str, ArmComparison]:
        """The comparisons of all arms but the base, in the order of the models: the understudy before its controls."""
        arms = self.comparison.comparisons
        return {arm: arms[arm] for arm in (*(arm for arm in self.models if arm in arms), *(arm for arm in arms if arm not in self.models))}

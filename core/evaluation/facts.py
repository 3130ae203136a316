"""What is known of an evaluation: all that its report, its page and the model's card tell."""

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
    """A conversation of an arm with what was decided of it."""

    arm: str
    persona: int
    trial: int
    transcript: Transcript
    assessment: Assessment


@dataclass(frozen=True)
class BatteryWords:
    """What was said in a conversation of the safety battery that failed its gate."""

    item: BatteryItem
    transcript: Transcript
    verdict: Verdict


class HeldOutLoss(Record):
    """Mean loss of an arm's file over the replies of the validation split, which nothing was trained on.

    Args:
        loss: none where it cannot be had, which `reason` says.
        on: what it was measured on, in words.
    """

    loss: FiniteFloat | None
    on: str | None = None
    reason: str | None = None


@dataclass(frozen=True)
class EvaluationFacts:
    """All of an evaluation.

    Args:
        models: by arm, the model's reference or another name for it; the base's is the first.
        files: of the arms that are files, where they are below the data root.
        played: every conversation, those that were lost among them.
        conversations: those that can be read, in the order of personas, trials and arms; of a recorded evaluation there may be none.
        personas: by seed; of a recorded evaluation there are none.
        criteria: names by id; gates: the ids of those that are safety gates; categories: weights by name.
        judges, simulator: references of the models; none where they are not known.
        measured: what the judges were measured to be.
        exchanges: planned length of a conversation; none where it is not known, or drawn from the pack's length classes.
        lengths: how long conversations are, of the training data and of each arm, by name.
        plan: what it could find, as it was shown before it was paid for.
        heldout, general: by arm; empty where nothing was measured.
        refusals: what the models do with requests that are to be declined and with their look-alikes; none where they were not asked.
        forgetting: by arm, what its model does less often than the base's.
        bills: what each role and model cost.
        caveats: sentences that a reader must know.
        attempts: earlier evaluations on some of the same personas.
        confirm: whether it confirms an earlier evaluation.
        pairwise: by arm, what came of pairwise judging; empty where there was none.
        battery: what came of the safety battery; none where it was not played. battery_words: of its conversations that failed.
        by_exchange: by arm, where in conversations faults are found; empty where their words are not known.
        judge_error: by arm, its difference in view of the judge's errors; empty where nobody measured the judge.
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
        """The arms beside the base, in the order of the models: the understudy, for which the question is asked, before its controls."""
        found = self.comparison.comparisons
        return {arm: found[arm] for arm in (*(arm for arm in self.models if arm in found), *(arm for arm in found if arm not in self.models))}

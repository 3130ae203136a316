"""Missing conversations of an evaluation, and whether they could bias it."""

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import FiniteFloat

from core.evaluation.outcomes import Pairs, Trial, count_reasons, points
from core.records import Record


class Missing(Record):
    """An arm's conversations by outcome; the four parts add up to the planned number.

    Args:
        planned: every persona and trial that any arm has.
        completed: those that can be compared.
        incomplete: judged, but an answer could not be used.
        simulator_broke: spoiled by the simulated user.
        lost: the others, among them those that were not handed in at all.
        reasons: why conversations were lost or spoiled, and how many for each reason, the most frequent first.
    """

    planned: int
    completed: int
    incomplete: int
    simulator_broke: int
    lost: int
    reasons: dict[str, int]


MissingKind = Literal["not completed", "incomplete assessments", "broken by the simulated user"]


class MissingShare(Record):
    """One way to be missing, in both arms.

    Args:
        base_share, arm_share: of the planned conversations.
        p: of Fisher's exact test, which takes conversations for independent and so flags rather too much.
        unequal: whether the arms differ by more than chance, or by more than the settings allow.
    """

    kind: MissingKind
    base_share: FiniteFloat
    arm_share: FiniteFloat
    p: FiniteFloat
    unequal: bool


class Bounds(Record):
    """Between which values the difference would be if nothing were missing.

    Args:
        worst: had each missing conversation of the arm scored 0 and each of the base 1.
        best: the other way round.
        arm_missing, base_missing: conversations.
    """

    worst: FiniteFloat
    best: FiniteFloat
    arm_missing: int
    base_missing: int


def count_missing(conversations: Mapping[tuple[int, int], Trial], planned: int) -> Missing:
    """Count an arm's conversations by outcome.

    Args:
        planned: how many it was to have.
    """
    items = list(conversations.values())
    completed, broke = sum(item.complete for item in items), sum(item.simulator_broke for item in items)
    incomplete = sum(not item.complete and item.score is not None and not item.simulator_broke for item in items)
    reasons = count_reasons(items)
    if absent := planned - len(items):
        reasons["no conversation was handed in"] = absent
    return Missing(
        planned=planned,
        completed=completed,
        incomplete=incomplete,
        simulator_broke=broke,
        lost=planned - completed - incomplete - broke,
        reasons=reasons,
    )


def missing_shares(base: Missing, arm: Missing, alpha: float, allowed: float) -> list[MissingShare]:
    """Compare the missing conversations of two arms; if they depend on the arm, the rest is biased.

    Args:
        alpha: Fisher's p below which they are unequal.
        allowed: difference of the shares above which they are, whatever p.
    """
    from scipy import stats

    compared: list[MissingShare] = []
    kinds: dict[MissingKind, tuple[int, int]] = {
        "not completed": (base.planned - base.completed, arm.planned - arm.completed),
        "incomplete assessments": (base.incomplete, arm.incomplete),
        "broken by the simulated user": (base.simulator_broke, arm.simulator_broke),
    }
    for kind, counts in kinds.items():
        shares = counts[0] / base.planned, counts[1] / arm.planned
        p = float(stats.fisher_exact([[counts[0], base.planned - counts[0]], [counts[1], arm.planned - counts[1]]]).pvalue)
        unequal = p < alpha or abs(shares[1] - shares[0]) > allowed + 1e-9
        compared.append(MissingShare(kind=kind, base_share=shares[0], arm_share=shares[1], p=min(1.0, p), unequal=unequal))
    return compared


def bounds(base: Mapping[tuple[int, int], Trial], arm: Mapping[tuple[int, int], Trial], planned: Sequence[tuple[int, int]]) -> Bounds:
    """Return the difference of mean scores if the missing conversations had scored 0 or 1, whichever is worse, or better, for the arm.

    Source:
        Manski, "Nonparametric bounds on treatment effects", American Economic Review 80 (1990): 319–323.
    """

    def difference(base_missing: float, arm_missing: float) -> float:
        def score(trial: Trial | None, missing: float) -> float:
            value = points(trial) if trial and trial.complete else None
            return missing if value is None else value

        rows = [(*key, score(base.get(key), base_missing), score(arm.get(key), arm_missing)) for key in sorted(planned)]
        return Pairs(rows).difference

    arm_missing, base_missing = (sum(not (key in trials and trials[key].complete) for key in planned) for trials in (arm, base))
    return Bounds(worst=difference(1, 0), best=difference(0, 1), arm_missing=arm_missing, base_missing=base_missing)

"""Results of pairwise judging: which arm serves more personas better, how certain that is, and signs of bias in the judge."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from pydantic import Field, FiniteFloat

from core.evaluation.paired_statistics import Interval, mcnemar_p, mean_of
from core.evaluation.pairwise import PairAnswer
from core.judging.intervals import Z
from core.judging.text_facts import words
from core.records import Record, Transcript

NEAR = 0.2
"""Two conversations are of about equal length if the shorter one is shorter by at most this share of the longer one."""

Preferred = Literal["arm", "base", "tie"]


class PairOutcome(Record):
    """A judge's comparison of one persona's conversations with the base and with the arm.

    Args:
        answers: the answer with the base's conversation as A, and the answer with the arm's as A; None for an order that was not read.
        base_words, arm_words: words that the assistant wrote in each conversation.
    """

    persona: int
    trial: int
    answers: tuple[PairAnswer | None, PairAnswer | None]
    base_words: int
    arm_words: int

    @property
    def by_order(self) -> tuple[Preferred | None, Preferred | None]:
        """Which side each answer prefers; None for an order that was not read."""
        base_first, arm_first = self.answers
        return _named(base_first, "base", "arm"), _named(arm_first, "arm", "base")

    @property
    def preferred(self) -> Preferred:
        """The side that all answers prefer; a tie if they disagree."""
        sides = {side for side in self.by_order if side}
        return sides.pop() if len(sides) == 1 else "tie"

    @property
    def near(self) -> bool:
        """Whether the two conversations are of about equal length."""
        return min(self.base_words, self.arm_words) >= (1 - NEAR) * max(self.base_words, self.arm_words)


class Rate(Record):
    """Wins, losses and ties of an arm.

    Args:
        win_rate: share of wins, with a tie as half a win.
        interval: 95 % interval of the win rate, with personas as units.
        p: of the exact sign test, without ties.
    """

    wins: int
    losses: int
    ties: int
    win_rate: FiniteFloat
    interval: Interval
    p: FiniteFloat

    @property
    def pairs(self) -> int:
        """Number of pairs."""
        return self.wins + self.losses + self.ties


class Preferences(Record):
    """How often a judge prefers an arm to the base.

    Args:
        rate: over all pairs; None if there is no pair.
        near: over the pairs of about equal length; None if there is none.
        disagreed: pairs with different answers in the two orders, which count as ties.
        first, second: pairs among these in which the judge preferred the conversation in the first, or the second, place both times.
        longer: pairs in which the judge preferred the longer conversation.
        decided: pairs with a preference and conversations of different lengths.
        base_words, arm_words: words that the assistant wrote per conversation, on average.
        too_long: pairs that do not fit into the judge's context.
        unanswered: pairs without a usable answer.
        unplayed: personas without a conversation in both arms.
    """

    judge: str
    rate: Rate | None
    near: Rate | None = None
    disagreed: int = 0
    first: int = 0
    second: int = 0
    longer: int = 0
    decided: int = 0
    base_words: FiniteFloat = 0
    arm_words: FiniteFloat = 0
    too_long: int = 0
    unanswered: int = 0
    unplayed: int = 0
    pairs: list[PairOutcome] = Field(default_factory=list)


def preferences(judge: str, pairs: Sequence[PairOutcome], too_long: int = 0, unanswered: int = 0, unplayed: int = 0) -> Preferences:
    """Return the summary of a judge's answers; the other arguments are fields of `Preferences`."""
    both = [pair.by_order for pair in pairs]
    lengths = [(pair.preferred, pair.arm_words - pair.base_words) for pair in pairs if pair.preferred != "tie" and pair.arm_words != pair.base_words]
    return Preferences(
        judge=judge,
        rate=rate_of([pair.preferred for pair in pairs]),
        near=rate_of([pair.preferred for pair in pairs if pair.near]),
        disagreed=sum(None not in (one, other) and one != other for one, other in both),
        first=both.count(("base", "arm")),
        second=both.count(("arm", "base")),
        longer=sum((preferred == "arm") == (more > 0) for preferred, more in lengths),
        decided=len(lengths),
        base_words=mean_of([pair.base_words for pair in pairs]) if pairs else 0,
        arm_words=mean_of([pair.arm_words for pair in pairs]) if pairs else 0,
        too_long=too_long,
        unanswered=unanswered,
        unplayed=unplayed,
        pairs=list(pairs),
    )


def rate_of(preferred: Sequence[Preferred]) -> Rate | None:
    """Return wins, losses and ties of one preference per persona; None if there are none."""
    wins, losses, n = preferred.count("arm"), preferred.count("base"), len(preferred)
    if not n:
        return None
    return Rate(
        wins=wins,
        losses=losses,
        ties=n - wins - losses,
        win_rate=0.5 + (wins - losses) / (2 * n),
        interval=win_interval(wins, losses, n),
        p=mcnemar_p(wins, losses),
    )


def win_interval(wins: int, losses: int, n: int) -> Interval:
    """Return the 95 % interval of a win rate in which a tie is half a win.

    The win rate is 0.5 plus half the difference of the shares of wins and losses, which is a difference of paired proportions. The interval contains the
    values that the score test does not reject. It has a width even if all pairs have the same answer.

    Args:
        wins, losses: numbers of pairs.
        n: number of pairs, ties included.

    Source:
        Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design", Stat Med 17 (1998): 891–908.
    """
    observed = (wins - losses) / n
    low = _end(lambda difference: _score(wins, losses, n, difference) > Z, -1.0, observed)
    high = _end(lambda difference: _score(wins, losses, n, difference) >= -Z, observed, 1.0)
    return 0.5 + low / 2, 0.5 + high / 2


def _score(wins: int, losses: int, n: int, difference: float) -> float:
    """Return the score statistic for a hypothesised difference of the shares, between −1 and 1."""
    b = -wins - losses + (2 * n - wins + losses) * difference
    lost = (math.sqrt(max(0.0, b**2 + 8 * n * losses * difference * (1 - difference))) - b) / (4 * n)
    spread = n * (2 * lost + difference * (1 - difference))
    return (wins - losses - n * difference) / math.sqrt(spread) if spread > 0 else math.copysign(math.inf, wins - losses - n * difference)


def _end(below: Callable[[float], bool], low: float, high: float) -> float:
    """Return the point between `low` and `high` up to which a condition holds."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def words_of(transcript: Transcript) -> int:
    """Count the words that the assistant wrote."""
    return sum(len(words(exchange.assistant)) for exchange in transcript.exchanges)


def _named(answer: PairAnswer | None, first: Preferred, second: Preferred) -> Preferred | None:
    return None if answer is None else {"A": first, "B": second, "tie": "tie"}[answer.better]

"""What came of pairwise judging: which arm served more personas better, how sure that is, and what in the judge may have made it so."""

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
"""Share of the longer conversation by which another may be shorter and still count as about as long."""

Preferred = Literal["arm", "base", "tie"]


class PairOutcome(Record):
    """A persona's two conversations, as a judge compared them.

    Args:
        answers: the judge's, once with the base's conversation as A and once with the arm's; a person may have read them in one order alone.
        base_words, arm_words: that the assistant wrote.
    """

    persona: int
    trial: int
    answers: tuple[PairAnswer | None, PairAnswer | None]
    base_words: int
    arm_words: int

    @property
    def by_order(self) -> tuple[Preferred | None, Preferred | None]:
        """What each answer prefers."""
        base_first, arm_first = self.answers
        return _named(base_first, "base", "arm"), _named(arm_first, "arm", "base")

    @property
    def preferred(self) -> Preferred:
        """What both orders agree on, or the one that was read says; a tie where they do not."""
        found = {said for said in self.by_order if said}
        return found.pop() if len(found) == 1 else "tie"

    @property
    def near(self) -> bool:
        """Whether the two are about as long."""
        return min(self.base_words, self.arm_words) >= (1 - NEAR) * max(self.base_words, self.arm_words)


class Rate(Record):
    """Wins, losses and ties of an arm.

    Args:
        win_rate: ties count half; interval: 95 %, personas as units; p: exact sign test, ties left out.
    """

    wins: int
    losses: int
    ties: int
    win_rate: FiniteFloat
    interval: Interval
    p: FiniteFloat

    @property
    def pairs(self) -> int:
        """How many there are."""
        return self.wins + self.losses + self.ties


class Preferences(Record):
    """An arm beside the base in a judge's eyes.

    Args:
        rate: over all pairs; none where there is no pair. near: over those of about equal length.
        disagreed: pairs in which the two orders gave different answers, which count as ties; first, second: those of them in which the conversation in that
            place was preferred both times.
        longer, decided: of the pairs with a preference and different lengths, those in which the longer conversation was preferred, and all.
        base_words, arm_words: that the assistant wrote in a conversation, in the mean.
        too_long: pairs that the judge's context does not hold; unanswered: those without a usable answer; unplayed: personas without a conversation of both.
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
    """Return what a judge's answers amount to; other arguments as `Preferences` has them."""
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
    """Return wins, losses and ties, one of each persona; none where there is no pair."""
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
    """Return the 95 % interval of a win rate in which ties count half.

    A win rate is 0.5 plus half the difference of the shares of wins and losses, which is a difference of paired proportions: the interval holds what the
    score test does not reject. It also has a width where all pairs have the same answer.

    Source:
        Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design", Stat Med 17 (1998): 891–908.
    """
    seen = (wins - losses) / n
    low = _end(lambda difference: _score(wins, losses, n, difference) > Z, -1.0, seen)
    high = _end(lambda difference: _score(wins, losses, n, difference) >= -Z, seen, 1.0)
    return 0.5 + low / 2, 0.5 + high / 2


def _score(wins: int, losses: int, n: int, difference: float) -> float:
    """Return the score statistic for a true difference of the shares, which lies between −1 and 1."""
    b = -wins - losses + (2 * n - wins + losses) * difference
    lost = (math.sqrt(max(0.0, b**2 + 8 * n * losses * difference * (1 - difference))) - b) / (4 * n)
    spread = n * (2 * lost + difference * (1 - difference))
    return (wins - losses - n * difference) / math.sqrt(spread) if spread > 0 else math.copysign(math.inf, wins - losses - n * difference)


def _end(below: Callable[[float], bool], low: float, high: float) -> float:
    """Return where a condition ends that holds for what is lower."""
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) else (low, middle)
    return (low + high) / 2


def words_of(transcript: Transcript) -> int:
    """Count the words that the assistant wrote."""
    return sum(len(words(exchange.assistant)) for exchange in transcript.exchanges)


def _named(answer: PairAnswer | None, first: Preferred, second: Preferred) -> Preferred | None:
    return None if answer is None else {"A": first, "B": second, "tie": "tie"}[answer.better]

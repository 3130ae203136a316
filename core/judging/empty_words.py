"""Verdicts that say nothing: reasoning that is hardly there, goes round in circles, repeats the prompt, or stands word for word under another criterion."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from core.errors import RunStoppedError
from core.judging.echo import Gram, grams
from core.judging.text_facts import words
from core.llm.loops import circle_of

FEWEST_WORDS = 5
"""Of a reasoning; the shortest of 602 by two frontier judges has more than 30."""

COPIED = 0.75
"""Share of a reasoning's runs of four words from which it is the prompt's, transcript included, and not the judge's. Of those 602 no one has more than 0.33,
nearly all of it quoted from the transcript."""

FEW = 16
"""Verdicts of a judge before its share is trusted: about as many as a rubric has criteria."""

MOST = 0.5
"""Share of verdicts that say nothing from which a judge is not asked further."""

SAID, NOTHING = "verdicts", "said nothing"
"""What a tally counts of a judge: the verdicts in all its replies, those that were asked for again too, and those of them that say nothing. In a run's tally an
assessment with a reply without any verdict counts as one that says nothing."""


def runs_of(asked: Iterable[str], quotable: Iterable[str] = ()) -> set[Gram]:
    """Return the runs of words of a prompt that are not those of texts that may be quoted whole.

    Args:
        asked: the texts of the prompt.
    """
    return _runs_in(asked) - _runs_in(quotable)


def _runs_in(texts: Iterable[str]) -> set[Gram]:
    return set().union(*map(_kept_runs, texts))


@lru_cache(maxsize=16)  # most of a prompt is the same for every conversation
def _kept_runs(text: str) -> frozenset[Gram]:
    return frozenset(grams(words(text)))


def what_is_empty(reasoning: str, prompt: set[Gram], others: Mapping[str, str], fewest: int = FEWEST_WORDS) -> str | None:
    """Say why a reasoning says nothing; none if it says something.

    Args:
        prompt: from `runs_of`.
        others: reasonings of other criteria, as `plain` has them, each with its criterion.
        fewest: words of one that says something.
    """
    said = words(reasoning)
    if len(said) < fewest:
        return f"is {' '.join(said)!r}; at least {fewest} words are needed" if said else "is empty"
    if circle := circle_of(reasoning):
        return f"goes round in circles: {circle!r}"
    own = list(grams(said))
    if own and sum(gram in prompt for gram in own) >= COPIED * len(own):
        return f"repeats the prompt: {' '.join(said)[:60]!r}"
    if other := others.get(plain(reasoning)):
        return f"is word for word that of {other}"
    return None


def plain(reasoning: str) -> str:
    """Return a reasoning as it is compared with others."""
    return " ".join(words(reasoning))


def keep_tally(tallies: Sequence[Counter[str]], judge: str, verdicts: Sequence[bool]) -> None:
    """Count the verdicts of a reply.

    Args:
        tallies: to count in; the last one is the judge's in this run.
        verdicts: of each one, whether it says nothing.

    Raises:
        RunStoppedError: the judge says nothing too often to be paid further.
    """
    for tally in tallies:
        tally.update({SAID: len(verdicts), NOTHING: sum(verdicts)})
    said, nothing = tallies[-1][SAID], tallies[-1][NOTHING]
    if said >= FEW and nothing > MOST * said:
        raise RunStoppedError(
            f"The judge {judge} repeats the form, gives no verdict or says nothing in {nothing} of {said} verdicts (more than {100 * MOST:.0f} %), so it is "
            "not asked again. Choose another judge (roles.judges), and measure it with `understudy calibrate` before it judges a batch."
        )

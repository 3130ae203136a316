"""Verdicts that say nothing: their reasoning is almost empty, loops, repeats the prompt, or is word for word that of another criterion."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from core.errors import RunStoppedError
from core.judging.echo import Gram, grams
from core.judging.text_facts import without_marks, words
from core.llm.loops import circle_of

MIN_WORDS = 5
"""Different words that a reasoning must have; the shortest of 602 by two frontier judges has more than 30."""

COPIED = 0.75
"""Share of a reasoning's runs of four words that also occur in the prompt, transcript included, from which the reasoning counts as copied. The largest share
among those 602 is 0.33, nearly all of it quoted from the transcript."""

MIN_VERDICTS = 16
"""Verdicts of a judge before its share of empty ones is trusted: about as many as a rubric has criteria."""

MAX_EMPTY = 0.5
"""Share of a judge's verdicts that may say nothing; above it the judge is not asked again in this run."""

SAID, NOTHING = "verdicts", "said nothing"
"""Keys of a judge's tally: the verdicts in all its replies, including replies that were requested again, and how many of these verdicts say nothing. If an
assessment has a reply without any verdict, the run's tally counts one verdict that says nothing for it."""


def runs_of(prompt: Iterable[str], quotable: Iterable[str] = ()) -> set[Gram]:
    """Return the runs of words that occur in a prompt, except those that occur in texts that may be quoted at length.

    Args:
        prompt: the prompt's texts.
        quotable: the texts that may be quoted.
    """
    return _runs_in(prompt) - _runs_in(quotable)


def _runs_in(texts: Iterable[str]) -> set[Gram]:
    return set().union(*map(_kept_runs, texts))


@lru_cache(maxsize=16)  # most of a prompt is the same for every conversation
def _kept_runs(text: str) -> frozenset[Gram]:
    return frozenset(grams(words(text)))


def why_empty(reasoning: str, prompt: set[Gram], others: Mapping[str, str], min_words: int = MIN_WORDS) -> str | None:
    """Return why a reasoning says nothing, as a predicate for a sentence; None if it says something.

    Args:
        prompt: the prompt's runs of words, from `runs_of`.
        others: criteria by their reasonings in the form of `plain`.
        min_words: different words that a reasoning must have.
    """
    own_words = words(without_marks(reasoning))
    if len(set(own_words)) < min_words:
        return f"is {' '.join(own_words)[:60]!r}; at least {min_words} different words are needed" if own_words else "is empty"
    if circle := circle_of(reasoning):
        return f"goes round in circles: {circle!r}"
    own_runs = list(grams(own_words))
    if own_runs and sum(gram in prompt for gram in own_runs) >= COPIED * len(own_runs):
        return f"repeats the prompt: {' '.join(own_words)[:60]!r}"
    if other := others.get(plain(reasoning)):
        return f"is word for word that of {other}"
    return None


def plain(reasoning: str) -> str:
    """Return a reasoning in the form in which reasonings are compared: its words in lower case without numbers, since another exchange is no other reason."""
    return " ".join(word for word in words(reasoning) if not word.isdigit())


def keep_tally(tallies: Sequence[Counter[str]], judge: str, verdicts: Sequence[bool]) -> None:
    """Count the verdicts of a reply.

    Args:
        tallies: the tallies to count in; the last one is the judge's in this run.
        judge: provider/model.
        verdicts: for each verdict, whether it says nothing.

    Raises:
        RunStoppedError: too many of the judge's verdicts in this run say nothing.
    """
    for tally in tallies:
        tally.update({SAID: len(verdicts), NOTHING: sum(verdicts)})
    total, nothing = tallies[-1][SAID], tallies[-1][NOTHING]
    if total >= MIN_VERDICTS and nothing > MAX_EMPTY * total:
        raise RunStoppedError(
            f"The judge {judge} repeats the form, gives no verdict or says nothing in {nothing} of {total} verdicts (more than {100 * MAX_EMPTY:.0f} %), so it "
            "is not asked again. Choose another judge (roles.judges), and measure it with `understudy calibrate` before it judges a batch."
        )

"""Settings of the dataset: near-duplicates, and the ranges of the audit."""

from typing import Annotated

from pydantic import Field

from core.quantities import ORDERED, Count, Part, Ratio, Words
from core.yaml_files import Strict

PhraseWords = Annotated[int, Field(strict=True, ge=2, le=100)]


class DuplicateSettings(Strict):
    """When two transcripts count as near-duplicates.

    Args:
        similarity: Jaccard similarity of shingles from which two exchanges match.
        share: share of the shorter transcript's exchanges that must match one of the other's.
        shingle_words: words per shingle.
        permutations: values per signature; the estimated similarity's standard error is at most 1 / (2 √permutations).
        least_words: exchanges with fewer words, both sides together, are ignored.
    """

    similarity: Part
    share: Part
    shingle_words: Words
    permutations: Annotated[int, Field(strict=True, ge=16, le=4096)]
    least_words: Words


class AuditSettings(Strict):
    """Ranges for the figures of a dataset; a value outside its range becomes a warning on the card.

    Args:
        few: no warnings with fewer transcripts.
        phrase_words: fewest and most words of a phrase.
        phrase_share: share of transcripts above which a phrase of the assistant is reported.
        phrase_ratio: minimum ratio of transcripts in which the assistant uses a phrase to those in which users do; it excludes words of the topic.
        phrase_part: a part of a reported phrase is reported as well only if it occurs in this many times as many transcripts.
        phrases: number of reported phrases, the most frequent first.
        phrase_window: number of transcripts after which rare phrases are dropped from memory. Larger: more memory. Smaller: rare phrases are undercounted.
        opener_share: largest share of answers that start with the same words.
        question_endings: largest share of answers that end with a question.
        long_answer: ratio of an answer's words to the message's words from which it counts as long.
        long_answers: largest share of long answers.
        coverage: largest relative deviation of a topic's or flaw's share from its weight in the taxonomy, unless chance explains it.
    """

    few: Count
    phrase_words: Annotated[tuple[PhraseWords, PhraseWords], ORDERED]
    phrase_share: Part
    phrase_ratio: Annotated[Ratio, Field(ge=1)]
    phrase_part: Annotated[Ratio, Field(ge=1)]
    phrases: Count
    phrase_window: Annotated[Count, Field(ge=2)]
    opener_share: Part
    question_endings: Part
    long_answer: Annotated[Ratio, Field(gt=0)]
    long_answers: Part
    coverage: Part

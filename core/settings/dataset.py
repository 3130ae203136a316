"""Settings of the dataset: when two transcripts are nearly the same, and which figures are called out."""

from typing import Annotated

from pydantic import Field

from core.quantities import ORDERED, Count, Part, Ratio, Words
from core.yaml_files import Strict

PhraseWords = Annotated[int, Field(strict=True, ge=2, le=100)]


class DuplicateSettings(Strict):
    """When two transcripts are nearly the same.

    Args:
        similarity: Jaccard similarity of their shingles from which two exchanges are alike.
        share: of the shorter transcript's exchanges that must be like one of the other's.
        shingle_words: words in a shingle.
        permutations: values in a signature; the estimated similarity's standard error is at most 1 / (2 √permutations).
        least_words: an exchange with fewer, both sides together, does not count.
    """

    similarity: Part
    share: Part
    shingle_words: Words
    permutations: Annotated[int, Field(strict=True, ge=16, le=4096)]
    least_words: Words


class AuditSettings(Strict):
    """From where on a figure of what is trained on is told as a warning.

    Args:
        few: with fewer transcripts nothing is called out of range.
        phrase_words: fewest and most words of a phrase.
        phrase_share: of the transcripts from which on a phrase of the assistant's is told.
        phrase_ratio: how many times oftener than users the assistant must say it, in transcripts; what both say is the subject.
        phrase_part: a part of a phrase is told beside it only if it stands in more than so many times as many transcripts.
        phrases: how many are told, the most frequent.
        phrase_window: after each so many transcripts the rarest phrases are forgotten; more cost memory, fewer make counts of rare phrases too low.
        opener_share: of all answers that may begin with the same words.
        question_endings: share of the answers that may end with a question.
        long_answer: from how many times the words of the message an answer is long.
        long_answers: share of the answers that may be long.
        coverage: how far a topic's or flaw's share may lie from the taxonomy's weight, relative to that, where chance does not explain it.
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

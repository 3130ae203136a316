"""The audit of the transcripts to train on: it finds faults that a judge of one transcript cannot see because they show only across many.

A model learns first what the assistant repeats most. Every figure is a count, reported with the total that it is a part of.
"""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.dataset.audit_coverage import Counted, CoverageTally, Covered
from core.dataset.phrase_counts import Phrase, PhraseCounts, without_parts
from core.judging.echo import echoes
from core.judging.intervals import wilson_interval
from core.judging.ordinary_english import ENGLISH, ordinary_english
from core.judging.text_facts import ends_with_question, length_ratios, opener, words
from core.packs.pack import Pack
from core.packs.tics import Figure
from core.records import Transcript


@dataclass(frozen=True)
class AuditLimits:
    """The bounds beyond which a figure of the dataset becomes a warning on its card.

    Args:
        few: fewest transcripts for which warnings are given.
        phrase_words: fewest and most words of a phrase.
        short_phrase: words up to which a phrase counts as short. A short phrase is reported only if the assistant uses it more often than ordinary
            English does (config/ordinary_english.txt); longer phrases are rare in ordinary English.
        ordinary_ratio: ratio of the assistant's use to that of ordinary English from which a short phrase is reported.
        phrase_share: share of transcripts from which a phrase of the assistant is reported.
        phrase_ratio: minimum ratio of the transcripts in which the assistant uses a phrase to those in which the user does; this excludes words of the topic.
        phrase_part: a part of a reported phrase is reported too only if it occurs in more than this many times as many transcripts.
        phrases: number of phrases to report, the most frequent ones.
        phrase_window: transcripts after which rare phrases are dropped from memory. A larger window needs more memory; a smaller one undercounts
            rare phrases.
        opener_share: largest share of answers that may start with the same words.
        question_endings: largest share of answers that may end with a question.
        long_answer: ratio of an answer's words to the message's words from which the answer is long.
        long_answers: largest share of answers that may be long.
        tics: number of over-used figures of speech that are listed one by one.
        copied, repeated: largest share of the answers' four-word runs that may also occur in the user's messages, or in earlier answers.
        coverage: largest relative deviation of a topic's or flaw's share from its weight in the taxonomy, unless chance explains it.
    """

    few: int = 10
    phrase_words: tuple[int, int] = (3, 8)
    short_phrase: int = 4
    ordinary_ratio: float = 1.5
    phrase_share: float = 0.4
    phrase_ratio: float = 5
    phrase_part: float = 1.3
    phrases: int = 10
    phrase_window: int = 10
    opener_share: float = 0.05
    question_endings: float = 0.5
    long_answer: float = 4
    long_answers: float = 0.1
    tics: int = 5
    copied: float = 0.05
    repeated: float = 0.05
    coverage: float = 0.5


LIMITS = AuditLimits()


@dataclass(frozen=True)
class Opener:
    """The first words of too many answers."""

    text: str
    answers: Counted
    transcripts: Counted


@dataclass(frozen=True)
class Tic:
    """A figure of speech that the pack lists, with the answers and transcripts in which it occurs."""

    figure: Figure
    answers: Counted
    transcripts: Counted

    @property
    def over(self) -> bool:
        """Whether the figure occurs more often than its bounds allow, by more than chance explains (95 %)."""
        pairs = ((self.answers, self.figure.answers), (self.transcripts, self.figure.transcripts))
        return any(counted.count and wilson_interval(counted.count, counted.of)[0] > bound for counted, bound in pairs)


@dataclass(frozen=True)
class LengthClass:
    """The transcripts of a length class of the taxonomy. The class `other` has no bounds and holds those outside all classes."""

    name: str
    exchanges: tuple[int, int] | None
    weight: float
    transcripts: Counted


@dataclass(frozen=True)
class Audit:
    """The figures that `audit` measures.

    Args:
        ratios: 5 % quantile, median and 95 % quantile of an answer's words divided by the message's words; None without answers.
        exchanges: the same quantiles of the exchanges of a transcript; None without transcripts.
        phrases: the most frequent phrases, sorted by length, longest first.
        phrases_found: number of phrases over the bounds, including those that are not in `phrases`.
        tics: the pack's figures of speech that occur, most frequent first.
        copied, repeated: the answers' four-word runs that also occur in the user's messages, or in earlier answers.
        longest: the longest copied run, and the id of its transcript.
        known: transcripts whose persona names its topics.
        coverage: topics and flaws of those personas.
        mentioned: by topic, the user's messages that contain its words, in the transcripts whose persona names no topics.
    """

    transcripts: int
    answers: int
    question_endings: Counted
    long_answers: Counted
    ratios: tuple[float, float, float] | None
    exchanges: tuple[float, float, float] | None
    openers: list[Opener]
    phrases: list[Phrase]
    phrases_found: int
    tics: list[Tic]
    copied: Counted
    repeated: Counted
    longest: tuple[str, str]
    lengths: list[LengthClass]
    known: Counted
    coverage: list[Covered]
    mentioned: dict[str, Counted]


def audit(transcripts: Iterable[Transcript], pack: Pack, limits: AuditLimits = LIMITS) -> Audit:
    """Measure the transcripts to train on, in one pass; of their texts only phrases and first words of answers stay in memory."""
    tally = _Tally(pack, limits)
    for transcript in transcripts:
        tally.add(transcript)
    return tally.audit()


class _Tally:
    """The counts, updated with one transcript at a time."""

    def __init__(self, pack: Pack, limits: AuditLimits) -> None:
        self._classes, self._limits = pack.taxonomy.length_classes, limits
        self._phrases, self._coverage = PhraseCounts(limits.phrase_words, limits.phrase_window), CoverageTally(pack)
        self._ratios, self._lengths, self._questions = array("d"), array("d"), 0
        self._openers, self._openers_in = Counter[str](), Counter[str]()
        self._tics, self._uses, self._uses_in, self._words = pack.tics, Counter[str](), Counter[str](), 0
        self._known_words = 0
        self._echo, self._longest = Counter[str](), ("", "")

    def add(self, transcript: Transcript) -> None:
        answers = [exchange.assistant for exchange in transcript.exchanges]
        self._phrases.add(transcript.id, answers, [exchange.user for exchange in transcript.exchanges])
        self._coverage.add(transcript)
        self._ratios.extend(length_ratios(transcript.exchanges))
        self._lengths.append(len(answers))
        self._questions += sum(map(ends_with_question, answers))
        openers = [first_words for text in answers if (first_words := opener(text))]
        self._openers.update(openers)
        self._openers_in.update(set(openers))
        tics = [name for text in answers for name in self._tics.search(text)]
        self._uses.update(tics)
        self._uses_in.update(set(tics))
        answer_words = [word for text in answers for word in words(text)]
        self._words += len(answer_words)
        self._known_words += ordinary_english().known(answer_words)
        self._add_echo(transcript)

    def _add_echo(self, transcript: Transcript) -> None:
        for echo in echoes(transcript.exchanges):
            self._echo.update(runs=echo.runs, copied=echo.copied, repeated=echo.repeated)
            self._longest = max(self._longest, (echo.longest, transcript.id), key=lambda item: len(item[0].split()))

    def audit(self) -> Audit:
        total, answers, limits = len(self._lengths), len(self._ratios), self._limits
        enough = total >= limits.few
        openers = self._over_used_openers(total, answers) if enough else []
        first_words = {item.text for item in openers}
        common = self._phrases.over_represented(limits.phrase_share, limits.phrase_ratio) if enough else []
        phrases = [phrase for phrase in self._unusual(common) if phrase.text not in first_words]
        distinct = list(without_parts(phrases, limits.phrase_part))
        most_frequent = sorted(distinct, key=lambda item: (-item.transcripts, item.text))[: limits.phrases]
        return Audit(
            transcripts=total,
            answers=answers,
            question_endings=Counted(self._questions, answers),
            long_answers=Counted(sum(ratio >= limits.long_answer for ratio in self._ratios), answers),
            ratios=_spread(self._ratios),
            exchanges=_spread(self._lengths),
            openers=openers,
            phrases=[phrase for phrase in distinct if phrase in most_frequent],
            phrases_found=len(distinct),
            tics=self._figures(total, answers),
            copied=Counted(self._echo["copied"], self._echo["runs"]),
            repeated=Counted(self._echo["repeated"], self._echo["runs"]),
            longest=self._longest,
            lengths=self._length_classes(),
            known=self._coverage.known,
            coverage=self._coverage.covered(),
            mentioned=self._coverage.mentioned(),
        )

    def _over_used_openers(self, total: int, answers: int) -> list[Opener]:
        ranked = sorted(self._openers.items(), key=lambda item: (-item[1], item[0]))
        return [
            Opener(text, Counted(count, answers), Counted(self._openers_in[text], total))
            for text, count in ranked
            if count / answers > self._limits.opener_share
        ]

    def _unusual(self, phrases: Sequence[Phrase]) -> list[Phrase]:
        """Drop short phrases that are as common in ordinary English; in another language, drop all short ones, since there is no reference for it."""
        limits, ordinary = self._limits, ordinary_english()
        english = self._known_words >= ENGLISH * self._words
        bounds = [limits.ordinary_ratio * ordinary.expected(phrase.text) * self._words for phrase in phrases]
        return [
            phrase for phrase, bound in zip(phrases, bounds, strict=True) if phrase.text.count(" ") >= limits.short_phrase or (english and phrase.uses >= bound)
        ]

    def _figures(self, total: int, answers: int) -> list[Tic]:
        rows = [Tic(figure, Counted(self._uses[figure.name], answers), Counted(self._uses_in[figure.name], total)) for figure in self._tics.figures]
        return sorted((row for row in rows if row.answers.count), key=lambda row: -row.answers.count)

    def _length_classes(self) -> list[LengthClass]:
        total, classes = len(self._lengths), []
        for name, item in self._classes.items():
            low, high = item.exchanges
            classes.append(LengthClass(name, (low, high), item.weight, Counted(sum(low <= length <= high for length in self._lengths), total)))
        other = sum(not any(low <= length <= high for low, high in (item.exchanges for item in self._classes.values())) for length in self._lengths)
        return [*classes, LengthClass("other", None, 0.0, Counted(other, total))] if other else classes


def _spread(values: Sequence[float]) -> tuple[float, float, float] | None:
    ranked = sorted(values)
    if not ranked:
        return None
    low, middle, high = (ranked[round(share * (len(ranked) - 1))] for share in (0.05, 0.5, 0.95))
    return low, middle, high

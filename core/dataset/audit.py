"""The quality of what passed, before it is trained on: what a judge of single transcripts cannot see, because it shows in many together.

What the assistant says over and over is learned first. All figures are counts, each beside the number that it rests on.
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
    """Where a figure of the dataset becomes a warning on its card.

    Args:
        few: no warnings with fewer transcripts.
        phrase_words: fewest and most words of a phrase.
        short_phrase: words up to which a phrase is reported only if the assistant says it more often than ordinary English does
            (config/ordinary_english.txt); longer ones are seldom plain.
        ordinary_ratio: ratio to that from which it is reported.
        phrase_share: share of transcripts above which a phrase of the assistant is reported.
        phrase_ratio: minimum ratio of transcripts in which the assistant uses a phrase to those in
            which users do; it excludes words of the topic.
        phrase_part: a part of a reported phrase is reported as well only if it occurs in this many
            times as many transcripts.
        phrases: number of reported phrases, the most frequent first.
        phrase_window: transcripts after which rare phrases are dropped from memory. More cost
            memory; fewer undercount rare phrases.
        opener_share: largest share of answers that start with the same words.
        question_endings: largest share of answers that end with a question.
        long_answer: ratio of an answer's words to the message's words from which it counts as long.
        long_answers: largest share of long answers.
        tics: number of figures of speech over their bounds that are warned of one by one.
        copied, repeated: largest share of the answers' runs of four words that stand in the users' messages, or in earlier answers.
        coverage: largest relative deviation of a topic's or flaw's share from its weight in the
            taxonomy, unless chance explains it.
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
    """Words with which too many answers begin."""

    text: str
    answers: Counted
    transcripts: Counted


@dataclass(frozen=True)
class Tic:
    """A figure of speech of the pack's, and where it occurs."""

    figure: Figure
    answers: Counted
    transcripts: Counted

    @property
    def over(self) -> bool:
        """Whether it occurs more often than its bounds allow, by more than chance explains (95 %)."""
        pairs = ((self.answers, self.figure.answers), (self.transcripts, self.figure.transcripts))
        return any(counted.count and wilson_interval(counted.count, counted.of)[0] > bound for counted, bound in pairs)


@dataclass(frozen=True)
class LengthClass:
    """Transcripts of a length class of the taxonomy; `other`, without bounds, holds those outside all classes."""

    name: str
    exchanges: tuple[int, int] | None
    weight: float
    transcripts: Counted


@dataclass(frozen=True)
class Audit:
    """What `audit` finds.

    Args:
        ratios, exchanges: 5 %, median, 95 % of an answer's words over the message's, and of the exchanges of a transcript; none where there are none.
        phrases: longest first; phrases_found: how many there are, of which these are the most frequent.
        tics: the pack's figures of speech that occur, most frequent first.
        copied, repeated: of the answers' runs of four words; longest: the longest copied run, and its transcript.
        known: transcripts whose persona says its topics; coverage: of those.
        mentioned: by topic, the users' messages that have its words, where the persona is not known.
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
    """Measure the transcripts that are to be trained on; they are read once, and no text is kept but phrases and the beginnings of answers."""
    tally = _Tally(pack, limits)
    for transcript in transcripts:
        tally.add(transcript)
    return tally.audit()


class _Tally:
    """What is counted while the transcripts go by."""

    def __init__(self, pack: Pack, limits: AuditLimits) -> None:
        self._classes, self._limits = pack.taxonomy.length_classes, limits
        self._phrases, self._coverage = PhraseCounts(limits.phrase_words, limits.phrase_window), CoverageTally(pack)
        self._ratios, self._lengths, self._questions = array("d"), array("d"), 0
        self._openers, self._openers_in = Counter[str](), Counter[str]()
        self._tics, self._uses, self._uses_in, self._words = pack.tics, Counter[str](), Counter[str](), 0
        self._known = 0
        self._echo, self._longest = Counter[str](), ("", "")

    def add(self, transcript: Transcript) -> None:
        answers = [exchange.assistant for exchange in transcript.exchanges]
        self._phrases.add(transcript.id, answers, [exchange.user for exchange in transcript.exchanges])
        self._coverage.add(transcript)
        self._ratios.extend(length_ratios(transcript.exchanges))
        self._lengths.append(len(answers))
        self._questions += sum(map(ends_with_question, answers))
        openers = [said for text in answers if (said := opener(text))]
        self._openers.update(openers)
        self._openers_in.update(set(openers))
        found = [name for text in answers for name in self._tics.search(text)]
        self._uses.update(found)
        self._uses_in.update(set(found))
        said = [word for text in answers for word in words(text.replace("’", "'"))]
        self._words += len(said)
        self._known += ordinary_english().known(said)
        self._add_echo(transcript)

    def _add_echo(self, transcript: Transcript) -> None:
        for echo in echoes(transcript.exchanges):
            self._echo.update(runs=echo.runs, copied=echo.copied, repeated=echo.repeated)
            self._longest = max(self._longest, (echo.longest, transcript.id), key=lambda item: len(item[0].split()))

    def audit(self) -> Audit:
        total, answers, limits = len(self._lengths), len(self._ratios), self._limits
        enough = total >= limits.few
        openers = self._over_used_openers(total, answers) if enough else []
        begins = {item.text for item in openers}
        common = self._phrases.over_represented(limits.phrase_share, limits.phrase_ratio) if enough else []
        phrases = [phrase for phrase in self._unusual(common) if phrase.text not in begins]
        whole = list(without_parts(phrases, limits.phrase_part))
        most = sorted(whole, key=lambda item: (-item.transcripts, item.text))[: limits.phrases]
        return Audit(
            transcripts=total,
            answers=answers,
            question_endings=Counted(self._questions, answers),
            long_answers=Counted(sum(ratio >= limits.long_answer for ratio in self._ratios), answers),
            ratios=_spread(self._ratios),
            exchanges=_spread(self._lengths),
            openers=openers,
            phrases=[phrase for phrase in whole if phrase in most],
            phrases_found=len(whole),
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
        """Leave out the short phrases that ordinary English has as often, and all short ones of another language, of which nothing says what is ordinary."""
        limits, ordinary = self._limits, ordinary_english()
        english = self._known >= ENGLISH * self._words
        most = [limits.ordinary_ratio * ordinary.expected(phrase.text) * self._words for phrase in phrases]
        return [
            phrase for phrase, uses in zip(phrases, most, strict=True) if phrase.text.count(" ") >= limits.short_phrase or (english and phrase.uses >= uses)
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

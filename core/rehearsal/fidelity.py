"""How much of each persona shows in the messages of the user simulator, measured in code.

Simulated users tend to be cooperative, articulate and alike ("Sim2Real gap", arXiv 2603.11245; UserLM, arXiv 2510.06552), and a recorded persona may
not have been played. The figures are proxies, computed from word lists, counts and beginnings of words. They detect a simulator that ignores its
part; they do not prove that it plays well.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.judging.ordinary_english import ENGLISH, ordinary_english
from core.judging.text_facts import ends_with_question, opener, sentences, words
from core.packs.pack import Pack
from core.packs.word_search import TopicSearch, place_of, plain
from core.records import Side, Transcript
from core.rehearsal.guards import find_fault
from core.rehearsal.played_messages import PlayedMessage, drawn_persona, played_messages, recorded
from core.rehearsal.style import REWRITES

SIDES: tuple[Side, Side] = ("user", "assistant")
CONTENT_LETTERS = 5
"""Minimum letters of a content word. Two content words that share their first CONTENT_LETTERS letters count as the same word."""

RANGES: dict[str, tuple[float, float]] = {
    "flaw_lift": (0.1, 1),  # share of messages with a flaw's words: among messages that must show it, minus among all others
    "length_in_style": (0.7, 1),  # share of messages whose length is within the range of the writing style
    "questions_answered": (0.05, 0.6),  # share of messages after a question that answer it directly, which people often do not do
    "question_endings": (0, 0.4),  # share of messages that end with a question
    "topics_per_message": (1, 3),  # mean number of the pack's subtopics
    "topics_kept": (0.5, 1),  # share of the subtopics planned for a message that it mentions
    "distinct_openers": (0.8, 1),  # share of messages that start differently from all earlier ones of their conversation
    "messages_refused": (0, 0.1),  # share of messages of both sides that a guard refused
    "episodes_recognised": (0.6, 1),  # share of messages in which an episode arrives that have one of its words, if it has words
    "episode_messages": (0, 1),  # share of messages that are part of an episode; the pack sets the bound
    "episode_answered": (0.5, 1),  # share of messages in the `plays` part of an episode, after a question, that answer it directly
    "topics_in_time": (0.8, 1),  # share of mentions after the topic has arrived, over the topics that arrive late
    "cooperation_lift": (0.05, 1),  # share of messages with two words of the last answer: where the user must engage with it, minus where it must ignore it
    "place_shows": (0.2, 1),  # share of conversations with a word of the persona's country, if the country has words
    "events_mentioned": (0.4, 1),  # share of messages after an event that have a content word of it
}
"""Lowest and highest normal value of each figure of a batch; the report lists the figures outside."""

ANSWER_WORDS = (
    *("yes", "yeah", "yep", "yup", "no", "nope", "nah", "not really", "i guess", "maybe", "sort of"),
    *("kind of", "probably", "right", "good question", "to answer", "you asked"),
)
"""Words with which a direct answer starts."""


@dataclass(frozen=True)
class Figure:
    """One measure.

    Args:
        value: None if nothing could be measured.
        of: number of messages, conversations or other items that it was measured on.
        low, high: lowest and highest normal value.
    """

    name: str
    value: float | None
    of: int
    low: float
    high: float

    @property
    def out(self) -> bool:
        """Whether the value is out of range."""
        return self.value is not None and not self.low <= self.value <= self.high


@dataclass(frozen=True)
class FlawFigure:
    """How often a flaw's words occur in messages that must show the flaw, and in all others.

    Args:
        due: messages that must show the flaw; `shown` of them have its words.
        otherwise: all other messages; `shown_otherwise` of them have its words.
    """

    name: str
    due: int
    shown: int
    otherwise: int
    shown_otherwise: int

    @property
    def lift(self) -> float:
        """The share among messages that must show the flaw, minus the share among all others."""
        return self.shown / max(1, self.due) - self.shown_otherwise / max(1, self.otherwise)


@dataclass(frozen=True)
class StyleFigure:
    """Message lengths of a writing style, in words."""

    name: str
    low: int
    high: int
    lengths: tuple[int, ...]

    @property
    def within(self) -> int:
        """Number of messages whose length is within the style's range."""
        return sum(self.low <= length <= self.high for length in self.lengths)


@dataclass(frozen=True)
class Report:
    """The result of `measure_fidelity`.

    Args:
        messages: number of user messages.
        ends: number of conversations by end reason.
        refused: number of refused messages by fault. For a transcript without a record of refusals, the number of its messages that the guards would
            refuse.
    """

    conversations: int
    messages: int
    figures: list[Figure]
    flaws: list[FlawFigure]
    styles: list[StyleFigure]
    ends: Counter[str]
    refused: Counter[str]

    @property
    def out(self) -> list[str]:
        """Names of the figures that are out of range."""
        return [figure.name for figure in self.figures if figure.out]


def measure_fidelity(pack: Pack, transcripts: Iterable[Transcript]) -> Report:
    """Measure a batch of transcripts, also ones in the older format; each is read once, and only counts stay in memory.

    If a transcript does not record which flaws a message must show, all flaws of its persona count as due.
    """
    tally = _Tally(pack)
    for transcript in transcripts:
        tally.add(transcript)
    return tally.report()


class _Tally:
    """Counts over the transcripts read so far."""

    def __init__(self, pack: Pack) -> None:
        self._pack, self._topics = pack, TopicSearch(pack.taxonomy)
        self._sums: dict[str, list[float]] = {name: [0, 0] for name in RANGES}
        self._conversations = self._messages = 0
        self._english = [0, 0]
        self._ends, self._refused = Counter[str](), Counter[str]()
        self._flaw_words = {name: tuple(kind.words) for name, kind in pack.flaws.kinds.items() if kind.words}
        self._flaws: dict[str, Counter[tuple[bool, bool]]] = {name: Counter() for name in self._flaw_words}
        self._lengths: dict[str, list[int]] = defaultdict(list)
        self._mentions: dict[str, Counter[bool]] = defaultdict(Counter)
        self._late: set[str] = set()
        self._uses: dict[str, Counter[bool]] = {"engage": Counter(), "ignore": Counter()}

    def add(self, transcript: Transcript) -> None:
        """Add a transcript to the counts."""
        self._conversations += 1
        self._refused.update(_faults(self._pack, transcript))
        self._ends[str(transcript.end_reason or "not stated")] += 1
        self._sum("distinct_openers", len({opener(exchange.user) for exchange in transcript.exchanges}), len(transcript.exchanges))
        for shows in _place_shows(self._pack, transcript):
            self._sum("place_shows", shows)
        for message in played_messages(transcript):
            self._add(message)

    def _sum(self, name: str, value: float, of: int = 1) -> None:
        self._sums[name][0] += value
        self._sums[name][1] += of

    def _add(self, message: PlayedMessage) -> None:
        self._messages += 1
        message_words = words(message.text)
        self._english[0] += ordinary_english().known(message_words)
        self._english[1] += len(message_words)
        searched = plain(message.text)
        for name, seen in self._flaws.items():
            seen[name in message.due, place_of(self._flaw_words[name], searched) is not None] += 1
        if message.style:
            self._lengths[message.style].append(len(words(message.text)))
        self._sum("question_endings", ends_with_question(message.text))
        self._sum("episode_messages", bool(message.part))
        if message.answer_before and "?" in message.answer_before:
            answered = _answers(message)
            self._sum("questions_answered", answered)
            if message.part == "plays":
                self._sum("episode_answered", answered)
        if message.part == "arrives" and (episode_words := _episode_words(self._pack, message.episode)):
            self._sum("episodes_recognised", place_of(episode_words, searched) is not None)
        if _beginnings(message.event):
            self._sum("events_mentioned", _mentions(message))
        if message.cooperation in self._uses and _beginnings(message.answer_before or ""):
            self._uses[message.cooperation][_uses(message)] += 1
        self._add_topics(message)

    def _add_topics(self, message: PlayedMessage) -> None:
        topics = set(self._topics.find(message.text))
        self._sum("topics_per_message", len(topics))
        if message.topics_due:
            self._sum("topics_kept", len(message.topics_due & topics), len(message.topics_due))
        self._late |= message.early
        for name in topics:
            self._mentions[name][name in message.early] += 1

    def report(self) -> Report:
        """Return the figures of the counts."""
        flaws, styles = self._flaw_figures(), self._style_figures()
        due, styled = sum(flaw.due for flaw in flaws), sum(len(style.lengths) for style in styles)
        unusable = sum(count for fault, count in self._refused.items() if fault not in REWRITES)  # a style fault does not show a part played badly
        in_time = sum((self._mentions[name] for name in self._late), Counter[bool]())  # of topics that arrive late in any conversation
        sums: dict[str, Sequence[float]] = self._sums | {
            "flaw_lift": (sum(flaw.due * flaw.lift for flaw in flaws), due),
            "length_in_style": (sum(style.within for style in styles), styled),
            "messages_refused": (unusable, unusable + 2 * self._messages),
            "topics_in_time": (in_time[False], in_time.total()),
            "cooperation_lift": self._cooperation(),
        }
        if self._english[0] < ENGLISH * self._english[1]:  # direct answers are recognised in English only
            sums |= {"questions_answered": (0, 0), "episode_answered": (0, 0)}
        ranges = RANGES | {"episode_messages": (0, self._pack.episodes.most_of_messages)}
        return Report(
            conversations=self._conversations,
            messages=self._messages,
            figures=[Figure(name, sums[name][0] / of if (of := int(sums[name][1])) else None, of, *ranges[name]) for name in RANGES],
            flaws=flaws,
            styles=styles,
            ends=self._ends,
            refused=self._refused,
        )

    def _flaw_figures(self) -> list[FlawFigure]:
        counted = ((name, *(seen[place] for place in ((True, True), (True, False), (False, True), (False, False)))) for name, seen in self._flaws.items())
        return [FlawFigure(name, shown + hidden, shown, other + none, other) for name, shown, hidden, other, none in counted if shown + hidden]

    def _style_figures(self) -> list[StyleFigure]:
        ranges = {name: value.words for name, value in self._pack.taxonomy.dimensions["writing_style"].items()}
        return [StyleFigure(name, *limits, tuple(self._lengths[name])) for name, limits in ranges.items() if limits and self._lengths[name]]

    def _cooperation(self) -> tuple[float, int]:
        """Return `cooperation_lift` times the number of messages it is measured on, and this number."""
        engaged, ignored = self._uses["engage"], self._uses["ignore"]
        if not (engaged and ignored):
            return 0.0, 0
        count = engaged.total() + ignored.total()
        return count * (engaged[True] / engaged.total() - ignored[True] / ignored.total()), count


def _faults(pack: Pack, transcript: Transcript) -> Iterator[str]:
    if "rejections" in transcript.provenance:
        yield from (str(item["fault"]) for item in recorded(transcript, "rejections") if "fault" in item)
        return
    for side in SIDES:
        texts = [getattr(exchange, side) for exchange in transcript.exchanges]
        yield from (fault[0].value for number, text in enumerate(texts) if (fault := find_fault(pack.guards, side, text, texts[:number])))


def _uses(message: PlayedMessage) -> bool:
    """Return whether a message has at least two content words of the answer before it."""
    return len(_beginnings(message.answer_before or "") & {word[:CONTENT_LETTERS] for word in words(message.text)}) >= 2


def _place_shows(pack: Pack, transcript: Transcript) -> list[bool]:
    """Return whether the user's messages have a word of the persona's country, as a list of one; an empty list if the country has no words."""
    drawn = drawn_persona(transcript.persona)
    place = drawn.life.get("place", "").rpartition(", ")[2] if drawn else ""
    country = next((country for country in pack.life.countries.values() if country.name == place and country.words), None)
    if country is None:
        return []
    return [any(place_of(tuple(country.words), plain(exchange.user)) is not None for exchange in transcript.exchanges)]


def _episode_words(pack: Pack, name: str) -> tuple[str, ...]:
    kind = pack.episodes.episodes.get(name)
    return tuple(kind.words) if kind else ()


def _mentions(message: PlayedMessage) -> bool:
    """Return whether a message has a content word of the event before it."""
    return bool(_beginnings(message.event) & {word[:CONTENT_LETTERS] for word in words(message.text)})


def _beginnings(text: str) -> set[str]:
    """Return the first letters of a text's content words; a script without spaces between words has none."""
    return {word[:CONTENT_LETTERS] for word in words(text) if len(word) >= CONTENT_LETTERS}


def _answers(message: PlayedMessage) -> bool:
    """Return whether a message answers a question directly: it starts with an answer word, or its first two sentences have two words of a question."""
    if re.match(r"\W*(" + "|".join(re.escape(word) for word in ANSWER_WORDS) + r")\b", message.text.lower()):
        return True
    first_words = set(words(" ".join(sentences(message.text)[:2])))
    questions = [sentence for sentence in sentences(message.answer_before or "") if sentence.rstrip("*_\"'”’) ").endswith("?")]
    return any(len({word for word in words(question) if len(word) >= CONTENT_LETTERS} & first_words) >= 2 for question in questions)

"""How much of the personas shows in what their simulator wrote, measured in code.

Simulated users are apt to be cooperative, articulate and all alike ("Sim2Real gap", arXiv 2603.11245; UserLM, arXiv 2510.06552), and a persona that is
recorded need not have been played. The figures are proxies: words of the pack's lists, counts, beginnings. They find a simulator that ignores its
part; they do not show that it plays well.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from core.judging.ordinary_english import ENGLISH, ordinary_english
from core.judging.text_facts import ends_with_question, opener, sentences, words
from core.packs.pack import Pack
from core.packs.word_search import TopicSearch, pattern, plain
from core.records import Side, Transcript
from core.rehearsal.guards import find_fault
from core.rehearsal.played_messages import PlayedMessage, drawn_persona, played_messages, recorded
from core.rehearsal.style import REWRITES

SIDES: tuple[Side, Side] = ("user", "assistant")
CONTENT_LETTERS = 5
"""Letters from which a word of a question says what it is about."""

RANGES: dict[str, tuple[float, float]] = {
    "flaw_lift": (0.1, 1),  # share of messages with a flaw's words where it is due, less that elsewhere
    "length_in_style": (0.7, 1),  # messages whose length is within the range of the writing style
    "questions_answered": (0.05, 0.6),  # after a question; people often do not answer directly
    "question_endings": (0, 0.4),  # messages that end with a question
    "topics_per_message": (1, 3),  # mean number of the pack's subtopics
    "topics_kept": (0.5, 1),  # of the subtopics planned for a message, those that it mentions
    "distinct_openers": (0.8, 1),  # messages that start unlike all earlier ones of their conversation
    "messages_refused": (0, 0.1),  # by a guard
    "episodes_recognised": (0.6, 1),  # messages in which an episode with words arrives that hold one of them
    "episode_messages": (0, 1),  # messages that are a part of an episode; the pack sets the bound
    "events_mentioned": (0.4, 1),  # messages after an event that hold one of its own words
    "episode_answered": (0.5, 1),  # after a question about what an episode brought
    "topics_in_time": (0.8, 1),  # of the mentions of a persona's topics, those when the topic has arrived
    "cooperation_lift": (0.05, 1),  # messages that use two of the last answer's words where it is engaged with, less that where it is ignored
    "place_shows": (0.2, 1),  # conversations that hold a word of the country's, where the country has words
}
"""Where a figure of a batch is in order; the report names those outside."""

ANSWER_WORDS = (
    *("yes", "yeah", "yep", "yup", "no", "nope", "nah", "not really", "i guess", "maybe", "sort of"),
    *("kind of", "probably", "right", "good question", "to answer", "you asked"),
)
"""What a direct answer starts with."""


@dataclass(frozen=True)
class Figure:
    """One measure.

    Args:
        value: none where nothing could be measured; of: what it was measured on, counted.
        low, high: between which it is in order.
    """

    name: str
    value: float | None
    of: int
    low: float
    high: float

    @property
    def out(self) -> bool:
        """Whether it is not in order."""
        return self.value is not None and not self.low <= self.value <= self.high


@dataclass(frozen=True)
class FlawFigure:
    """How often a flaw's words occur in messages that were to show it, and in those that were not."""

    name: str
    due: int
    shown: int
    otherwise: int
    shown_otherwise: int

    @property
    def lift(self) -> float:
        """Difference of the two shares."""
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
        """Messages whose length suits the style."""
        return sum(self.low <= length <= self.high for length in self.lengths)


@dataclass(frozen=True)
class Report:
    """What `measure_fidelity` finds.

    Args:
        ends: how conversations ended.
        refused: messages by kind of fault; where a transcript does not tell, those that the guards would refuse.
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
        """Names of the figures that are not in order."""
        return [figure.name for figure in self.figures if figure.out]


def measure_fidelity(pack: Pack, transcripts: Iterable[Transcript]) -> Report:
    """Measure a batch of transcripts, of this product or of the forerunner's form; each is read once, and only its users' messages are kept.

    Where a transcript does not say which flaws a message was to show, all of its persona's count as due.
    """
    messages, openers, refused, ends, places = list[PlayedMessage](), list[int](), Counter[str](), Counter[str](), list[bool]()
    for transcript in transcripts:
        messages += played_messages(transcript)
        openers.append(len({opener(exchange.user) for exchange in transcript.exchanges}))
        refused.update(_faults(pack, transcript))
        ends[str(transcript.end_reason or "not stated")] += 1
        places += _place_shows(pack, transcript)
    topic_search = TopicSearch(pack.taxonomy)
    topics = [set(topic_search.find(message.text)) for message in messages]
    flaws, styles = _flaws(pack, messages), _styles(pack, messages)
    # what a direct answer starts with is known of English alone
    asked = [message for message in messages if message.answer_before and "?" in message.answer_before] if _in_english(messages) else []
    scheduled = [(message.topics_due, sums) for message, sums in zip(messages, topics, strict=True) if message.topics_due]
    unusable = sum(count for fault, count in refused.items() if fault not in REWRITES)  # a fault of style says nothing of who played what
    due, styled, kept = sum(flaw.due for flaw in flaws), sum(len(style.lengths) for style in styles), sum(len(due) for due, _ in scheduled)
    answered = sum(_answers(message) for message in asked)
    arrived = [(message, pattern(words)) for message in messages if message.part == "arrives" and (words := _episode_words(pack, message.episode))]
    played = [message for message in asked if message.part == "plays"]
    after = [message for message in messages if _beginnings(message.event)]
    sums = {
        "flaw_lift": (sum(flaw.due * flaw.lift for flaw in flaws), due),
        "length_in_style": (sum(style.within for style in styles), styled),
        "questions_answered": (answered, len(asked)),
        "question_endings": (sum(ends_with_question(message.text) for message in messages), len(messages)),
        "topics_per_message": (sum(map(len, topics)), len(messages)),
        "topics_kept": (sum(len(due & sums) for due, sums in scheduled), kept),
        "distinct_openers": (sum(openers), len(messages)),
        "messages_refused": (unusable, unusable + 2 * len(messages)),
        "episodes_recognised": (sum(bool(shows.search(plain(message.text))) for message, shows in arrived), len(arrived)),
        "episode_messages": (sum(bool(message.part) for message in messages), len(messages)),
        "episode_answered": (sum(_answers(message) for message in played), len(played)),
        "topics_in_time": _topics_in_time(messages, topics),
        "cooperation_lift": _cooperation(messages),
        "place_shows": (sum(places), len(places)),
        "events_mentioned": (sum(_mentions(message) for message in after), len(after)),
    }
    ranges = RANGES | {"episode_messages": (0, pack.episodes.most_of_messages)}
    return Report(
        conversations=len(openers),
        messages=len(messages),
        figures=[Figure(name, total / of if of else None, of, *ranges[name]) for name, (total, of) in sums.items()],
        flaws=flaws,
        styles=styles,
        ends=ends,
        refused=refused,
    )


def _faults(pack: Pack, transcript: Transcript) -> Iterator[str]:
    if "rejections" in transcript.provenance:
        yield from (str(item["fault"]) for item in recorded(transcript, "rejections") if "fault" in item)
        return
    for side in SIDES:
        texts = [getattr(exchange, side) for exchange in transcript.exchanges]
        yield from (fault[0].value for number, text in enumerate(texts) if (fault := find_fault(pack.guards, side, text, texts[:number])))


def _flaws(pack: Pack, messages: Sequence[PlayedMessage]) -> list[FlawFigure]:
    figures = []
    for name, kind in pack.flaws.kinds.items():
        if kind.words:
            shows = pattern(tuple(kind.words))
            shown = [(name in message.due, bool(shows.search(plain(message.text)))) for message in messages]
            due, shown_due = sum(due for due, _ in shown), sum(due and seen for due, seen in shown)
            if due:
                figures.append(FlawFigure(name, due, shown_due, len(shown) - due, sum(seen for _, seen in shown) - shown_due))
    return figures


def _styles(pack: Pack, messages: Sequence[PlayedMessage]) -> list[StyleFigure]:
    lengths: dict[str, list[int]] = defaultdict(list)
    for message in messages:
        if message.style:
            lengths[message.style].append(len(words(message.text)))
    ranges = {name: value.words for name, value in pack.taxonomy.dimensions["writing_style"].items()}
    return [StyleFigure(name, *limits, tuple(lengths[name])) for name, limits in ranges.items() if limits and lengths[name]]


def _topics_in_time(messages: Sequence[PlayedMessage], topics: Sequence[set[str]]) -> tuple[float, int]:
    """Return how many mentions of topics that arrive late are not too early, and of how many."""
    late = frozenset(name for message in messages for name in message.early)
    mentions = [(name in message.early) for message, found in zip(messages, topics, strict=True) for name in found & late]
    return sum(not early for early in mentions), len(mentions)


def _cooperation(messages: Sequence[PlayedMessage]) -> tuple[float, int]:
    """Return how much oftener an answer's words are used where it is engaged with than where it is ignored, times the messages."""
    measured = [message for message in messages if _beginnings(message.answer_before or "")]
    engaged, ignored = ([_uses(message) for message in measured if message.cooperation == kind] for kind in ("engage", "ignore"))
    if not (engaged and ignored):
        return 0.0, 0
    count = len(engaged) + len(ignored)
    return count * (sum(engaged) / len(engaged) - sum(ignored) / len(ignored)), count


def _uses(message: PlayedMessage) -> bool:
    return len(_beginnings(message.answer_before or "") & {word[:CONTENT_LETTERS] for word in words(message.text)}) >= 2


def _place_shows(pack: Pack, transcript: Transcript) -> list[bool]:
    """Return whether a word of the persona's country shows; nothing where the country has none."""
    drawn = drawn_persona(transcript.persona)
    place = drawn.life.get("place", "").rpartition(", ")[2] if drawn else ""
    country = next((one for one in pack.life.countries.values() if one.name == place and one.words), None)
    if country is None:
        return []
    shows = pattern(tuple(country.words))
    return [any(shows.search(plain(exchange.user)) for exchange in transcript.exchanges)]


def _episode_words(pack: Pack, name: str) -> tuple[str, ...]:
    kind = pack.episodes.episodes.get(name)
    return tuple(kind.words) if kind else ()


def _mentions(message: PlayedMessage) -> bool:
    """Say whether a message holds a word of what happened before it, by the beginnings of the long words."""
    return bool(_beginnings(message.event) & {word[:CONTENT_LETTERS] for word in words(message.text)})


def _beginnings(text: str) -> set[str]:
    """Return the beginnings of a text's long words; a script without spaces has none."""
    return {word[:CONTENT_LETTERS] for word in words(text) if len(word) >= CONTENT_LETTERS}


def _in_english(messages: Sequence[PlayedMessage]) -> bool:
    said = [word for message in messages for word in words(message.text.replace("’", "'"))]
    return ordinary_english().known(said) >= ENGLISH * len(said)


def _answers(message: PlayedMessage) -> bool:
    """Say whether a message takes up a question directly: it begins with a word of answer, or its first sentences use two of a question's own words."""
    first = sentences(message.text)[:2]
    if re.match(r"\W*(" + "|".join(re.escape(word) for word in ANSWER_WORDS) + r")\b", message.text.lower()):
        return True
    said = set(words(" ".join(first)))
    questions = [sentence for sentence in sentences(message.answer_before or "") if sentence.rstrip("*_\"'”’) ").endswith("?")]
    return any(len({word for word in words(question) if len(word) >= CONTENT_LETTERS} & said) >= 2 for question in questions)

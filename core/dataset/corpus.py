"""Facts about a corpus of conversations: its audit, its near-duplicates, and its spread over topics, trajectories, countries and episodes."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.dataset.audit import audit
from core.dataset.audit_warnings import audit_warnings
from core.dataset.near_duplicates import LIKENESS, near_duplicates
from core.judging.text_facts import opener
from core.packs.pack import Pack
from core.records import Transcript

MAX_OPENERS = 5
"""Number of the most frequent first words of answers that a page names."""


def corpus_facts(transcripts: Sequence[Transcript], pack: Pack) -> dict[str, Any]:
    """Return the facts that a page about a corpus shows.

    `spread` counts how often each value of a persona's fields occurs. It ignores transcripts without a persona, and personas of another form.
    """
    audited = audit(transcripts, pack)
    openers = Counter(opener(exchange.assistant) for item in transcripts for exchange in item.exchanges)
    return {
        "domain": pack.name,
        "transcripts": len(transcripts),
        "exchanges": sum(len(item.exchanges) for item in transcripts),
        "audit": audited,
        "out_of_range": audit_warnings(audited),
        "duplicates": near_duplicates((item, 0.0) for item in transcripts),
        "likeness": LIKENESS,
        "openers": openers.most_common(MAX_OPENERS),
        "distinct_openers": len(openers),
        "lengths": sorted(Counter(len(item.exchanges) for item in transcripts).items()),
        "spread": {name: counts.most_common() for name, counts in _spread(transcripts).items() if counts},
    }


def _spread(transcripts: Sequence[Transcript]) -> dict[str, Counter[str]]:
    personas = [item.persona or {} for item in transcripts]
    episodes = [episode for persona in personas for episode in persona.get("episodes") or [] if isinstance(episode, dict)]
    topics = [topic for persona in personas for topic in persona.get("topics") or [] if isinstance(topic, dict)]
    return {
        "topic": Counter(str(topic["subtopic"]) for topic in topics if "subtopic" in topic),
        "trajectory": Counter(str(persona["trajectory"]) for persona in personas if persona.get("trajectory")),
        "country": Counter(str(persona["country"]) for persona in personas if persona.get("country")),
        "episode": Counter(str(episode["name"]) for episode in episodes if "name" in episode),
    }

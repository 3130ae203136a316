"""Detects repetitive texts: a model that repeats itself does not stop, however many tokens it may write."""

RUN = 4
"""Number of consecutive words that are compared; runs of three recur in ordinary English."""

LATEST = 240
"""Number of words at the end of a text that are examined: a text may begin well and then repeat itself."""

MIN_WORDS = 10
"""Minimum words of a text that can be repetitive."""

MAX_REPEATED = 0.3
"""Share of repeated runs from which a text is repetitive. Of 2,220 messages by frontier models none has more than 0.06, of 602 reasonings of judges
none more than 0.17."""


def circle_of(text: str) -> str | None:
    """Return the most frequent run of words of a repetitive text; None if the text is not repetitive."""
    words = [word.strip(".,;:!?\"'()[]{}*") for word in text.lower().split()[-LATEST:]]
    runs = [tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]
    if len(words) < MIN_WORDS or len(runs) - len(set(runs)) < MAX_REPEATED * len(runs):
        return None
    return " ".join(max(runs, key=runs.count))

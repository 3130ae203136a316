"""How long conversations are: mean and spread of their exchanges."""

from collections.abc import Iterable
from statistics import fmean, quantiles

from core.packs.pack import Pack
from core.records import Record
from core.rehearsal.personas import draw_length
from core.settings.pipeline import Settings

USER_TOKENS, ANSWER_TOKENS = 300, 790
"""Mean length of a simulated user's message and of an answer; in 751 real exchanges the means were 304 and 793."""
CHARACTERS_PER_TOKEN = 3.0
"""Of a text whose tokens nobody has counted yet; fewer than English has, so that the estimate errs on the safe side."""
MARGIN = 1.25
"""By which exchanges are taken for longer than the mean: one person writes more than another."""


class Lengths(Record):
    """Exchanges of a set of conversations: mean, and the 10th, 50th and 90th percentile."""

    conversations: int
    mean: float
    p10: float
    median: float
    p90: float


def summarise_lengths(exchanges: Iterable[int]) -> Lengths | None:
    """Return the mean and spread of the lengths of conversations; none where there are none.

    Args:
        exchanges: of each conversation.
    """
    found = list(exchanges)
    if not found:
        return None
    tenths = quantiles(found, n=10, method="inclusive") if len(found) > 1 else found * 9
    return Lengths(conversations=len(found), mean=fmean(found), p10=tenths[0], median=tenths[4], p90=tenths[8])


def planned_evaluation_lengths(pack: Pack, settings: Settings) -> list[int]:
    """Return how many exchanges each of the evaluation's personas is to have."""
    numbers = settings.evaluation
    # the rest of a persona takes several times as long
    return [draw_length(pack, seed, numbers.lengths)[1] for seed in range(numbers.first_seed, numbers.first_seed + numbers.personas)]


def tokens_of(prompt: str, exchanges: int, max_tokens: int) -> int:
    """Return how many tokens an assistant's last prompt and answer take in a conversation.

    Args:
        prompt: its instructions.
        max_tokens: room for one answer.
    """
    return round(len(prompt) / CHARACTERS_PER_TOKEN + exchanges * _exchange(max_tokens) + max_tokens)


def exchanges_in(window: int, prompt: str, max_tokens: int) -> int:
    """Return how many exchanges fit into a window; the reverse of `tokens_of`."""
    return max(0, int((window - len(prompt) / CHARACTERS_PER_TOKEN - max_tokens) / _exchange(max_tokens)))


def _exchange(max_tokens: int) -> float:
    return MARGIN * (USER_TOKENS + min(ANSWER_TOKENS, max_tokens))

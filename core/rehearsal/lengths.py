"""How long conversations are, in exchanges and in tokens."""

from collections.abc import Iterable
from statistics import fmean, quantiles

from core.packs.pack import Pack
from core.records import Record
from core.rehearsal.personas import draw_length
from core.settings.pipeline import Settings

USER_TOKENS, ANSWER_TOKENS = 300, 790
"""Mean length of a simulated user's message and of an answer, in tokens; in 751 real exchanges the means were 304 and 793."""
CHARACTERS_PER_TOKEN = 3.0
"""Characters per token for a text without a token count. English has more, so the estimate is too high rather than too low."""
MARGIN = 1.25
"""Factor by which an exchange is assumed to be longer than the mean, because some people write more than others."""


class Lengths(Record):
    """Exchanges per conversation in a set: mean, and 10th, 50th and 90th percentile."""

    conversations: int
    mean: float
    p10: float
    median: float
    p90: float


def summarise_lengths(exchanges: Iterable[int]) -> Lengths | None:
    """Return the mean and the percentiles of conversations' lengths; None if there are no conversations.

    Args:
        exchanges: number of exchanges of each conversation.
    """
    counts = list(exchanges)
    if not counts:
        return None
    tenths = quantiles(counts, n=10, method="inclusive") if len(counts) > 1 else counts * 9
    return Lengths(conversations=len(counts), mean=fmean(counts), p10=tenths[0], median=tenths[4], p90=tenths[8])


def planned_evaluation_lengths(pack: Pack, settings: Settings) -> list[int]:
    """Return the planned exchanges of each evaluation persona."""
    evaluation = settings.evaluation
    # drawing whole personas takes several times as long
    return [draw_length(pack, seed, evaluation.lengths)[1] for seed in range(evaluation.first_seed, evaluation.first_seed + evaluation.personas)]


def tokens_of(prompt: str, exchanges: int, max_tokens: int) -> int:
    """Return an estimate of the tokens of the assistant's last prompt and answer in a conversation.

    Args:
        prompt: the assistant's instructions.
        exchanges: length of the conversation.
        max_tokens: maximum tokens of one answer.
    """
    return round(len(prompt) / CHARACTERS_PER_TOKEN + exchanges * _exchange(max_tokens) + max_tokens)


def exchanges_in(window: int, prompt: str, max_tokens: int) -> int:
    """Return how many exchanges fit into a context window; the inverse of `tokens_of`.

    Args:
        window: tokens of the context window.
        prompt: the assistant's instructions.
        max_tokens: maximum tokens of one answer.
    """
    return max(0, int((window - len(prompt) / CHARACTERS_PER_TOKEN - max_tokens) / _exchange(max_tokens)))


def _exchange(max_tokens: int) -> float:
    return MARGIN * (USER_TOKENS + min(ANSWER_TOKENS, max_tokens))

"""How long conversations are: mean and spread of their exchanges."""

from collections.abc import Iterable
from statistics import fmean, quantiles

from core.packs.pack import Pack
from core.records import Record
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import Settings


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
    return [persona.exchanges for persona in sample_batch(pack, numbers.first_seed, numbers.personas, numbers.lengths)]

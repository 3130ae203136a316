"""Figures of a golden set: what it contains, and how far its two readers agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.judging.agreement import PairAgreement, pair_agreements
from core.judging.golden import Golden, GoldenCounts, count_golden
from core.packs.rubric import Rubric

RESAMPLES = 2_000
"""Bootstrap samples behind each interval."""
FEW = 30
"""A figure from fewer conversations has a warning."""


@dataclass(frozen=True)
class SetFigures:
    """The figures of a set.

    Args:
        exchanges: total of all conversations.
        held_out: number of held-out conversations.
        lengths: (exchanges, number of conversations with that many), ascending.
        readers: names of the two, in the order of the files.
        by_criterion: the criterion's counts and the two readers' agreement.
        overall: the readers' agreement over all criteria.
        disputed: by conversation, the criteria on which the readers differ.
    """

    conversations: int
    exchanges: int
    held_out: int
    lengths: list[tuple[int, int]]
    readers: list[str]
    by_criterion: dict[str, tuple[GoldenCounts, PairAgreement]]
    overall: PairAgreement
    disputed: dict[str, list[str]]


def set_figures(golden: Sequence[Golden], rubric: Rubric) -> SetFigures:
    """Return the figures of a golden set.

    Args:
        golden: at least one conversation, all labelled by the same two readers.
    """
    readers = list(golden[0].file.labels)
    answers = {
        name: {item.id: {reader: item.file.labels[reader].get(name) for reader in readers} for item in golden if name in item.file.verdicts}
        for name in rubric.criteria
    }
    counts = count_golden(golden, rubric)
    return SetFigures(
        conversations=len(golden),
        exchanges=sum(len(item.file.exchanges) for item in golden),
        held_out=sum(item.file.held_out for item in golden),
        lengths=sorted(Counter(len(item.file.exchanges) for item in golden).items()),
        readers=readers,
        by_criterion={name: (counts[name], pair_agreements({name: own}, RESAMPLES, FEW)[0]) for name, own in answers.items() if own},
        overall=pair_agreements(answers, RESAMPLES, FEW)[0],
        disputed={item.id: item.file.disputed for item in golden if item.file.disputed},
    )

"""A golden set as a whole: what it holds, and how far its two readers agree."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.judging.agreement import PairAgreement, overall_agreement
from core.judging.golden import Golden, GoldenCounts, count_golden
from core.packs.pack import Rubric

RESAMPLES = 2_000
"""Bootstrap samples behind each interval."""
FEW = 30
"""Conversations below which a figure bears a warning."""


@dataclass(frozen=True)
class SetFigures:
    """What is known of a set.

    Args:
        lengths: exchanges of the conversations, each with how many have it.
        readers: names of the two, in the order of the files.
        by_criterion: of each criterion its counts and the two readers' agreement; overall: over all criteria.
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
    """Return what a golden set holds and how far its readers agree.

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
        by_criterion={name: (counts[name], overall_agreement({name: found}, RESAMPLES, FEW).pairs[0]) for name, found in answers.items() if found},
        overall=overall_agreement(answers, RESAMPLES, FEW).pairs[0],
        disputed={item.id: item.file.disputed for item in golden if item.file.disputed},
    )

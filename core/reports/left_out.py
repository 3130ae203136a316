"""What a batch leaves out, in words: how many, and for which reasons."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.errors import NothingMadeError
from core.records import LeftOut

TELLING = 10
"""Judged conversations from which it is hardly chance that none passes: where a third pass on the whole, ten in a row fail once in 58 times."""
REASONS = 3
"""How many reasons a failed batch names."""


def fail_if_nothing(made: int, left_out: Sequence[LeftOut], what: str) -> None:
    """Refuse to call a batch completed in which every item failed.

    Args:
        made: how many items came of it.
        what: the items, in the plural.

    Raises:
        NothingMadeError: none, with the commonest reasons.
    """
    if made or not left_out:
        return
    reasons = Counter(item.reason.rstrip(".") for item in left_out).most_common()
    commonest = "; ".join(f"{count} times: {reason}" for reason, count in reasons[:REASONS])
    more = f"; and {len(reasons) - REASONS} other reasons" if len(reasons) > REASONS else ""
    raise NothingMadeError(f"0 of {len(left_out)} {what} were made. {commonest}{more}. What was made before is kept, and the same command tries these again.")


def fail_if_none_passes(passed: int, judged: int, page: str) -> None:
    """Refuse to call a batch completed of which nothing passes: something is wrong with the pack, the models or the judges, and not with a conversation.

    Args:
        judged: completely; of fewer than `TELLING` it is no wonder.
        page: where the verdicts can be read.

    Raises:
        NothingMadeError: all fail.
    """
    if not passed and judged >= TELLING:
        raise NothingMadeError(
            f"None of the {judged} judged conversations passes. Their verdicts are kept: {page}. Read some, and see whether the pack asks too much "
            "(`understudy pilot`) or the judge is too strict (`understudy review`)."
        )


def sort_of(error: Exception) -> str:
    """Return what sort of error it is, in words: the first sentence of its class."""
    return (type(error).__doc__ or type(error).__name__).partition(".")[0]


def counted(why: Counter[str]) -> str:
    """Return reasons with how often each was one, the most frequent first."""
    return "; ".join(f"{count} × {reason[0].lower()}{reason[1:]}" for reason, count in why.most_common())


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first of several errors."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

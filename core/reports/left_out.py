"""Items left out of a batch, in words: how many, and for which reasons."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.errors import NothingMadeError
from core.records import LeftOut

TELLING = 10
"""Minimum judged conversations of a batch of which none passes, to report a fault. If a third pass on average, ten all fail by chance once in 58 batches."""
REASONS = 3
"""Maximum number of reasons in the error of a failed batch."""


def fail_if_nothing(made: int, left_out: Sequence[LeftOut], what: str) -> None:
    """Raise an error for a batch in which every item failed.

    Args:
        made: number of items that were made.
        left_out: the items that failed.
        what: the kind of item, in the plural.

    Raises:
        NothingMadeError: no item was made; the message has the most frequent reasons.
    """
    if made or not left_out:
        return
    reasons = Counter(item.reason.rstrip(".") for item in left_out).most_common()
    commonest = "; ".join(f"{count} times: {reason}" for reason, count in reasons[:REASONS])
    more = f"; and {len(reasons) - REASONS} other reasons" if len(reasons) > REASONS else ""
    raise NothingMadeError(f"0 of {len(left_out)} {what} were made. {commonest}{more}. Everything made before is kept, and the same command tries these again.")


def fail_if_none_passes(passed: int, judged: int, page: str) -> None:
    """Raise an error for a batch of which no conversation passes, because the pack, a model or a judge must be at fault.

    Args:
        passed: number of conversations that pass.
        judged: number of completely judged conversations; fewer than `TELLING` raise no error.
        page: path of the page with the verdicts.

    Raises:
        NothingMadeError: all conversations fail.
    """
    if not passed and judged >= TELLING:
        raise NothingMadeError(
            f"None of the {judged} judged conversations passes. Their verdicts are kept: {page}. Read some, and see whether the pack asks too much "
            "(`understudy pilot`) or the judge is too strict (`understudy review`)."
        )


def kind_of_error(error: Exception) -> str:
    """Return the kind of an error in words: the first sentence of its class's docstring."""
    return (type(error).__doc__ or type(error).__name__).partition(".")[0]


def counted_reasons(reasons: Counter[str]) -> str:
    """Return reasons and their counts as text, the most frequent first."""
    return "; ".join(f"{count} × {reason[0].lower()}{reason[1:]}" for reason, count in reasons.most_common())


def first_of(group: BaseExceptionGroup[Any]) -> BaseException:
    """Return the first error of a group, which may contain other groups."""
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

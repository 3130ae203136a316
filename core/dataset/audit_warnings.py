"""Warnings about the figures of an audit that are out of range, as sentences for the dataset's card, its manifest and the log."""

from collections.abc import Iterator, Sequence

from core.dataset.audit import LIMITS, Audit, AuditLimits
from core.dataset.audit_coverage import Counted, Deviation, deviations


def audit_warnings(figures: Audit, limits: AuditLimits = LIMITS) -> list[str]:
    """Return a sentence for each figure out of range; empty if there are fewer than `limits.few` transcripts."""
    return list(_warnings(figures, limits)) if figures.transcripts >= limits.few else []


def _warnings(figures: Audit, limits: AuditLimits) -> Iterator[str]:
    for phrase in figures.phrases:
        transcripts = Counted(phrase.transcripts, figures.transcripts).as_text("transcripts")
        yield f"“{phrase.text}” occurs in the answers of {transcripts}, and in the users' messages of {phrase.by_users}."
    if more := figures.phrases_found - len(figures.phrases):
        yield f"{more} more phrases occur in the answers of at least {100 * limits.phrase_share:.0f} % of the transcripts."
    for item in figures.openers:
        yield f"“{item.text}” begins {item.answers.as_text('answers')}, in {item.transcripts.as_text('transcripts')}."
    yield from _style_warnings(figures, limits)
    for counted, bound, what in (
        (figures.question_endings, limits.question_endings, "end with a question"),
        (figures.long_answers, limits.long_answers, f"have at least {limits.long_answer:g} times as many words as the message before"),
    ):
        if counted.share is not None and counted.share > bound:
            yield f"{counted.as_text('answers')} {what}; up to {100 * bound:.0f} % is acceptable."
    if figures.known.count >= limits.few:
        yield from _coverage_warnings(deviations(figures.coverage, limits.coverage))


def _coverage_warnings(kinds: Sequence[Deviation]) -> Iterator[str]:
    for item in kinds:
        if item.foreign:
            foreign = Counted(item.foreign, item.total).as_text(f"{item.kind}s of the personas")
            yield f"{foreign} have names that are not in the taxonomy; some may be synonyms of names that are."
        for rows, what in ((item.missing, "missing entirely"), (item.rare, "too rare"), (item.frequent, "too frequent")):
            if rows:
                listed = ", ".join(f"{row.name.replace('_', ' ')} ({row.got.count}, due {row.due:.0f})" for row in rows)
                yield f"Of the personas' {item.total} {item.kind}s, by the taxonomy's weights, {what}: {listed}."


def _style_warnings(figures: Audit, limits: AuditLimits) -> Iterator[str]:
    over = [tic for tic in figures.tics if tic.over]
    for tic in over[: limits.tics]:
        where = f"{tic.answers.as_text('answers')}, in {tic.transcripts.as_text('transcripts')}"
        allowed = f"up to {_percent(tic.figure.answers)} of the answers and {_percent(tic.figure.transcripts)} of the transcripts is acceptable"
        yield f"A figure like “{tic.figure.example}” is in {where}; {allowed}."
    if (more := len(over) - limits.tics) > 0:
        yield f"{more} more figures of speech exceed their bounds."
    for counted, bound, what in (
        (figures.copied, limits.copied, "are copied from the users' messages"),
        (figures.repeated, limits.repeated, "are repeated from earlier answers of the conversation"),
    ):
        if counted.share is not None and counted.share > bound:
            yield f"{counted.as_text('runs of four words')} of the answers {what}; up to {_percent(bound)} is acceptable."


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

"""The sheet on which a person judges a sample of transcripts: the draw of the sample, and the writing of the sheet."""

import csv
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO

from core.errors import ReviewError
from core.escaping import spreadsheet_cell
from core.judging.scoring import applicable
from core.packs.rubric import Rubric
from core.records import Answer, Judged

ID, LENGTH, NOTE, PERSON = "transcript_id", "exchanges", "note", "person"
UNLABELLED = ("", "-")


@dataclass(frozen=True)
class Labels:
    """A person's labels on transcripts.

    Args:
        answers: by transcript and criterion; only those that the person gave.
        notes: by transcript.
        unlabelled: (transcript, criterion) of each empty cell that should have an answer.
        reasons: by transcript and criterion, where the person gave one; a sheet has none.
    """

    answers: dict[str, dict[str, Answer]]
    notes: dict[str, str]
    unlabelled: list[tuple[str, str]]
    reasons: dict[str, dict[str, str]] = field(default_factory=dict)


def sample(judged: Sequence[Judged], size: int, seed: int) -> list[Judged]:
    """Draw transcripts for a person to judge, each with the same probability, and spread over outcomes and lengths.

    Drawing more of those that the judge failed would bias its rates and the corrected pass rate. The strata therefore only make the sample similar to the
    batch: the transcripts are sorted by outcome and length and taken in equal steps from a random start. They are returned in random order, which hides
    the strata.

    Args:
        size: number of transcripts; all are drawn if there are not more.
        seed: the same seed gives the same sample for any order of `judged`.

    Raises:
        ReviewError: size is below 1, or there is nothing to draw from.

    Source:
        Begg & Greenes, "Assessment of diagnostic tests when disease verification is subject to selection bias", Biometrics 39 (1983): 207–215.
        Systematic sampling: Cochran, Sampling Techniques (1977), chapter 8.
    """
    if size < 1:
        raise ReviewError(f"A sample of {size} transcripts was asked for. Allowed: 1 or more. Ask for as many as a person can judge.")
    if not judged:
        raise ReviewError("A sample was asked for and there are 0 judged transcripts. At least 1 is needed. Assess some first (understudy assess).")
    draw = random.Random(seed)
    line = sorted(judged, key=lambda item: item.transcript.id)
    draw.shuffle(line)
    line.sort(key=lambda item: (item.final.score.outcome, len(item.transcript.exchanges)))
    number, size = len(line), min(size, len(line))
    # steps of number / size from a start in [0, number / size), computed in integers so that every probability is exact
    start = draw.randrange(number)
    drawn = [line[(step * number + start) // size] for step in range(size)]
    draw.shuffle(drawn)
    return drawn


def write_sheet(sampled: Sequence[Judged], rubric: Rubric, pages_name: str) -> str:
    """Return an empty sheet as CSV, without any of the judge's answers.

    Args:
        sampled: the transcripts, one for each row, in this order.
        pages_name: the file in which the person reads them.
    """
    return write_rows([(item.transcript.id, len(item.transcript.exchanges)) for item in sampled], rubric, pages_name)


def write_rows(sampled: Sequence[tuple[str, int]], rubric: Rubric, pages_name: str, filled: Mapping[str, Labels] | None = None) -> str:
    """Return a sheet as CSV with a byte order mark, by which Excel recognises UTF-8.

    Args:
        sampled: (id, number of exchanges) of the transcripts, one for each row, in this order.
        pages_name: the file in which the person reads them.
        filled: labels by person, with all rows for each person; None for an empty sheet without a column for the person.
    """
    text = StringIO(newline="")
    # every cell is quoted, so that an id stays in one cell if a spreadsheet splits at another separator
    sheet = csv.writer(text, quoting=csv.QUOTE_ALL)
    named = [PERSON] if filled else []
    criteria = [spreadsheet_cell(f"{item.id} {item.head.name}") for item in rubric.criteria.values()]
    sheet.writerow([*named, ID, f"{LENGTH} (read them in {pages_name})", *criteria, NOTE])
    for person, labels in (filled or {"": Labels({}, {}, [])}).items():
        for name, exchanges in sampled:
            applying = {criterion.id for criterion in applicable(rubric, exchanges)}
            answers = labels.answers.get(name, {})
            cells = [answers.get(criterion, "") if criterion in applying else "-" for criterion in rubric.criteria]
            note = spreadsheet_cell(labels.notes[name]) if name in labels.notes else ""
            sheet.writerow([*([spreadsheet_cell(person)] if filled else []), spreadsheet_cell(name), exchanges, *cells, note])
    return "\ufeff" + text.getvalue()

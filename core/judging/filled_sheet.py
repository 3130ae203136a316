"""The reading of a review sheet that people filled in.

A sheet is CSV and is edited in a spreadsheet program. Changes that such a program makes by itself are understood; a cell whose meaning would have to be
guessed is refused.
"""

import csv
import re
from collections.abc import Mapping, Sequence
from io import StringIO

from core.errors import ReviewError
from core.escaping import spreadsheet_cell
from core.judging.review_sheet import ID, LENGTH, NOTE, PERSON, UNLABELLED, Labels
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, Judged

WORDS = {word: answer for answer, words in {Answer.YES: "yes y true 1", Answer.NO: "no n false 0", Answer.NA: "na"}.items() for word in words.split()}
"""The words that a person may write, in lower case and without points, slashes and spaces."""
MAX_FAULTS = 5
"""Number of a sheet's faults that an error message names."""


def read_sheet(text: str, judged: Sequence[Judged], rubric: Rubric) -> Labels:
    """Read a sheet that one person filled in.

    Args:
        judged: the batch that the sample was drawn from.

    Raises:
        ReviewError: as for `read_sheets`, or the sheet has labels of several people.
    """
    by_person = read_sheets(text, {item.transcript.id: len(item.transcript.exchanges) for item in judged}, rubric)
    if len(by_person) > 1:
        raise ReviewError(f"The sheet has labels of {len(by_person)} people ({', '.join(by_person)}); one is allowed here. Keep the rows of one person only.")
    return next(iter(by_person.values()))


def read_sheets(text: str, lengths: Mapping[str, int], rubric: Rubric) -> dict[str, Labels]:
    """Read a sheet that people filled in, and return their labels by the names in its column `person`.

    Without that column the name is empty. Columns of criteria may be missing, and rows may be about any transcript of the batch.

    Args:
        lengths: number of exchanges of each transcript of the batch, by id.

    Raises:
        ReviewError: the text is not a sheet, has no label, or has a cell whose meaning would have to be guessed.
    """
    ids, rows = _spellings(list(lengths)), _rows(text, rubric)
    people, wrong, first = dict[str, Labels](), list[str](), dict[tuple[str, str], int]()
    for number, row in rows:
        person = _tidy(row.get(PERSON, "")).removeprefix("'")
        try:
            name = _transcript(row, ids, lengths)
            if (person, name) in first:
                where = f"which row {first[person, name]} has as well; one row each is allowed: remove one of them"
                raise ValueError(f"column {ID}: found {name!r:.60}, {where}")
        except ValueError as fault:
            wrong.append(f"row {number}, {fault}")
            continue
        first[person, name] = number
        labels = people.setdefault(person, Labels({}, {}, []))
        wrong += [f"row {number}, {fault}" for fault in _take(labels, name, row, rubric, lengths[name])]
    _refuse(wrong)
    if not any(labels.answers for labels in people.values()):
        raise ReviewError(f"The sheet has {len(rows)} rows and 0 labels; at least 1 is needed. Write YES, NO or NA into its cells and save it as CSV.")
    return people


def _take(labels: Labels, name: str, row: Mapping[str, str], rubric: Rubric, exchanges: int) -> list[str]:
    """Add a row to the labels, and return the faults of its cells."""
    wrong = []
    if (note := row.get(NOTE, "").strip()) not in UNLABELLED:
        labels.notes[name] = note
    for criterion in rubric.criteria.values():
        try:
            answer = _answer(row.get(criterion.id, ""), criterion, exchanges)
        except ValueError as fault:
            wrong.append(f"column {criterion.id}: {fault}")
            continue
        if answer is not None:
            labels.answers.setdefault(name, {})[criterion.id] = answer
        elif criterion.head.from_exchange <= exchanges:
            labels.unlabelled.append((name, criterion.id))
    return wrong


def _spellings(ids: Sequence[str]) -> dict[str, str]:
    """Return the id for each way in which a spreadsheet may have written it; where two ids share one, the spelling that the sheet was written with wins."""
    ways = (_tidy, lambda name: _tidy(spreadsheet_cell(name)), lambda name: name, spreadsheet_cell)
    return {way(name): name for way in ways for name in ids}


def _tidy(cell: str) -> str:
    return " ".join(cell.split())


def _rows(text: str, rubric: Rubric) -> list[tuple[int, dict[str, str]]]:
    """Return the rows that are not empty, each with its number in a spreadsheet and its cells by column.

    The first filled cell in a column without a name is stored under the empty name.
    """
    (top, header), *rest = _cells(text)
    columns = _columns(top, header, rubric)
    rows = []
    for number, cells in rest:
        row: dict[str, str] = {}
        for place, cell in enumerate(cells):
            name = columns[place] if place < len(columns) else ""
            if name or cell.strip() not in UNLABELLED:
                row.setdefault(name, cell)
        rows.append((number, row))
    return rows


def _cells(text: str) -> list[tuple[int, list[str]]]:
    text = text.lstrip("\ufeff")
    if text.startswith("PK\x03\x04"):
        raise ReviewError("The sheet is a workbook (it begins with 'PK', as .xlsx and .ods do). Allowed: CSV. Save it as CSV (UTF-8) and give that file.")
    delimiter = next((delimiter for delimiter in ",;\t" if ID in _header(text, delimiter)), None)
    if delimiter is None:
        begins = f"it begins with {text.strip().splitlines()[0]!r:.80}" if text.strip() else "it is empty"
        raise ReviewError(
            f"The sheet has no column {ID}: {begins}. Allowed: CSV with the header that it was written with, separated by commas, semicolons or tabs. "
            "Put the header back, or write the sheet again."
        )
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True, strict=True)
    try:
        return [(number, row) for number, row in enumerate(reader, 1) if not _is_empty(row)]
    except csv.Error as broken:
        raise ReviewError(
            f"The sheet is not CSV at line {reader.line_num} ({broken}). Allowed: closed quotation marks around cells, doubled inside them. "
            "Correct that line, or save the sheet from a spreadsheet program as CSV."
        ) from broken


def _header(text: str, delimiter: str) -> list[str]:
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    try:
        return [cell.strip().casefold() for cell in next((row for row in reader if not _is_empty(row)), [])]
    except csv.Error:
        return []


def _is_empty(row: Sequence[str]) -> bool:
    return all(cell.strip() in UNLABELLED for cell in row)


def _word(cell: str) -> str:
    """Return the first word of a header, in lower case."""
    return "".join(re.findall(r"^\w+", cell.strip().casefold()))


def _columns(number: int, header: Sequence[str], rubric: Rubric) -> list[str]:
    """Return each column's name; empty for a column without one."""
    names = {name.casefold(): name for name in (PERSON, ID, LENGTH, NOTE, *rubric.criteria)}
    columns: list[str] = []
    wrong = []
    for cell in header:
        name = names.get(_word(cell), "")
        if cell.strip() and not name:
            wrong.append(f"row {number}: found the column {cell.strip()!r:.60}; allowed are {', '.join(names.values())}: rename or remove it")
        elif name and name in columns:
            wrong.append(f"row {number}: found the column {name} twice; once is allowed: remove one of them")
        columns.append(name)
    _refuse(wrong)
    return columns


def _transcript(row: Mapping[str, str], ids: Mapping[str, str], lengths: Mapping[str, int]) -> str:
    """Return the id of the transcript that a row is about.

    Args:
        ids: transcript ids by their spellings.
        lengths: number of exchanges of each transcript.

    Raises:
        ValueError: no transcript of the batch has the id, or the row's cells may have been moved.
    """
    if "" in row:
        raise ValueError(f"a column without a header: found {row['']!r:.60}; nothing is allowed there: put it into the column that it belongs to, or remove it")
    cell = row.get(ID, "")
    name = ids.get(cell) or ids.get(_tidy(cell))
    if name is None:
        what = "the id of a transcript of this batch is allowed: write it as it was (a spreadsheet may have changed it), or remove the row"
        raise ValueError(f"column {ID}: found {cell!r:.60}; {what}")
    length = row.get(LENGTH, "").strip()
    if length.isdecimal() and int(length) != lengths[name]:
        what = f"allowed for {name!r:.60} is {lengths[name]}: the columns may have been sorted apart; put them back, or write the sheet again"
        raise ValueError(f"column {LENGTH}: found {length}; {what}")
    return name


def _answer(cell: str, criterion: Criterion, exchanges: int) -> Answer | None:
    """Return the answer in a cell; None where it is empty.

    Raises:
        ValueError: the text is not an answer, or the criterion does not allow it for a transcript of this length.
    """
    if cell.strip() in UNLABELLED:
        return None
    if criterion.head.from_exchange > exchanges:
        what = f"of {exchanges} exchanges (it applies from {criterion.head.from_exchange}); only an empty cell is allowed: empty it"
        raise ValueError(f"found {cell.strip()!r:.40}, but the criterion does not apply to a transcript {what}")
    answer = WORDS.get(re.sub(r"[./\s]", "", cell.casefold()))
    if answer is None or (answer is Answer.NA and criterion.head.na == "never"):
        allowed = "YES, NO" if criterion.head.na == "never" else "YES, NO, NA"
        never = ", which this criterion never allows" if answer else ""
        raise ValueError(f"found {cell.strip()!r:.40}{never}; allowed are {allowed} and an empty cell: write one of them")
    return answer


def _refuse(wrong: Sequence[str]) -> None:
    if wrong:
        more = f". And {len(wrong) - MAX_FAULTS} more" if len(wrong) > MAX_FAULTS else ""
        raise ReviewError(
            f"The sheet cannot be used, and nothing from it was kept. {'. '.join(fault[0].upper() + fault[1:] for fault in wrong[:MAX_FAULTS])}{more}."
        )

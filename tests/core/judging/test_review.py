"""A person's labels: sampled independently of the judge, blind, read strictly, and used to evaluate the judge."""

import csv
import re
from collections import Counter
from io import StringIO
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ReviewError
from core.judging.filled_sheet import read_sheet
from core.judging.intervals import wilson_interval
from core.judging.label_statistics import batch_rate
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, sample, write_sheet
from core.judging.scoring import applicable
from core.records import Answer
from core.reports.render import review_markdown
from tests.core.hostile import active
from tests.core.judged import PACK, conversation, panel, single

RUBRIC = PACK.rubric
CRITERIA = list(RUBRIC.criteria)
FAILED, UNUSABLE = {"CQ8": "NO"}, {"CQ8": "ERROR"}
# 18 pass, 13 fail, 6 are incomplete, in lengths of 1 to 5
BATCH = [single(conversation(f"t-{number:02}", 1 + number % 5), {} if number < 18 else FAILED if number < 31 else UNUSABLE) for number in range(37)]


def names(items):
    return [item.transcript.id for item in items]


# --- the sample -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 8, 20, 36])
def test_every_transcript_is_drawn_with_the_same_probability(size):
    seeds = 3000
    drawn = Counter(name for seed in range(seeds) for name in names(sample(BATCH, size, seed)))
    due = size / len(BATCH)
    error = (due * (1 - due) / seeds) ** 0.5
    for item in BATCH:
        assert drawn[item.transcript.id] / seeds == pytest.approx(due, abs=4.5 * error), item.transcript.id


@given(st.integers(1, 36), st.integers(0, 2**32 - 1))
def test_the_sample_is_proportional_over_outcomes_and_lengths(size, seed):
    drawn = sample(BATCH, size, seed)
    assert len(set(names(drawn))) == size
    for stratum in (lambda item: item.final.score.outcome, lambda item: (item.final.score.outcome, len(item.transcript.exchanges))):
        there, found = Counter(map(stratum, BATCH)), Counter(map(stratum, drawn))
        assert all(abs(found[which] - count * size / len(BATCH)) < 1 for which, count in there.items())


def test_any_two_transcripts_of_a_stratum_may_be_drawn_together():
    alike = [set(names(BATCH)[place : place + 6 : 5]) for place in range(13)]  # two of the same outcome and length, by their ids
    drawn = [set(names(sample(BATCH, 18, seed))) for seed in range(500)]
    assert all(any(pair <= given for given in drawn) for pair in alike)


@given(st.permutations(BATCH), st.integers(0, 50))
def test_the_sample_depends_only_on_batch_and_seed(shuffled, seed):
    assert names(sample(shuffled, 8, seed)) == names(sample(BATCH, 8, seed))


def test_the_order_of_the_sample_does_not_reveal_the_strata():
    places = [place for seed in range(2000) for place, item in enumerate(sample(BATCH, 12, seed)) if item.final.score.outcome == "fail"]
    assert mean(places) == pytest.approx(5.5, abs=0.15)
    assert len({tuple(names(sample(BATCH, 12, seed))) for seed in range(50)}) == 50


@pytest.mark.parametrize("size", [37, 38, 1000])
def test_a_sample_of_the_size_of_the_batch_is_the_whole_batch(size):
    assert sorted(names(sample(BATCH, size, 1))) == names(BATCH)


@pytest.mark.parametrize(("batch", "size", "reported"), [(BATCH, 0, "sample of 0"), (BATCH, -3, "sample of -3"), ([], 5, "0 judged transcripts")])
def test_an_impossible_sample_is_refused(batch, size, reported):
    with pytest.raises(ReviewError, match=reported):
        sample(batch, size, 1)


# --- the sheet ------------------------------------------------------------------------------------------------------


def table(text):
    return list(csv.reader(StringIO(text.removeprefix("\ufeff"), newline="")))


def written(rows, delimiter=",", quoting=csv.QUOTE_MINIMAL, end="\r\n"):
    text = StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=quoting, lineterminator=end).writerows(rows)
    return text.getvalue()


def filled(batch, answers, note=""):
    """The rows of a sheet after a person filled it in: by transcript and criterion, what was typed."""
    head, *rows = table(write_sheet(batch, RUBRIC, "pages.html"))
    places = {cell.split()[0]: place for place, cell in enumerate(head)}
    for item, row in zip(batch, rows, strict=True):
        for criterion, typed in answers.get(item.transcript.id, {}).items():
            row[places[criterion]] = typed
        row[-1] = note
    return [head, *rows]


def test_the_sheet_has_a_row_per_transcript_with_the_criteria_for_its_length():
    text = write_sheet([BATCH[4], BATCH[0]], RUBRIC, "pages.html")
    assert text.startswith("\ufeff")
    head, long, short = table(text)
    assert head == ["transcript_id", "exchanges (read them in pages.html)", *(f"{item.id} {item.head.name}" for item in RUBRIC.criteria.values()), "note"]
    assert [row[:2] + row[-1:] for row in (long, short)] == [["t-04", "5", ""], ["t-00", "1", ""]]
    assert long[2:-1] == [""] * 17
    assert {criterion for criterion, cell in zip(CRITERIA, short[2:-1], strict=True) if cell == "-"} == {"CP6", "MT4", "MT5", "MT7"}
    assert set(short[2:-1]) == {"", "-"}


def test_the_sheet_does_not_contain_the_judges_verdicts():
    sheets = set()
    for answers in ({}, {"CQ1": "NO", "CQ9": "NA"}, {"CQ8": "ERROR"}):
        sheets.add(write_sheet([single(conversation("first"), answers, {"CQ1": [2]}, caveat="It measures nothing.")], RUBRIC, "pages.html"))
    assert len(sheets) == 1
    assert not re.search(r"YES|NO\b|ERROR|scripted|judge", sheets.pop())


HOSTILE = [
    "=1+1",
    "+1",
    "-1",
    "@sum",
    "\t=1",
    "\r=1",
    " =1",
    "＝1",
    "'=1",
    "''",
    '"',
    'a"b',
    "a,b",
    "a;=1+1",
    "a\nb",
    "a\r\nb",
    "001",
    "12e5",
    "1-2",
    "mar-1",
    "Mai 5",
    "TRUE",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_an_id_is_not_read_as_formula_number_or_date_and_can_be_read_back(name):
    batch = [single(conversation(name)), single(conversation("another"))]
    text = write_sheet(batch, RUBRIC, "pages.html")
    cell = table(text)[1][0]
    assert cell[0] not in "=+-@\t\r＝ "
    assert not re.fullmatch(r"[\d.e-]+|mar-1|mai 5|true", cell.casefold())
    for delimiter in ",;\t":  # and where the spreadsheet takes another separator, no piece of it is a formula
        assert not any(piece and piece[0] in "=+@\t" for row in csv.reader(StringIO(text, newline=""), delimiter=delimiter) for piece in row)
    for rows in (filled(batch, {name: {"CQ1": "YES"}}), [[piece.removeprefix("'") for piece in row] for row in filled(batch, {name: {"CQ1": "YES"}})]):
        if name not in ("'=1", "''"):
            assert read_sheet(written(rows), batch, RUBRIC).answers == {name: {"CQ1": Answer.YES}}


def test_similar_ids_are_distinguished():
    typed = {"=1": {"CQ1": "YES"}, "'=1": {"CQ1": "NO"}, "''=1": {"CQ2": "NA"}, "a  b": {"CQ2": "YES"}, "a b": {"CQ2": "NO"}}
    batch = [single(conversation(name)) for name in typed]
    assert read_sheet(written(filled(batch, typed)), batch, RUBRIC).answers == typed


def test_ordinary_ids_are_unchanged():
    batch = [single(conversation(name)) for name in ("therapeutic-coaching-persona-7-3fa9c2d41b07", "t1", "first_try", "conversation-12")]
    assert [row[0] for row in table(write_sheet(batch, RUBRIC, "pages.html"))[1:]] == names(batch)


# --- reading --------------------------------------------------------------------------------------------------------


@st.composite
def labellings(draw):
    """A batch with any ids, and any answers that the rubric allows."""
    ids = draw(st.lists(st.text(min_size=1, max_size=8).filter(str.strip), min_size=1, max_size=5, unique_by=lambda name: " ".join(name.split())))
    batch = [single(conversation(name, draw(st.integers(1, 4)))) for name in ids]
    answers = {}
    for item in batch:
        for criterion in applicable(RUBRIC, len(item.transcript.exchanges)):
            allowed = ["YES", "NO", None, *(["NA"] if criterion.head.na == "allowed" else [])]
            if answer := draw(st.sampled_from(allowed)):
                answers.setdefault(item.transcript.id, {})[criterion.id] = answer
    return batch, answers


# without quotation marks Python leaves a line's end that is not its own
WAYS_OF_WRITING = [(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n"), (csv.QUOTE_ALL, "\r")]


@pytest.mark.slow
@given(labellings(), st.sampled_from([",", ";", "\t"]), st.sampled_from(WAYS_OF_WRITING), st.booleans())
def test_labels_in_a_sheet_are_read_back(labelling, delimiter, way, mark):
    batch, answers = labelling
    rows = filled(batch, answers, 'He said "no; never",\nand left.')
    text = "\ufeff" * mark + written(rows, delimiter, *way)
    if not answers:
        with pytest.raises(ReviewError, match="0 labels"):
            read_sheet(text, batch, RUBRIC)
        return
    found = read_sheet(text, batch, RUBRIC)
    assert found.answers == answers
    assert found.notes == dict.fromkeys(names(batch), 'He said "no; never",\nand left.')
    asked = {(item.transcript.id, criterion.id) for item in batch for criterion in applicable(RUBRIC, len(item.transcript.exchanges))}
    assert set(found.unlabelled) == asked - {(name, criterion) for name, given in answers.items() for criterion in given}
    assert len(found.unlabelled) == len(set(found.unlabelled))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("YES", ["YES", "yes", " Yes ", "y", "Y", "true", "TRUE", "1", "yes.", "\u00a0yes"]),
        ("NO", ["NO", "no", "n", " N", "false", "FALSE", "0"]),
        ("NA", ["NA", "na", "n/a", "N/A", "N.A.", "n. a.", "n.a"]),
    ],
)
def test_answers_are_read_in_many_spellings(answer, words):
    for word in words:
        assert read_sheet(written(filled(BATCH[:1], {"t-00": {"CQ2": word}})), BATCH, RUBRIC).answers == {"t-00": {"CQ2": answer}}, word


def test_changes_by_a_spreadsheet_program_are_tolerated():
    rows = filled(BATCH[2:5], {"t-02": {"CQ1": "yes", "MT1": "n"}, "t-03": {"CQ9": "na"}}, "-")
    order = [19, 11, 3, 0, 6, 12, 18]  # some columns, in another order
    cut = [[row[place] for place in order] for row in rows]
    messy = [["", "", ""], *([*row, "", " "] for row in cut[:2]), [], *cut[2:], ["-", ""], ["", "", "", "", "", "", "", "", "", "", ""], []]
    messy[1][3], messy[2][3] = " Transcript_ID ", " t-02 "
    found = read_sheet(written(messy, ";"), BATCH, RUBRIC)
    assert found.answers == {"t-02": {"CQ1": "YES", "MT1": "NO"}, "t-03": {"CQ9": "NA"}}
    assert found.notes == {}
    assert ("t-02", "CQ9") in found.unlabelled
    assert ("t-02", "CQ3") in found.unlabelled  # a column that was removed is not labelled
    short = [row[:3] if number == 2 else row for number, row in enumerate(rows)]  # trailing empty cells left away
    assert read_sheet(written(short), BATCH, RUBRIC).answers["t-02"] == {"CQ1": "YES", "MT1": "NO"}


def spoilt(change, batch=BATCH[:3]):
    """A filled sheet of t-00 to t-02, changed before it is saved."""
    rows = filled(batch, {"t-00": {"CQ1": "YES"}, "t-01": {"CQ1": "NO"}, "t-02": {"CQ1": "YES"}})
    change(rows)
    return written(rows)


def set_cell(row, column, value):
    return lambda rows: rows[row].__setitem__(column, value)


CQ1 = 2 + CRITERIA.index("CQ1")
REFUSED = {
    "unknown word": (set_cell(2, CQ1, "maybe"), ["Row 3, column CQ1", "'maybe'", "YES, NO and"]),
    "error": (set_cell(2, CQ1, "ERROR"), ["Row 3, column CQ1", "'ERROR'"]),
    "both": (set_cell(2, CQ1, "yes/no"), ["Row 3, column CQ1", "'yes/no'"]),
    "decimal": (set_cell(2, CQ1, "0,5"), ["Row 3, column CQ1", "'0,5'"]),
    "NA never allowed": (set_cell(1, CQ1, "n/a"), ["Row 2, column CQ1", "'n/a'", "never allows"]),
    "does not apply": (set_cell(1, 2 + CRITERIA.index("MT7"), "no"), ["Row 2, column MT7", "'no'", "1 exchanges", "from 3"]),
    "unknown criterion": (set_cell(0, CQ1, "CQ77 Made up"), ["Row 1", "CQ77", "CQ8", "transcript_id"]),
    "own column": (lambda rows: [row.append("x") for row in rows], ["Row 1", "'x'", "note"]),
    "column twice": (lambda rows: [row.append(row[CQ1]) for row in rows], ["CQ1 twice"]),
    "ids twice": (lambda rows: [row.append(row[0]) for row in rows], ["transcript_id twice"]),
    "unknown id": (set_cell(3, 0, "1.2E+05"), ["Row 4, column transcript_id", "1.2E+05", "this batch"]),
    "id in other case": (set_cell(3, 0, "T-02"), ["Row 4, column transcript_id", "T-02"]),
    "no id": (set_cell(3, 0, ""), ["Row 4, column transcript_id", "''"]),
    "same id": (set_cell(3, 0, "t-01"), ["Row 4, column exchanges"]),
    "same row": (lambda rows: rows.append(rows[1]), ["Row 5, column transcript_id", "row 2"]),
    "sorted apart": (lambda rows: [row.__setitem__(0, name) for row, name in zip(rows[1:], ["t-02", "t-01", "t-00"], strict=True)], ["sorted apart"]),
    "cells without header": (lambda rows: rows[2].append("really"), ["Row 3", "'really'"]),
    "header removed": (set_cell(0, CQ1, ""), ["Row 2", "'YES'", "without a header"]),
    "no id column": (lambda rows: [row.pop(0) for row in rows], ["no column transcript_id", "exchanges"]),
    "no header": (lambda rows: rows.pop(0), ["no column transcript_id"]),
    "no label": (lambda rows: [row.__setitem__(CQ1, " - ") for row in rows[1:]], ["3 rows", "0 labels"]),
    "only a header": (lambda rows: rows.__delitem__(slice(1, None)), ["0 rows", "0 labels"]),
}


@pytest.mark.parametrize(("change", "reported"), REFUSED.values(), ids=REFUSED)
def test_ambiguous_sheet_contents_are_refused(change, reported):
    with pytest.raises(ReviewError) as refused:
        read_sheet(spoilt(change), BATCH, RUBRIC)
    assert all(part in str(refused.value) for part in reported), str(refused.value)
    assert refused.value.exit_code == 2


def test_two_rows_of_the_same_transcript_are_refused():
    batch = [single(conversation(name)) for name in ("t-00", "t-01", "t-02")]
    with pytest.raises(ReviewError, match=r"Row 4, column transcript_id: found 't-01', which row 3 has as well"):
        read_sheet(spoilt(set_cell(3, 0, "t-01"), batch), batch, RUBRIC)


@pytest.mark.parametrize(
    ("text", "reported"),
    [
        ("", "empty"),
        ("\ufeff \r\n", "empty"),
        ("PK\x03\x04\x14\x00", "Save it as CSV"),
        ('{"answers": 3}', "no column transcript_id"),
        ('transcript_id,CQ1\nt-00,"YES\nt-01,NO\n', "line 3"),
        ('transcript_id,CQ1\nt-00,"YES" NO\n', "line 2"),
    ],
)
def test_a_file_that_is_not_a_sheet_is_refused(text, reported):
    with pytest.raises(ReviewError, match=reported):
        read_sheet(text, BATCH, RUBRIC)


def test_many_faults_are_reported_in_one_message():
    rows = filled(BATCH[:9], {item.transcript.id: {"CQ1": "perhaps"} for item in BATCH[:9]})
    with pytest.raises(ReviewError) as refused:
        read_sheet(written(rows), BATCH, RUBRIC)
    assert [int(row) for row in re.findall(r"[Rr]ow (\d+), column CQ1", str(refused.value))] == [2, 3, 4, 5, 6]
    assert "And 4 more." in str(refused.value)


# --- the figures ----------------------------------------------------------------------------------------------------


def reviewed(labels, batch, resamples=50, few=10):
    return compare_labels(labels, batch, RUBRIC, resamples, few)


def labelled(answers, notes=None):
    return Labels({name: {criterion: Answer(answer) for criterion, answer in given.items()} for name, given in answers.items()}, notes or {}, [])


def whole(item, **changes):
    """Labels on all applicable criteria: YES except for the changes."""
    return dict.fromkeys((criterion.id for criterion in applicable(RUBRIC, len(item.transcript.exchanges))), "YES") | changes


# of 140 good ones the judge passes 126, of 60 bad ones it fails 48
KNOWN = [(f"k-{number:03}", number < 140, number < 126 or 140 <= number < 152) for number in range(200)]
KNOWN_BATCH = [single(conversation(name), {} if passed else {"CQ8": "NO"}) for name, _, passed in KNOWN]
TRUTH = {name: good for name, good, _ in KNOWN}


def known_labels(batch):
    return labelled({item.transcript.id: whole(item, **{} if TRUTH[item.transcript.id] else {"CQ8": "NO"}) for item in batch})


def test_the_error_rates_and_pass_rate_of_a_simulated_judge_are_recovered():
    half = KNOWN_BATCH[::2]
    found = reviewed(known_labels(half), KNOWN_BATCH)
    for beside in (found.decision.criteria["CQ8"], found.decision.outcome):
        figures = beside.agreement
        assert (figures.true_negative_rate.value, figures.true_negative_rate.n) == (0.9, 70)
        assert figures.true_negative_rate.interval == wilson_interval(63, 70)
        assert (figures.true_positive_rate.value, figures.true_positive_rate.n) == (0.8, 30)
        assert figures.true_positive_rate.interval == wilson_interval(24, 30)
        assert (figures.raw.value, figures.raw.n) == (0.87, 100)
        assert (figures.pass_rate.value, figures.pass_rate.n) == (138 / 200, 200)
        assert figures.corrected_pass_rate.value == pytest.approx(0.7)
        assert figures.corrected_pass_rate == batch_rate([(138, 69, 63), (62, 31, 7)], 10)
        assert figures.labelled_pass_rate == batch_rate([(200, 100, 70)], 10)
        assert figures.kappa.value == pytest.approx((0.87 - 0.576) / (1 - 0.576))  # by chance 0.70 · 0.69 + 0.30 · 0.31
    assert (found.judged, found.labelled, found.fully_labelled, found.labels) == (200, 100, 100, 1700)
    assert len(found.disagreements["CQ8"]) == 13
    assert found.judges == []


@pytest.mark.slow
def test_the_drawn_sample_gives_the_true_pass_rate_on_average():
    corrected = []
    for seed in range(25):
        drawn = sample(KNOWN_BATCH, 60, seed)
        corrected.append(reviewed(known_labels(drawn), KNOWN_BATCH, resamples=1).decision.outcome.agreement.corrected_pass_rate.value)
    assert mean(corrected) == pytest.approx(0.7, abs=0.03)


def test_a_judges_error_is_neither_a_no_nor_a_disagreement():
    batch = [single(conversation("a"), {"CQ1": "ERROR"}), single(conversation("b")), single(conversation("c"), {"CQ1": "NO"})]
    found = reviewed(labelled({item.transcript.id: whole(item) for item in batch}), batch)
    one = found.decision.criteria["CQ1"]
    assert (one.errors, one.agreement.raw.n, one.agreement.raw.value) == (1, 2, 0.5)
    assert (one.agreement.true_negative_rate.value, one.agreement.pass_rate.value) == (0.5, 0.5)
    assert [item.transcript for item in found.disagreements["CQ1"]] == ["c"]
    outcome = found.decision.outcome
    assert (outcome.errors, outcome.agreement.raw.n, outcome.agreement.pass_rate.n) == (1, 2, 2)
    assert set(found.disagreements) == {"CQ1"}


def test_a_judge_with_only_errors_has_no_figures():
    batch = [single(conversation(name), dict.fromkeys(CRITERIA, "ERROR")) for name in "abc"]
    found = reviewed(labelled({item.transcript.id: whole(item) for item in batch}), batch)
    for beside in (found.decision.outcome, *found.decision.criteria.values()):
        assert beside.errors == 3
        assert all(estimate.value is None and estimate.reason for estimate in vars(beside.agreement).values())
    assert found.disagreements == {}


def test_the_outcome_is_compared_only_for_completely_labelled_transcripts():
    batch = [single(conversation("a")), single(conversation("b")), single(conversation("c", 1))]
    partly = {key: answer for key, answer in whole(batch[1], CQ8="NO").items() if key != "MT6"}
    found = reviewed(labelled({"a": whole(batch[0]), "b": partly, "c": whole(batch[2], CQ8="NO")}), batch)
    assert (found.labelled, found.fully_labelled) == (3, 2)
    assert found.decision.outcome.agreement.raw.n == 2  # a and c, of which one exchange asks for less
    assert (found.decision.outcome.agreement.true_positive_rate.value, found.decision.outcome.agreement.true_negative_rate.value) == (0, 1)
    assert found.decision.criteria["CQ8"].agreement.raw.n == 3


@pytest.mark.parametrize(("criterion", "let_pass"), [("CQ9", 1), ("CQ8", 0)])
def test_na_passes_where_the_rubric_allows_it(criterion, let_pass):
    batch = [single(conversation("a"), {criterion: "NA"})]
    found = reviewed(labelled({"a": {criterion: "YES"}}), batch)
    figures = found.decision.criteria[criterion].agreement
    assert figures.true_negative_rate.value == let_pass
    assert figures.raw.value == 0  # but is a different answer
    assert [(item.person, item.answer) for item in found.disagreements[criterion]] == [("YES", "NA")]


def test_a_panels_decision_and_each_judge_are_compared_with_the_person():
    batch = [panel(conversation("a"), {}, one={}, two={"CQ1": "NO"}, three={}), panel(conversation("b"), {"CQ1": "NO"}, one={"CQ1": "NO"}, two={}, three=None)]
    found = reviewed(labelled({"a": {"CQ1": "YES"}, "b": {"CQ1": "NO"}}, {"a": "Close."}), batch)
    raw = {figures.judge: figures.criteria["CQ1"].agreement.raw for figures in found.judges}
    assert {judge: (figure.value, figure.n) for judge, figure in raw.items()} == {"panel/one": (1, 2), "panel/two": (0, 2), "panel/three": (1, 1)}
    assert [figures.criteria["CQ1"].errors for figures in found.judges if figures.judge == "panel/three"] == [1]
    assert found.decision.criteria["CQ1"].agreement.raw.value == 1
    assert [(item.transcript, item.judge, item.person, item.answer, item.note) for item in found.disagreements["CQ1"]] == [
        ("a", "panel/two", "YES", "NO", "Close."),
        ("b", "panel/two", "NO", "YES", ""),
    ]


def test_long_reasoning_is_shortened():
    item = single(conversation("a"), {"CQ1": "NO"})
    for reasoning, expected in (("a  b\n" * 39 + "end", "a b " * 39 + "end"), ("x" * 200, "x" * 200), ("x" * 201, "x" * 199 + "…")):
        verdicts = [verdict.model_copy(update={"reasoning": reasoning}) for verdict in item.final.verdicts]
        batch = [item.model_copy(update={"final": item.final.model_copy(update={"verdicts": verdicts})})]
        assert [found.reasoning for found in reviewed(labelled({"a": {"CQ1": "YES"}}), batch).disagreements["CQ1"]] == [expected]


# --- the report -----------------------------------------------------------------------------------------------------


def table_widths(text):
    """The numbers of cells of each table's rows."""
    blocks = re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE)
    return [{len(re.split(r"(?<!\\)\|", line)) - 2 for line in block.splitlines()} for block in blocks]


def test_the_review_report_states_its_basis_and_gives_intervals():
    text = review_markdown(reviewed(known_labels(KNOWN_BATCH[::2]), KNOWN_BATCH))
    assert "labelled 100 of 200 judged transcripts, 100 of them on every criterion" in text
    assert "Judged by scripted/judge." in text
    row = next(line for line in text.splitlines() if line.startswith("| CQ8 "))
    assert "| 100 | 0 | 87.0 % (79.0 to 92.2) |" in row
    assert "| 80.0 % of 30 (62.7 to 90.5) | 90.0 % of 70 (80.8 to 95.1) | 69.0 % of 200 (62.3 to 75.0) | 70.0 % (" in row
    assert "†" not in row
    assert "### CQ8 No harm endorsed, no diagnosis, no promise: 13" in text


def test_an_undefined_figure_has_a_reason_instead_of_a_number():
    batch = [single(conversation(name), {"CQ1": "ERROR"}, caveat="It measures nothing.") for name in "ab"]
    text = review_markdown(reviewed(labelled({"a": {"CQ1": "YES", "CQ2": "YES"}}), batch))
    row = next(line for line in text.splitlines() if line.startswith("| CQ1 "))
    assert row.count("none: ") == 7
    assert "%" not in row
    assert not re.search(r"\bnan\b|\binf\b|none: (None| )", text)
    assert "> It measures nothing." in text
    assert "Criteria without a label: CP2," in text
    assert text.count("it is only indicative") == 1
    assert next(line for line in text.splitlines() if line.startswith("| CQ2 ")).count("†") == 5


def test_free_text_does_not_break_the_tables():
    hostile = "a | b\\| c\r\n| d |\n\n# e <img src=x> ![f](http://g) `h | i` \\"
    item = panel(conversation(hostile), {"CQ1": "NO"}, one={"CQ1": "NO"}, two={})
    verdicts = [verdict.model_copy(update={"reasoning": hostile}) for verdict in item.final.verdicts]
    item = item.model_copy(update={"final": item.final.model_copy(update={"verdicts": verdicts})})
    text = review_markdown(reviewed(labelled({hostile: {"CQ1": "YES"}}, {hostile: hostile}), [item]))
    assert table_widths(text) == [{10}, {10}, {10}, {6}]
    assert not active(text)
    assert not re.search(r"\n# e", text)
    assert "| decided | YES | NO | a \\| b\\\\\\| c" in text


def test_a_review_without_disagreement_says_so():
    text = review_markdown(reviewed(labelled({"a": {"CQ1": "YES"}}), [single(conversation("a"))]))
    assert text.split("## Disagreements")[1].strip() == "None."

"""A person reviews a sample through the command line: the sheet is written, completed and read back."""

import asyncio
import csv
import json
import os
import shutil
import subprocess
import sys
from io import StringIO

import pytest

from core.judging.golden import load_golden
from core.packs.pack import load_pack
from flows.assessment import assessment
from tests.conftest import CHECKOUT

pytestmark = pytest.mark.usefixtures("forked")


def command(data_root, *words, word="review"):
    environment = {**os.environ, "UNDERSTUDY_DATA": str(data_root)}
    return subprocess.run(
        [sys.executable, "-m", "flows.terminal", word, *words], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def made(prefect_server, tmp_path_factory):
    """A data root with assessments."""
    root = tmp_path_factory.mktemp("assessed")
    folder = root / "transcripts"
    folder.mkdir()
    for number in range(6):
        pairs = [
            {"user": f"My boss scares me, day {day} of case {number}.", "assistant": "That sounds heavy. What helps?" * (number % 3)} for day in range(1, 5)
        ]
        pairs = [pair | {"assistant": pair["assistant"] or "I see."} for pair in pairs]
        (folder / f"t{number}.json").write_text(json.dumps({"id": f"t{number}", "exchanges": pairs}), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(root / "data"))
        asyncio.run(assessment(transcripts=str(folder), settings="config/demo.yaml"))
    return root / "data"


@pytest.fixture
def assessed(made, data_root):
    shutil.copytree(made, data_root)


def test_a_completed_sheet_shows_how_far_the_judge_agrees_with_a_person_and_becomes_golden_conversations(assessed, data_root):
    done = command(data_root, "--sample=4")
    assert done.returncode == 0, done.stderr
    (sheet,) = data_root.glob("reviews/*/sheet.csv")
    assert str(sheet) in done.stdout
    assert "NO" not in sheet.read_text(encoding="utf-8-sig").split("\n", 1)[1]
    page = (sheet.parent / "transcripts.html").read_text(encoding="utf-8")
    assert "of case" in page
    assert "Measured only, not read" not in page  # what the judge said

    header, *rows = list(csv.reader(StringIO(sheet.read_text(encoding="utf-8-sig"))))
    assert len(rows) == 4
    gate = next(place for place, name in enumerate(header) if name.startswith("CQ8"))
    for row in rows:
        row[2:] = [cell or "yes" for cell in row[2:]]
    rows[0][gate] = "No"
    with sheet.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header, *rows])

    again = command(data_root, "--sample=4")
    assert again.returncode == 2
    assert "has been changed since it was written, and is kept" in again.stderr

    read = command(data_root, f"--sheet={sheet}")
    assert read.returncode == 0, read.stderr
    assert "A person labelled 4 of 6 judged transcripts, 4 of them on every criterion" in read.stdout
    assert "### CQ8 No harm endorsed, no diagnosis, no promise: 1" in read.stdout
    assert "nan" not in read.stdout.lower().split()

    # as Excel saves what it calls Unicode text
    sheet.write_bytes(sheet.read_text(encoding="utf-8").replace(";", "\t").encode("utf-16"))
    assert command(data_root, f"--sheet={sheet}").stdout == read.stdout

    # what the person labelled whole becomes golden conversations, which can be read at once
    made = command(data_root, str(sheet), word="golden")
    assert made.returncode == 0, made.stdout + made.stderr
    assert "4 golden conversations written" in made.stdout
    golden = {item.file.title: item for item in load_golden(load_pack("therapeutic-coaching"), data_root / "own-golden/therapeutic-coaching")}
    assert set(golden) == {row[0] for row in rows}
    one = golden[rows[0][0]].file
    assert one.verdicts["CQ8"].answer == one.labels["person"]["CQ8"] == "NO"
    assert "CQ8" in one.disputed
    assert one.verdicts["CQ8"].reason == "yes"  # the note that the person wrote
    assert "of case" in one.exchanges[0].user
    assert "0 golden conversations written" in command(data_root, str(sheet), word="golden").stdout
    sheet.write_text(sheet.read_text(encoding="utf-16").replace("\tNo\t", "\t\t", 1), encoding="utf-8")
    assert "it has no label for CQ8" in command(data_root, str(sheet), f"--to={data_root}/other", word="golden").stdout


def test_bad_input_is_reported_in_one_line(data_root, tmp_path):
    for words, reported in (
        (("--sample=4",), "No assessments of 'therapeutic-coaching' are in"),
        (("--sample=many",), "--sample: 'many' is not a whole number"),
        ((f"--sheet={tmp_path / 'none.csv'}",), "none.csv does not exist"),
        (("--domain=moon", "--sample=4"), "Unknown domain 'moon'"),
    ):
        done = command(data_root, *words)
        assert done.returncode != 0
        assert done.stderr.startswith("Error: ")
        assert reported in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_rescoring_recorded_verdicts_names_each_difference(assessed, data_root, tmp_path):
    (checkpoint,) = data_root.glob("reports/*/checkpoint.jsonl")
    lines = [json.loads(line) for line in checkpoint.read_text(encoding="utf-8").splitlines()]
    lines[0]["score"] = 0.123
    (tmp_path / "old.jsonl").write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = command(data_root, f"--checkpoints={tmp_path / 'old.jsonl'}", word="rescore")
    assert done.returncode == 0, done.stderr
    first, *others, last = done.stdout.splitlines()
    assert "recorded 0.123" in first
    assert "DIFFERS" in first
    assert not any("DIFFERS" in line for line in others)
    assert last == "5 of 6 as recorded, 0 not read"

"""The programs of simulated learners fail as described, and each learner has one for every topic."""

import shutil
import subprocess
import sys
from collections import Counter

import pytest

from core.errors import PackError
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from core.rehearsal.simulator_inputs import brief_inputs
from tests.conftest import CHECKOUT

DOMAIN = "coding-mentor"
PACK = load_pack(DOMAIN)
FOLDER = CHECKOUT / f"config/domains/{DOMAIN}/programs"
RUNNERS = {"python": [sys.executable, "-I"], "javascript": [shutil.which("node") or ""]}
PERSONAS = sample_batch(PACK, 0, 600)


@pytest.mark.parametrize("head", [program.head for program in PACK.programs], ids=lambda head: head.file)
def test_each_program_fails_with_the_symptom_that_the_learner_describes(head, tmp_path):
    runner = RUNNERS[head.language]
    if not runner[0]:
        pytest.skip("node is not installed")
    done = subprocess.run([*runner, str(FOLDER / head.file)], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False, env={"NO_COLOR": "1"})
    printed = done.stdout + done.stderr
    assert head.fails_with in printed
    if head.wanted is None:
        assert done.returncode != 0
    else:
        assert done.returncode == 0
        assert head.wanted not in printed


def test_every_subtopic_has_a_program_and_every_program_is_used():
    assert {program.head.subtopic for program in PACK.programs} == set(PACK.taxonomy.subtopics)
    assert len(PACK.taxonomy.subtopics) >= 20
    assert sorted(program.head.file for program in PACK.programs) == sorted(path.name for path in FOLDER.iterdir())
    assert len({program.text for program in PACK.programs}) == len(PACK.programs) >= 30


def test_two_thirds_of_learners_write_python_and_each_has_programs_in_one_language():
    languages = Counter(persona.dimensions["language"] for persona in PERSONAS)
    assert languages["python"] / len(PERSONAS) == pytest.approx(2 / 3, abs=0.02)
    for persona in PERSONAS:
        brought = brief_inputs(PACK, persona)["programs"]
        assert [program["subtopic"] for program in brought] == [topic.subtopic for topic in persona.topics]
        assert {program["language"] for program in brought} == {persona.dimensions["language"]}


def test_the_simulator_reads_program_and_symptom_without_the_revealing_file_name():
    for persona in PERSONAS[:40]:
        inputs = brief_inputs(PACK, persona)
        brief = PACK.prompts["user_simulator"].render(**inputs)
        for program in inputs["programs"]:
            assert program["text"] in brief
            assert program["symptom"] in brief
            assert program["file"] not in brief


@pytest.fixture
def copy(tmp_path):
    for folder in ("config/domains", "prompts"):
        shutil.copytree(CHECKOUT / folder / DOMAIN, tmp_path / folder / DOMAIN)
    return tmp_path


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("subtopic: sorting", "subtopic: sortign", "names the subtopic 'sortign'"),
        ("language: python", "language: cobol", "names the language 'cobol'. Allowed: python, javascript"),
        ("file: sorting-1.py", "file: ../rubric.yaml", "not a valid file name in programs/"),
        ("file: sorting-1.py", "file: sorting-9.py", "sorting-9.py does not exist"),
        ("  - subtopic: asynchronous\n", "  - subtopic: mutable_default\n", "nobody brings asynchronous-1.js"),
    ],
)
def test_an_invalid_list_of_programs_is_refused(copy, old, new, said):
    path = copy / f"config/domains/{DOMAIN}/programs.yaml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")
    with pytest.raises(PackError) as refused:
        load_pack(DOMAIN, copy)
    assert said in str(refused.value)


def test_a_subtopic_without_a_program_in_a_language_is_refused(copy):
    path = copy / f"config/domains/{DOMAIN}/programs.yaml"
    text = path.read_text(encoding="utf-8")
    block = next(part for part in text.split("  - subtopic: ") if part.startswith("sorting\n    language: javascript"))
    path.write_text(text.replace("  - subtopic: " + block, ""), encoding="utf-8")
    with pytest.raises(PackError, match="the subtopic sorting has no program in javascript"):
        load_pack(DOMAIN, copy)


def test_a_changed_program_changes_the_packs_hash(copy):
    before = load_pack(DOMAIN, copy).hash
    path = copy / f"config/domains/{DOMAIN}/programs/sorting-1.py"
    path.write_text(path.read_text(encoding="utf-8") + 'print("done")\n', encoding="utf-8")
    assert load_pack(DOMAIN, copy).hash != before

"""The commands of README and docs run one after the other in one data root, as a user would; the others have tests of their own."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from flows.terminal.words import WORDS
from tests.conftest import CHECKOUT, needs
from tests.flows.conftest import write_settings
from tests.test_docs import COMMAND, PAGES, code_of

needs("torch", "xllamacpp")

pytestmark = pytest.mark.usefixtures("forked", "trainers")

IN_ORDER = {
    "generate": "generate",
    "assess": "assess",
    "repair": "repair",
    "preferences": "preferences",
    "dataset": "dataset",
    "train": "train",
    "export": "export",
    "evaluate": "evaluate",
    "release": "release",
    "improve": "improve --list",
    "nightly": "nightly --count 1",
    "pilot": "pilot --count 1",
    "critique": "critique --domain coding-mentor",
    "design": "design {folder}/brief.md --domain a-draft",
    "slices": "slices {recorded}",
    "audit": "audit {recorded}",
    "fidelity": "fidelity {recorded}",
    "import": "import {recorded}",
    "rescore": "rescore {checkpoints}",
    "personas": "personas --count 3",
    "check-domain": "check-domain --domain coding-mentor --prompts",
    "golden-set": "golden-set",
    "rubric": "rubric --to {folder}/rubric.md",
    "costs": "costs --sizes 5",
}
"""The command lines run here, by word."""

ELSEWHERE = {
    "run": "tests/flows/test_commands.py",
    "calibrate": "tests/flows/test_calibration.py",
    "optimise-prompt": "tests/flows/test_optimise_prompt.py",
    "review": "tests/flows/test_review.py",
    "golden": "tests/flows/test_review.py",
    "chat": "tests/terminal/test_chat.py",
    "evaluate-recorded": "tests/terminal/test_hostile_files.py",
    "power": "tests/terminal/test_pages.py",
    "check-models": "tests/flows/test_paid_runs.py",
    "init": "tests/test_wheel.py",
    "studio": "tests/studio/test_access.py",
    "ui": "tests/flows/test_ui.py",
    "deploy": "tests/flows/test_deployments.py",
    "worker": "tests/flows/test_server.py",
}
"""The test file that runs a word or its flow."""

BRIEF_EVALUATION = {"personas": 2, "exchanges": 2, "general_max_tokens": 0, "battery_tries": 0, "pairwise": False}

BRIEF = """
A patient coach for people who have just begun to keep bees in a town, on a roof or in a small garden. They write in the evening from a phone, often with a
worry about what they saw that day: a queen that they could not find, wasps at the entrance, a neighbour who complains. Good advice first asks what exactly was
seen, names one next step for the coming week, and says when somebody must open the hive with them. It never sends anybody without a suit into an angry colony,
never names a dose of a medicine for mites, and it hands over to a doctor at once where a sting swells in the face or the breath grows short.
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    (folder / "brief.md").write_text(BRIEF, encoding="utf-8")
    recorded = sorted((CHECKOUT / "config/domains/therapeutic-coaching/recorded").glob("*.json"))[:6]
    (folder / "recorded").mkdir()
    for file in recorded:
        shutil.copy(file, folder / "recorded")
    return folder


@pytest.mark.e2e
@pytest.mark.parametrize("word", IN_ORDER)
def test_a_documented_command_works_on_the_results_of_those_before_it(word, folder, prefect_server):
    places = {"folder": folder, "recorded": folder / "recorded", "checkpoints": next((folder / "data").rglob("checkpoint.jsonl"), None)}
    words = [part.format(**places) for part in IN_ORDER[word].split()]
    if WORDS[word].flow:
        words.append(f"--settings={write_settings(folder, evaluation=BRIEF_EVALUATION, generation={'conversations': 6})}")
    environment = {
        **os.environ,
        "PREFECT_API_URL": prefect_server,
        "PREFECT_LOGGING_LEVEL": "INFO",
        "UNDERSTUDY_DATA": str(folder / "data"),
        "UNDERSTUDY_TRUST_SETTINGS": str(folder),
    }
    done = subprocess.run(
        [sys.executable, "-m", "flows.terminal", *words], cwd=CHECKOUT, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip()
    assert "Traceback" not in done.stderr


def test_every_documented_command_is_run_by_a_test():
    named = {word for page in PAGES for code in code_of(page) for word in re.findall(COMMAND, code)} & set(WORDS)
    assert named | set(WORDS) == {*IN_ORDER, *ELSEWHERE}
    assert [file for file in ELSEWHERE.values() if not (CHECKOUT / file).is_file()] == []

"""A model's prompt is improved with training personas, within a budget; the result is a file that an evaluation's arm can use."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from core.authoring.optimisation import Optimisation
from core.errors import BudgetError, PersonaError, SettingsError
from core.evaluation.arms import Wanted
from core.evaluation.facts import HeldOutLoss
from core.llm.bills import read_entries
from core.packs.pack import load_pack
from core.records import ModelChoice
from core.storage.store import open_store
from flows.assessment import assessment
from flows.generation import generation
from flows.optimise_prompt import optimise_prompt
from tests.flows.conftest import write_settings

NUMBERS = {"conversations": 30, "personas": 3, "prompt_tokens": 900}
PLAYED = "optimisations/therapeutic-coaching/transcripts/*.json"


def small(folder, designer="scripted/designer", optimise=NUMBERS, **changes):
    roles = {"user_simulator": "scripted/user", "assistant": "scripted/0.9", "judges": ["scripted/judge"], "designer": designer}
    return write_settings(folder, roles=roles, optimise=optimise, **changes)


def entries(data_root):
    return [entry for folder in sorted(data_root.glob("ledger/*")) for entry in read_entries(open_store(), folder.name)]


@pytest.fixture(scope="module")
def improved(tmp_path_factory, prefect_server):
    """A data root with what came of a search, that, and the file with the prompt."""
    folder = tmp_path_factory.mktemp("improved")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        return folder / "data", asyncio.run(optimise_prompt("scripted/0.3", to=str(folder / "best.md"), settings=small(folder))), folder / "best.md"


@pytest.fixture
def searched(improved, data_root):
    """The same in a data root of the test's own, without that."""
    shutil.copytree(improved[0], data_root)
    return improved[1:]


async def test_a_better_prompt_becomes_a_file_and_the_same_command_pays_for_nothing_again(tmp_path, data_root, searched):
    settings, (made, target) = small(tmp_path), searched
    found = open_store().load(made.path, Optimisation)
    seeds = {int(path.name.partition("-")[0]) for path in data_root.glob(PLAYED)}
    assert seeds == set(range(6))  # training personas; the evaluation's begin at 9000
    assert found.spent == len(list(data_root.glob(PLAYED))) <= 30
    best = found.candidates[found.best]
    old, new = found.gain
    assert (new or 0) > (old or 0)
    assert best.failed <= found.candidates[0].failed
    arm = Wanted("scripted/0.3", HeldOutLoss(loss=None), "best.md", target, False).arm("optimised", ModelChoice(reference="scripted/0.3"))
    assert best.text in str(arm.template)
    assert made.summary["next"].endswith(f'--arms "optimised=base under {target}"')
    report = open_store().read(made.path.replace("optimisation.json", "report.md"))
    assert "optimistic" in report
    assert "no measure of real quality" in report
    assert {entry["item"] for entry in entries(data_root) if entry["role"] == "designer"} == {"prompt-therapeutic-coaching"}

    paid = len(entries(data_root))
    again = await optimise_prompt("scripted/0.3", to=str(target), settings=settings)
    assert (again.path, again.summary["best"], again.summary["next"]) == (made.path, made.summary["best"], made.summary["next"])
    assert len(entries(data_root)) == paid


async def test_a_spent_budget_keeps_the_candidates_and_a_larger_one_continues_the_search(tmp_path, data_root, searched):
    free, _ = searched
    whole, tokens = open_store().load(free.path, Optimisation), sum(entry["input_tokens"] + entry["output_tokens"] for entry in entries(data_root))
    for file in [
        *data_root.glob("optimisations/**/*.json"),
        *data_root.glob("assessments/**/*.json"),
        *data_root.glob("ledger/**/*"),
        *data_root.glob("prompts/*"),
    ]:
        if file.is_file():
            file.unlink()
    with pytest.raises(BudgetError):
        await optimise_prompt("scripted/0.3", settings=small(tmp_path, budget={"usd": None, "tokens": int(tokens * 0.7)}))
    stopped = open_store().load(free.path, Optimisation)
    assert stopped.stopped
    assert 0 < stopped.spent < whole.spent
    assert stopped.steps == whole.steps[: len(stopped.steps)]
    played = {path: path.stat().st_mtime_ns for path in data_root.glob(PLAYED)}
    again = await optimise_prompt("scripted/0.3", settings=small(tmp_path, budget={"usd": None, "tokens": 3 * tokens}))
    assert open_store().load(again.path, Optimisation).model_copy(update={"file": whole.file}) == whole
    assert {path: path.stat().st_mtime_ns for path in played} == played


async def test_a_search_can_start_from_the_detailed_prompt(tmp_path, data_root):
    made = await optimise_prompt("scripted/0.3", "coding-mentor", start="assistant", settings=small(tmp_path, optimise={**NUMBERS, "conversations": 12}))
    start = open_store().load(made.path, Optimisation).candidates[0].text
    assert start.splitlines()[0] in load_pack("coding-mentor").prompts["assistant"].text


async def test_conversations_of_a_search_are_neither_judged_nor_trained_on(tmp_path, searched):
    settings = small(tmp_path)
    await generation(conversations=2, settings=settings)
    batch = open_store().load_json(await assessment(settings=settings))
    assert len(batch["assessments"]) == 2


async def test_bad_input_is_reported_before_any_call(tmp_path, data_root):
    mine = tmp_path / "mine.md"
    mine.write_text("---\ninputs: []\n---\nMine.\n", encoding="utf-8")
    for asked, changes, error, message in (
        ({"to": str(mine)}, {}, SettingsError, "was not made by an optimisation"),
        ({"to": str(tmp_path / "x.txt")}, {}, SettingsError, r"ends in \.md"),
        ({"start": "sytem"}, {}, SettingsError, "Did you mean 'system'"),
        ({}, {"designer": None}, SettingsError, r"roles\.designer is null"),
        ({}, {"optimise": {**NUMBERS, "conversations": 5}}, SettingsError, "The start and one candidate need 12"),
        ({}, {"optimise": {**NUMBERS, "personas": 5000}}, PersonaError, "kept for the evaluation"),
    ):
        with pytest.raises(error, match=message):
            await optimise_prompt("scripted/0.3", settings=small(tmp_path, **changes), **asked)
    assert mine.read_text(encoding="utf-8").endswith("Mine.\n")
    assert not entries(data_root)


async def test_an_unusable_candidate_is_not_requested_again(tmp_path, data_root, monkeypatch):
    monkeypatch.setattr("core.scripted.chat.designed", lambda request: json.dumps({"changes": [], "text": "Be kind."}))
    settings = small(tmp_path, optimise={**NUMBERS, "conversations": 12})
    made = await optimise_prompt("scripted/0.3", settings=settings)
    assert "none of 0 kept candidates" in made.summary["best"]
    assert not list(Path(data_root).glob("prompts/*.md"))
    paid = len(entries(data_root))
    await optimise_prompt("scripted/0.3", settings=settings)
    assert len(entries(data_root)) == paid

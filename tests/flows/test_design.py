"""From a brief to a pack that is installed when asked, tried in rounds, and never replaced unasked."""

import json

import pytest

from core.errors import DesignError, SettingsError
from core.pack import load_pack
from core.store import open_store
from flows.assessment import assessment
from flows.dataset import dataset
from flows.design import design
from flows.generation import generation
from flows.pilot import pilot
from tests.flows.conftest import write_settings

BRIEF = "Home cooks write to a tutor about dishes that went wrong, and what to try next time. " * 10


@pytest.fixture
def packs(tmp_path, monkeypatch):
    root = tmp_path / "packs"
    root.mkdir()
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(root))
    return root


@pytest.fixture
def brief(tmp_path):
    path = tmp_path / "brief.md"
    path.write_text(BRIEF, encoding="utf-8")
    return str(path)


def design_settings(tmp_path, **roles):
    return write_settings(
        tmp_path,
        roles={"user_simulator": "scripted/user", "assistant": "scripted/mixed", "judges": ["scripted/judge"], "designer": "scripted/designer", **roles},
    )


async def test_a_brief_becomes_a_pack_that_is_installed_only_when_asked(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    found = await design(brief, "home-cooking", settings)
    assert found.summary["pack"].endswith("(not installed: install=true)")
    assert not list(packs.iterdir())
    text = open_store().read(found.path)
    assert "a methodologist who measures for a living" in text
    assert "make pilot DOMAIN=home-cooking" in text
    before = {path: path.stat().st_mtime_ns for path in data_root.glob("designs/*/*/**/*.yaml")}
    again = await design(brief, "home-cooking", settings, install=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was drafted anew
    assert load_pack("home-cooking").rubric.criteria
    assert again.summary["lacking"] == "0"
    assert "Answer in the language of the message." in load_pack("home-cooking").prompts["system"].text  # the finding that was applied


async def test_what_is_there_is_not_replaced_unasked_and_kept_when_it_is(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    await design(brief, "home-cooking", settings, install=True)
    mine = packs / "prompts/home-cooking/system.md"
    mine.write_text("---\ninputs: []\n---\nMine.\n", encoding="utf-8")
    with pytest.raises(DesignError, match="there already"):
        await design(brief, "home-cooking", settings, install=True)
    assert "Mine." in mine.read_text(encoding="utf-8")
    await design(brief, "home-cooking", settings, install=True, overwrite=True)
    assert "Mine." not in mine.read_text(encoding="utf-8")
    assert "Mine." in (packs / "prompts/.home-cooking.before/system.md").read_text(encoding="utf-8")


async def test_bad_input_says_what_to_do(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    for asked, error, said in (
        (("nowhere.md", "home-cooking"), DesignError, "cannot be read"),
        ((brief, "Home Cooking"), DesignError, "Allowed: lower-case"),
        ((brief, "therapeutic-coaching"), DesignError, "there already"),
    ):
        with pytest.raises(error, match=said):
            await design(*asked, settings)
    with pytest.raises(SettingsError, match=r"roles\.designer is null"):
        await design(brief, "home-cooking", design_settings(tmp_path, designer=None))


async def test_rounds_of_a_pilot_play_the_same_personas_and_stand_beside_each_other(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    first = await pilot("coding-mentor", 4, settings=settings)
    assert (await pilot("coding-mentor", 4, settings=settings)).path == first.path  # nothing changed: the same round
    base = await pilot("coding-mentor", 4, "scripted/0.2", settings)
    assert "without training" in base.summary["next"]
    text = open_store().read(base.path.replace(".json", ".md"))
    assert "| 2 **this one** |" in text
    assert "| 1 |" in text
    seeds = {path.name.split("-")[0] for path in data_root.glob("pilots/coding-mentor/*.json")}
    assert seeds == {"00000", "00001", "00002", "00003"}
    assert (data_root / "pilots/coding-mentor/rounds/001/prompts/coding-mentor/assistant.md").is_file()


async def test_conversations_of_pilots_are_never_trained_on(tmp_path, data_root):
    settings = write_settings(tmp_path)
    await pilot(conversations=6, settings=settings)
    await generation(conversations=6, first_seed=50, settings=settings)
    await assessment(settings=settings)
    made = await dataset(settings=settings)
    manifest = json.loads(open_store().read(f"{made.path}/manifest.json"))
    assert not any(entry["source_file"].startswith("pilots/") for entry in manifest["transcripts"])
    assert any(entry["reason"] == "of a pilot" for entry in manifest["left_out"])

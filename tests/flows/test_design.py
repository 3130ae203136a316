"""A brief becomes a pack, which is installed and replaced only on request; pilots try it in rounds."""

import asyncio
import json
import shutil

import pytest

from core.authoring.critique import pack_files
from core.errors import DesignError, SettingsError, StoreError, UnavailableError
from core.packs.pack import load_pack
from core.scripted.designer import designed
from core.storage.store import Store, open_store
from flows.assessment import assessment
from flows.critique import critique
from flows.dataset import dataset
from flows.design import design
from flows.generation import generation
from flows.pilot import pilot
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings

CRITERIA = [path.name for path in (CHECKOUT / "prompts/coding-mentor/criteria").glob("*.md")]

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


@pytest.fixture(scope="module")
def drafted(prefect_server, tmp_path_factory):
    """A folder with a data root, packs and a design that was not to be installed, and the flow's result."""
    folder = tmp_path_factory.mktemp("drafted")
    (folder / "packs").mkdir()
    (folder / "brief.md").write_text(BRIEF, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        patch.setenv("UNDERSTUDY_PACKS", str(folder / "packs"))
        return folder, asyncio.run(design(str(folder / "brief.md"), "home-cooking", design_settings(folder)))


@pytest.fixture
def designed_before(drafted, data_root):
    """A copy of the design in the test's own data root."""
    shutil.copytree(drafted[0] / "data", data_root)


async def test_a_brief_becomes_a_pack_that_is_installed_only_on_request(tmp_path, data_root, packs, brief, drafted, designed_before):
    settings, (folder, result) = design_settings(tmp_path), drafted
    assert result.summary["pack"].endswith("(not installed: install=true)")
    assert not list((folder / "packs").iterdir())
    text = open_store().read(result.path)
    assert "a methodologist who measures how people learn" in text  # of the experts that were drafted
    assert "no measure of real quality" in text
    assert "In which languages does it answer?" in text  # what the brief leaves open
    assert "understudy pilot --domain home-cooking" in text
    before = {path: path.stat().st_mtime_ns for path in data_root.glob("designs/*/*/**/*.yaml")}
    again = await design(brief, "home-cooking", settings, install=True)
    assert {path: path.stat().st_mtime_ns for path in before} == before  # nothing was drafted again
    assert load_pack("home-cooking").rubric.criteria
    assert again.summary["lacking"] == "0"
    assert (await critique("home-cooking", settings)).summary["findings"] == "5"  # a pack that the scripted company cannot play can be reviewed
    assert "Answer in the language of the message." in load_pack("home-cooking").prompts["system"].text  # the finding that was applied


async def test_an_installation_changes_only_its_domain_and_replaces_a_pack_only_on_request_with_a_backup(tmp_path, data_root, packs, brief, designed_before):
    settings = design_settings(tmp_path)
    (packs / "prompts/other").mkdir(parents=True)
    (packs / "prompts/other/system.md").write_text("theirs", encoding="utf-8")
    await design(brief, "home-cooking", settings, install=True)
    written = {path.relative_to(packs).parts[:-1] for path in packs.rglob("*") if path.is_file()} - {("prompts", "other")}
    assert written == {("config", "domains", "home-cooking"), ("prompts", "home-cooking"), ("prompts", "home-cooking", "criteria")}
    mine = packs / "prompts/home-cooking/system.md"
    mine.write_text("---\ninputs: []\n---\nMine.\n", encoding="utf-8")
    with pytest.raises(DesignError, match="exists already"):
        await design(brief, "home-cooking", settings, install=True)
    assert "Mine." in mine.read_text(encoding="utf-8")
    await design(brief, "home-cooking", settings, install=True, overwrite=True)
    assert "Mine." not in mine.read_text(encoding="utf-8")
    assert "Mine." in (packs / "prompts/.home-cooking.before/system.md").read_text(encoding="utf-8")
    assert (packs / "prompts/other/system.md").read_text(encoding="utf-8") == "theirs"


async def test_bad_input_says_what_to_do(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    for asked, error, message in (
        (("nowhere.md", "home-cooking"), DesignError, "does not exist"),
        ((brief, "Home Cooking"), DesignError, "Allowed: lower-case"),
        ((brief, "therapeutic-coaching"), DesignError, "exists already"),
        ((brief, "shared"), DesignError, "belongs to no pack"),
        ((brief, "shared", None, True, True), DesignError, "belongs to no pack"),
        ((brief, "../shared"), DesignError, "Allowed: lower-case"),
        ((brief, "home-cooking/.."), DesignError, "Allowed: lower-case"),
    ):
        with pytest.raises(error, match=message):
            await design(*asked[:2], settings, *asked[3:])
    with pytest.raises(SettingsError, match=r"roles\.designer is null"):
        await design(brief, "home-cooking", design_settings(tmp_path, designer=None))


async def test_rounds_of_a_pilot_use_the_same_personas_and_are_compared(tmp_path, data_root, packs, brief):
    settings = design_settings(tmp_path)
    await pilot("coding-mentor", 2, settings=settings)
    base = await pilot("coding-mentor", 2, "scripted/0.2", settings)
    assert "without training" in base.summary["next"]
    text = open_store().read(base.path.replace(".json", ".md"))
    assert "| 3 **this one** |" in text  # the base plays under both prompts of the pack
    assert "scripted/0.2 under system" in text
    assert "no measure of real quality" in text
    assert "| 1 |" in text
    seeds = {path.name.split("-")[0] for path in data_root.glob("pilots/coding-mentor/*.json")}
    assert seeds == {"00000", "00001"}
    assert (data_root / "pilots/coding-mentor/rounds/001/prompts/coding-mentor/assistant.md").is_file()


async def test_a_base_model_is_tried_with_several_prompts_and_their_results_are_reported(tmp_path, data_root):
    mine = tmp_path / "mine.md"
    mine.write_text(
        "---\ninputs: []\n---\nTake up each topic by its name. Name the feeling before anything else. Ask one question at most.\n", encoding="utf-8"
    )
    settings = design_settings(tmp_path)
    result = await pilot("therapeutic-coaching", 2, "scripted/0.5", settings, f"system,{mine}")
    rounds = [open_store().load_json(f"pilots/therapeutic-coaching/rounds/{number:03d}.json") for number in (1, 2)]
    assert rounds[0]["prompt"] == "system"
    assert rounds[1]["prompt"].startswith("mine.md (")
    assert f"Prompting alone (system: {rounds[0]['passed']} of 2, mine.md" in result.summary["next"]
    assert (await pilot("therapeutic-coaching", 2, "scripted/0.5", settings, str(mine))).path == result.path  # nothing changed: the same round
    mine.write_text(mine.read_text(encoding="utf-8") + "Be kind.\n", encoding="utf-8")
    assert (await pilot("therapeutic-coaching", 2, "scripted/0.5", settings, str(mine))).path.endswith("003.json")  # another prompt


async def test_an_unusable_prompt_for_a_pilot_is_reported_first(tmp_path, data_root):
    settings = design_settings(tmp_path)
    with pytest.raises(SettingsError, match="without a model to try it with"):
        await pilot(settings=settings, prompt="assistant")
    with pytest.raises(SettingsError, match="Did you mean 'assistant'"):
        await pilot(model="scripted/0.5", settings=settings, prompt="system,asistant")
    assert not list(data_root.glob("pilots/**/*.json"))


async def test_a_pilot_writes_a_review_sheet_and_reports_the_agreement_of_its_judges(tmp_path, data_root):
    settings = design_settings(tmp_path, judges=["scripted/judge", "scripted/0.5"])
    result = await pilot("coding-mentor", 3, settings=settings)
    text = open_store().read(result.path.replace(".json", ".md"))
    assert "Krippendorff's alpha" in text
    assert "| scripted/0.5 and scripted/judge |" in text
    (sheet,) = data_root.glob("reviews/*/sheet.csv")
    assert str(sheet) in result.summary["sheet"]
    filled = sheet.read_text(encoding="utf-8").replace(",,", ",YES,")
    sheet.write_text(filled, encoding="utf-8")
    assert (await pilot("coding-mentor", 3, settings=settings)).path == result.path  # nothing changed: the same round
    assert sheet.read_text(encoding="utf-8") == filled


async def test_a_brief_that_contradicts_itself_is_refused_before_anything_is_drafted(tmp_path, data_root, packs):
    path = tmp_path / "brief.md"
    path.write_text(f"{BRIEF}\nIt always gives the whole recipe. It never gives the whole recipe.", encoding="utf-8")
    settings = design_settings(tmp_path)
    with pytest.raises(DesignError, match="The brief contradicts itself"):
        await design(str(path), "home-cooking", settings)
    assert not list(data_root.glob("designs/*/config"))


async def test_findings_on_a_criterion_are_applied_and_a_revision_that_does_not_load_is_rejected(tmp_path, data_root, packs, brief, monkeypatch):
    def critical(request):
        what = str(request.inputs["what"])
        if what == "critique":
            (file,) = [name for name in CRITERIA if name.startswith("CO1-")]
            return json.dumps(
                {
                    "findings": [
                        {"file": f"criteria/{file}", "problem": "Wide.", "proposal": "Narrow."},
                        {"file": "criteria", "problem": "One lacks.", "proposal": "x"},
                    ]
                }
            )
        if what.startswith("the revision of criteria/"):
            text = (CHECKOUT / "prompts/coding-mentor" / what.removeprefix("the revision of ")).read_text(encoding="utf-8")
            spoilt = text.replace("category: ", "category: un") if len(request.messages) == 1 else f"{text}\nNarrower."
            count = request.messages[0].content.count("Wide.")
            return json.dumps({"decisions": [{"applied": True, "reason": "Right."}] * count, "text": spoilt})
        return designed(request)

    monkeypatch.setattr("core.scripted.chat.designed", critical)
    result = await design(brief, "home-cooking", design_settings(tmp_path), install=True)
    assert load_pack("home-cooking").rubric.criteria["CO1"].text.endswith("Narrower.")
    text = open_store().read(result.path)
    assert "For a person" in text


async def test_a_stopped_critique_continues_with_the_undecided_findings(tmp_path, data_root, packs, brief, monkeypatch):
    asked, broken = [], ["the revision of intended-use.md"]

    def critical(request):
        what = str(request.inputs["what"])
        asked.append(what)
        if what in broken:
            raise UnavailableError("The provider is down.")
        if what == "critique":
            return json.dumps({"findings": [{"file": file, "problem": "Wide.", "proposal": "Narrow."} for file in ("system.md", "intended-use.md")]})
        return designed(request)

    monkeypatch.setattr("core.scripted.chat.designed", critical)
    settings = design_settings(tmp_path)
    with pytest.raises(UnavailableError):
        await design(brief, "home-cooking", settings)
    broken.clear()
    before = len(asked)
    result = await design(brief, "home-cooking", settings)
    assert asked[before:] == ["the revision of intended-use.md"]
    assert result.summary["findings"] == "10, 2 applied"


async def test_a_design_stopped_between_a_file_and_its_decision_repeats_no_request(tmp_path, data_root, packs, brief, monkeypatch):
    asked, full, write = [], [True], Store.write_json

    def at_the_second_attempt(request):
        asked.append([message.content for message in request.messages])
        return designed(request) if len(request.messages) > 1 else "{}"

    def fill_up(store, name, value):
        if name.endswith("critique.json") and value and full:
            full.pop()
            raise StoreError("The disk is full.")
        return write(store, name, value)

    monkeypatch.setattr("core.scripted.chat.designed", at_the_second_attempt)
    monkeypatch.setattr(Store, "write_json", fill_up)
    settings = design_settings(tmp_path)
    with pytest.raises(StoreError):
        await design(brief, "home-cooking", settings)
    result = await design(brief, "home-cooking", settings)
    assert result.summary["findings"] == "5, 1 applied"
    assert len({str(one) for one in asked}) == len(asked)
    (system,) = data_root.glob("designs/*/prompts/*/system.md")
    assert system.read_text(encoding="utf-8").count("Answer in the language of the message.") == 1
    assert not list(data_root.glob("answers/*"))


async def test_an_existing_pack_is_reviewed_by_its_experts_and_not_changed(tmp_path, data_root):
    settings = design_settings(tmp_path)
    before = pack_files(CHECKOUT, "therapeutic-coaching")
    result = await critique("therapeutic-coaching", settings)
    text = open_store().read(result.path.replace(".json", ".md"))
    assert all(expert.name in text for expert in load_pack("therapeutic-coaching").experts)
    assert "no measure of real quality" in text
    assert pack_files(CHECKOUT, "therapeutic-coaching") == before
    made = next(data_root.glob("critiques/*.json")).stat().st_mtime_ns
    await critique("therapeutic-coaching", settings)
    assert next(data_root.glob("critiques/*.json")).stat().st_mtime_ns == made


async def test_conversations_of_pilots_are_never_trained_on(tmp_path, data_root):
    settings = write_settings(tmp_path)
    await pilot(conversations=1, settings=settings)
    await generation(conversations=6, first_seed=50, settings=settings)
    await assessment(settings=settings)
    made = await dataset(settings=settings)
    manifest = json.loads(open_store().read(f"{made.path}/manifest.json"))
    assert not any(entry["source_file"].startswith("pilots/") for entry in manifest["transcripts"])
    assert any(entry["reason"] == "of a pilot" for entry in manifest["left_out"])

"""Designing a pack: invalid drafts are requested again with the reason, finished files are kept, and each finding is decided."""

import json
import re
from pathlib import Path

import pytest
import yaml

from core.authoring.critique import pack_files, review_by_experts, revise
from core.authoring.design import Designer, check_brief, check_reading, design_texts, place_of
from core.authoring.draft import Draft, install_pack
from core.authoring.pack_check import review_pack
from core.authoring.pack_files import check_file, draft_pack
from core.errors import DamagedError, DesignError, PackError
from core.llm.chat import ChatRequest, Reply, Usage
from core.packs.pack import Experts, load_pack
from core.packs.places import PACKS_VARIABLE
from core.packs.prompts import shared_file
from core.scripted.designer import designed
from core.storage.store import Store
from core.yaml_files import load_yaml
from tests.conftest import CHECKOUT

BRIEF = "Home cooks write to a tutor about dishes that went wrong. " * 12


class Scribe:
    """The scripted designer, with spoilt answers for some files."""

    reference, caveat = "scribe/one", None

    def __init__(self, spoil=None):
        self.spoil, self.asked = spoil or {}, []

    async def complete(self, request):
        self.asked.append(request)
        what = str(request.inputs["what"])
        queue = self.spoil.get(what, [])
        text = queue.pop(0) if queue else designed(request)
        return Reply(text, "stop", Usage())


class Folder(dict[str, str]):
    """A draft in memory."""

    def read(self, name):
        if name.endswith("/criteria"):
            return "\n".join(text for key, text in self.items() if key.startswith(f"{name}/")) or None
        return self.get(name)

    def save(self, name, text):
        self[name] = text


def request_for(what):
    return ChatRequest("designer", "", (), 1000, 0, inputs={"what": what})


async def drafted(model, folder, attempts=3):
    await draft_pack(Designer(model, BRIEF, "home-cooking", attempts, 1000), "home-cooking", folder.read, folder.save)


@pytest.mark.slow
async def test_every_file_is_drafted_and_the_pack_is_complete(tmp_path):
    folder = Folder()
    await drafted(Scribe(), folder)
    for name, text in folder.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert review_pack(load_pack("home-cooking", tmp_path)) == []
    assert {place_of(file, "home-cooking") for file in design_texts().files if file != "criteria"} <= folder.keys()


async def test_a_draft_that_does_not_load_is_requested_again_with_the_loaders_message():
    scribe = Scribe({"rubric.yaml": [json.dumps({"text": "pass_at: 0.8\ncategories: {a: 0.5, b: 0.4}\n"}), "[" * 100_000]})
    folder = Folder()
    await drafted(scribe, folder)
    asked = [request for request in scribe.asked if request.inputs["what"] == "rubric.yaml"]
    assert len(asked) == 3
    assert "0.9" in asked[1].messages[-1].content  # what the weights add up to
    assert "The loader refuses that" in asked[2].messages[-1].content
    assert len({request.seed for request in asked}) == 3


async def test_a_file_that_stays_invalid_is_reported_and_finished_drafts_are_kept():
    bad = json.dumps({"text": "topics: {}"})
    scribe = Scribe({"flaw-taxonomy.yaml": [bad] * 9})
    folder = Folder()
    with pytest.raises(DesignError, match=r"flaw-taxonomy\.yaml was still invalid after 3 attempts"):
        await drafted(scribe, folder)
    assert place_of("input-taxonomy.yaml", "home-cooking") in folder
    before = len(scribe.asked)
    scribe.spoil.clear()
    await drafted(scribe, folder)
    again = [request.inputs["what"] for request in scribe.asked[before:]]
    assert "input-taxonomy.yaml" not in again
    assert again[0] == "flaw-taxonomy.yaml"


async def test_criteria_without_a_gate_or_for_an_unknown_category_are_refused():
    good = json.loads(designed(request_for("criteria")))["criteria"]
    no_gate = json.dumps({"criteria": [item for item in good if not item["gate"]]})
    astray = json.dumps({"criteria": [item | {"category": "nowhere"} if not item["gate"] else item for item in good]})
    scribe = Scribe({"criteria": [no_gate, astray]})
    await drafted(scribe, Folder())
    asked = [request for request in scribe.asked if request.inputs["what"] == "criteria"]
    assert "no criterion is a gate" in asked[1].messages[-1].content
    assert "nowhere" in asked[2].messages[-1].content


async def test_drafted_episodes_must_cover_exactly_the_clauses_of_the_gates():
    good = json.loads(designed(request_for("episodes.yaml")))["text"]
    astray, idle = (json.dumps({"text": good.replace("GA1.exam", clause)}) for clause in ("GA1.chess", "GA1.counts"))
    scribe = Scribe({"episodes.yaml": [astray, idle]})
    folder = Folder()
    await drafted(scribe, folder)
    asked = [request for request in scribe.asked if request.inputs["what"] == "episodes.yaml"]
    assert "GA1.chess" in asked[1].messages[-1].content
    assert "no episode exercises GA1.exam" in asked[2].messages[-1].content
    assert folder[place_of("episodes.yaml", "home-cooking")].strip() == good.strip()


async def test_a_gate_without_clauses_is_requested_again():
    good = json.loads(designed(request_for("criteria")))["criteria"]
    scribe = Scribe({"criteria": [json.dumps({"criteria": [item | {"clauses": []} for item in good]})]})
    await drafted(scribe, Folder())
    asked = [request for request in scribe.asked if request.inputs["what"] == "criteria"]
    assert "has no clauses" in asked[1].messages[-1].content


OUTWARD = ["/../../../prompts/shared/no_system", "../x", "a/b", "..", "", "A", "a b", "a.md", "a\\b", "a\n", "a\0", "é", "x" * 61, "-", 3, None, ["a"]]


@pytest.mark.parametrize(("field", "value"), [*(("slug", value) for value in OUTWARD), ("id", "../GT1"), ("id", "GT1/../x"), ("id", "GT1\n"), ("id", 1)])
async def test_a_criterion_named_by_a_model_cannot_write_outside_the_pack(field, value):
    good = json.loads(designed(request_for("criteria")))["criteria"]
    scribe, folder = Scribe({"criteria": [json.dumps({"criteria": [good[0] | {field: value}, *good[1:]]})]}), Folder()
    await drafted(scribe, folder)
    assert len([request for request in scribe.asked if request.inputs["what"] == "criteria"]) == 2
    assert all(re.fullmatch(r"(config/domains|prompts)/home-cooking/(criteria/[A-Z]+[0-9]+-[a-z0-9-]+|[a-z_-]+)\.[a-z]+", name) for name in folder)


SYSTEM = "---\ninputs: []\n---\nYou are a tutor."
EXPERTS = load_pack("coding-mentor").experts


def designer(scribe, attempts=2):
    return Designer(scribe, BRIEF, "home-cooking", attempts, 1000)


async def test_each_expert_reviews_and_each_finding_gets_a_reasoned_decision():
    files = {"system.md": SYSTEM}
    scribe = Scribe()
    found = await review_by_experts(designer(scribe), files, EXPERTS, {}, lambda: None)
    assert [finding.expert for finding in found] == [expert.name for expert in EXPERTS]
    assert all(expert.view in request.messages[0].content for expert, request in zip(EXPERTS, scribe.asked, strict=True))
    assert len({request.system for request in scribe.asked}) == 1  # the files, which a provider's cache then holds
    assert "You are a tutor." in scribe.asked[0].system
    text, decided = await revise(designer(scribe), "system.md", files["system.md"], found, lambda text: check_file("system.md", text))
    assert text.startswith(files["system.md"])
    assert [item.applied for item in decided] == [True, False, False, False, False]
    assert all(item.reason for item in decided)


@pytest.mark.parametrize("damaged", ["[", "{}", '[["system"]]', "[" * 100_000])
async def test_a_damaged_stored_answer_is_reported_and_not_requested_again(damaged):
    scribe = Scribe()
    folder = Folder()
    await drafted(scribe, folder)
    place = "prompts/home-cooking/criteria.json"
    folder[place], before = damaged, len(scribe.asked)
    folder.pop("prompts/home-cooking/criteria.done")
    with pytest.raises(DamagedError, match=r"criteria\.json of the draft is damaged"):
        await drafted(scribe, folder)
    assert len(scribe.asked) == before


@pytest.mark.parametrize("moves", range(4))
def test_repeating_a_killed_installation_keeps_a_backup_of_the_whole_old_pack(tmp_path, monkeypatch, moves):
    monkeypatch.setenv(PACKS_VARIABLE, str(tmp_path / "packs"))
    places = ("config/domains/home-cooking/rubric.yaml", "prompts/home-cooking/system.md")
    old, new = (Draft("home-cooking", "A brief.", f"designs/{name}", Store(str(tmp_path))) for name in ("old", "new"))
    for draft in (old, new):
        for place in places:
            draft.save(place, f"{draft.folder}, {place}")
    install_pack(old)
    rename, done = Path.rename, []

    def rename_until_killed(path, target):
        if len(done) == moves:
            raise KeyboardInterrupt
        done.append(target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", rename_until_killed)
    with pytest.raises(KeyboardInterrupt):
        install_pack(new)
    monkeypatch.setattr(Path, "rename", rename)
    install_pack(new)
    for place in places:
        there = tmp_path / "packs" / place
        assert there.read_text() == f"designs/new, {place}"
        assert (there.parent.with_name(".home-cooking.before") / there.name).read_text() == f"designs/old, {place}"


async def test_an_invalid_review_is_requested_again_and_finished_reviews_are_kept():
    scribe, kept, saved = Scribe({"critique": ["no json", json.dumps({"findings": [{"file": "system.md"}]})]}), {}, []
    with pytest.raises(DesignError, match="critique was still invalid after 2 attempts"):
        await review_by_experts(designer(scribe), {"system.md": SYSTEM}, EXPERTS, kept, lambda: saved.append(len(kept)))
    assert saved == []
    scribe.spoil["critique"] = [designed(request_for("critique")), "no json", "no json"]
    with pytest.raises(DesignError):
        await review_by_experts(designer(scribe), {"system.md": SYSTEM}, EXPERTS, kept, lambda: saved.append(len(kept)))
    assert saved == [1]
    before = len(scribe.asked)
    assert len(await review_by_experts(designer(scribe), {"system.md": SYSTEM}, EXPERTS, kept, lambda: saved.append(len(kept)))) == 5
    assert len(scribe.asked) - before == 4
    assert saved == [1, 2, 3, 4, 5]


async def test_criteria_are_not_drafted_again_after_a_stop_between_two_files():
    scribe, folder = Scribe(), Folder()
    await drafted(scribe, folder)
    first = sorted(name for name in folder if "/criteria/" in name)
    for name in [*first[7:], "prompts/home-cooking/criteria.done"]:
        del folder[name]
    before = len(scribe.asked)
    await drafted(scribe, folder)
    assert sorted(name for name in folder if "/criteria/" in name) == first
    assert len(scribe.asked) == before


async def test_a_revision_that_leaves_a_finding_undecided_is_requested_again():
    scribe = Scribe({"the revision of system.md": [json.dumps({"decisions": [], "text": "---\ninputs: []\n---\nx"})]})
    found = await review_by_experts(designer(Scribe()), {"system.md": "x"}, EXPERTS, {}, lambda: None)
    _, decided = await revise(designer(scribe), "system.md", "---\ninputs: []\n---\nx", found, lambda text: check_file("system.md", text))
    assert len(decided) == len(found)


async def test_a_brief_that_contradicts_itself_is_refused_with_both_passages():
    asked = Designer(Scribe(), f"{BRIEF} It always gives the whole recipe. It never gives the whole recipe.", "home-cooking", 2, 1000)
    reading = await asked.read_brief()
    with pytest.raises(DesignError, match=r"“always gives the whole recipe” against “never gives the whole recipe”"):
        check_reading(reading)
    check_reading(await Designer(Scribe(), BRIEF, "home-cooking", 2, 1000).read_brief())


async def test_a_flaw_that_excludes_an_unknown_topic_is_requested_again():
    spoilt = yaml.safe_load((CHECKOUT / "config/domains/coding-mentor/flaw-taxonomy.yaml").read_text(encoding="utf-8"))
    spoilt["categories"]["leaving_out"]["half_the_facts"]["not_with"] = {"nowhere": ["x"]}
    scribe = Scribe({"flaw-taxonomy.yaml": [json.dumps({"text": yaml.safe_dump(spoilt)})]})
    await drafted(scribe, Folder())
    asked = [request for request in scribe.asked if request.inputs["what"] == "flaw-taxonomy.yaml"]
    assert "nowhere" in asked[1].messages[-1].content


@pytest.mark.parametrize("domain", ["coding-mentor", "therapeutic-coaching"])
def test_each_shipped_pack_has_its_own_experts_who_read_all_its_files(domain):
    own = load_pack(domain).experts
    assert own != load_yaml(shared_file("experts.yaml"), Experts, PackError).experts
    assert len(own) == 5
    files = pack_files(CHECKOUT, domain)
    assert {"system.md", "rubric.yaml", "input-taxonomy.yaml"} <= files.keys()
    assert sum(name.startswith("criteria/") for name in files) == len(load_pack(domain).rubric.criteria)


def test_a_brief_that_is_too_short_is_refused():
    for brief in ("", "  \n", "A tutor for cooks."):
        with pytest.raises(DesignError, match="at least 80 are needed"):
            check_brief(brief)
    assert check_brief(BRIEF)


def test_drafted_files_are_checked_like_those_of_a_pack():
    with pytest.raises(PackError, match="named twice"):
        check_file("experts.yaml", "experts:\n- {name: a cook, view: You taste.}\n- {name: a cook, view: You weigh.}\n")
    with pytest.raises(PackError):
        check_file("input-taxonomy.yaml", "topics: [")
    with pytest.raises(PackError, match="`inputs` and not used: persona"):
        check_file("assistant.md", "---\ninputs: [persona]\n---\nHello.")
    check_file("intended-use.md", "For cooks.")

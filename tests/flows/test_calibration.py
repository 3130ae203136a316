"""Calibration of judges against a golden set, through two providers' SDKs and a loopback server: stopped, resumed and compared."""

import json
import shutil
import signal
from collections import Counter

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter

from core.errors import BudgetError, PackError, SettingsError
from core.evaluation.report import evaluation_markdown
from core.judging.calibration import Calibration, latest_calibration, measured_judges, measured_sentence
from core.llm.bills import read_entries
from core.packs.pack import load_pack
from core.storage.store import open_store
from flows.assessment import assessment
from flows.calibration import calibration
from flows.terminal.check_models import ask_models
from tests.conftest import CHECKOUT
from tests.core.evaluated import facts_of, usual
from tests.core.golden_sets import golden_file
from tests.flows.conftest import write_settings
from tests.flows.secured import until

DOMAIN = "bicycle-workshop"
JUDGES = ["anthropic/claude-haiku-5-5", "openai/gpt-6-luna"]
BOTH = ",".join(JUDGES)


@pytest.fixture
def stub(provider, monkeypatch):
    provider.set(faults=[], latency_s=0, send_limit_headers=True)
    provider.reset()
    monkeypatch.setenv("ANTHROPIC_API_KEY", "good")
    monkeypatch.setenv("OPENAI_API_KEY", "good")
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(CHECKOUT / "tests/packs"))
    return provider


def write_golden(folder, **files):
    folder.mkdir(exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(json.dumps(content), encoding="utf-8")
    return str(folder)


@pytest.fixture
def folder(tmp_path, stub):
    pack = load_pack(DOMAIN)
    files = {f"sound{n}": golden_file(pack, f"sound{n}", held_out=n == 0) for n in range(3)}
    files |= {f"unsafe{n}": golden_file(pack, f"unsafe{n}", WS5="NO", lapses=(2,)) for n in range(3)}
    return write_golden(tmp_path / "own", **files)


def settings_of(tmp_path, stub, **more):
    addresses = {"anthropic": stub.url, "openai": f"{stub.url}/v1"}
    models = {name: {"concurrency": 4, "options": {"base_url": url}} for name, url in addresses.items()}
    how = {"judging": {"mode": "single", "shuffle": True, "confirm_gates": "never"}} | more.pop("assessment", {})
    return write_settings(tmp_path, models=models, assessment=how, **({"budget": {"usd": 5}} | more))


def called(stub):
    return sum(stats["calls"] for stats in stub.stats().values())


def latest(judge, mode="single"):
    found = latest_calibration(open_store(), DOMAIN, judge, mode)
    assert found is not None
    return found


async def test_two_judges_are_measured_in_two_modes_and_the_same_command_pays_for_nothing_again(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub)
    made = await calibration(DOMAIN, BOTH, "single,criterion", golden=folder, settings=settings)
    paid = called(stub)
    assert paid == 2 * 6 * (1 + 5)
    assert [name for name in made.summary if name.endswith(")")] == [f"{judge} ({mode})" for mode in ("single", "criterion") for judge in JUDGES]
    for judge in JUDGES:
        one = latest(judge)
        assert len(one.conversations) == one.figures.gates.tpr.n + one.figures.gates.tnr.n == 6
        assert one.spent.replies == 6
        assert latest(judge, "criterion").spent.replies == 30
        assert one.spent.usd > 0
        assert one.spent.tokens > 0
        assert one.reported
        assert one.repeat == 1
    again = await calibration(DOMAIN, BOTH, "single,criterion", golden=folder, settings=settings)
    assert called(stub) == paid
    assert again == made
    # another run finds what this one paid for, and pays for the rest alone
    await calibration(DOMAIN, JUDGES[0], "single", repeat=3, golden=folder, settings=settings)
    assert called(stub) == paid + 2 * 6
    assert latest(JUDGES[0]).figures.flips is not None
    assert latest(JUDGES[0]).before is not None
    # what was judged here is no conversation of the domain: nobody trains on it
    assert not list(data_root.glob("transcripts/**/*.json"))


async def test_the_page_shows_each_disagreement_with_its_reasons_and_the_conversation(tmp_path, data_root, stub, folder):
    made = await calibration(DOMAIN, BOTH, golden=folder, settings=settings_of(tmp_path, stub))
    page, report = (open_store().read(made.path.replace("report.html", name)) for name in ("report.html", "report.md"))
    wrong = {judge: latest(judge).figures.wrong for judge in JUDGES}
    assert any(wrong.values())
    for judge, conversations in wrong.items():
        listed = report.partition(f"### {judge} (single): ")[2].partition("###")[0]
        for conversation, answers in conversations.items():
            for criterion, answer in answers.items():
                golden = "NO" if criterion == "WS5" and conversation.startswith("unsafe") else "YES"
                assert f"[{conversation}](#t={conversation}), **{criterion}**: golden {golden}, judge {answer}" in listed
            assert f'href="#t={conversation}"' in page
    assert all(f"Message 3 of {name}." in page for name in ("sound0", "unsafe2"))
    assert "WS5 of unsafe1 says why." in page
    assert all(expected in report for expected in (f"{JUDGES[0]} + {JUDGES[1]} (single), as a panel", "held-out conversations: gates", "| WS5 "))
    assert "of the failures, the share that the judge found" in report
    async with get_client() as client:
        found = await client.read_artifacts(artifact_filter=ArtifactFilter.model_validate({"key": {"like_": f"%{DOMAIN}"}}))
    keys = {item.key for item in found}
    assert {f"calibration-{DOMAIN}", f"judges-{DOMAIN}"} <= keys


async def test_a_spent_budget_keeps_the_answers_but_stores_no_calibration(tmp_path, data_root, stub, folder):
    small = settings_of(tmp_path, stub, budget={"usd": None, "tokens": 30_000}, assessment={"concurrency": 1})
    with pytest.raises(BudgetError, match="Budget reached"):
        await calibration(DOMAIN, JUDGES[0], repeat=2, golden=folder, settings=small)
    paid = called(stub)
    assert 0 < paid < 6
    (report,) = data_root.glob("reports/calibration-*/report.md")
    assert f"unfinished: {paid} of 6 conversations" in report.read_text(encoding="utf-8")
    assert latest_calibration(open_store(), DOMAIN, JUDGES[0], "single") is None
    large = settings_of(tmp_path, stub, budget={"usd": None, "tokens": 10_000_000}, assessment={"concurrency": 1})
    await calibration(DOMAIN, JUDGES[0], repeat=2, golden=folder, settings=large)
    assert called(stub) == 12
    assert latest(JUDGES[0]).spent.replies == 6


def test_a_killed_run_resumes_and_pays_for_no_verdict_twice(tmp_path, data_root, stub, folder, command):
    stub.set(latency_s=0.4)
    words = ("calibrate", f"--domain={DOMAIN}", f"--judges={BOTH}", "--mode=criterion", f"--golden={folder}", f"--settings={settings_of(tmp_path, stub)}")
    process = command(*words)
    until(lambda: called(stub) > 15)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    stub.set(latency_s=0)
    again = command(*words)
    output = again.communicate(timeout=180)[0]
    assert again.returncode == 0, output
    paid = [entry for place in data_root.glob("ledger/*") for entry in read_entries(open_store(), place.name) if entry["outcome"] == "ok"]
    for judge in JUDGES:
        assert latest(judge, "criterion").spent.conversations == 6
    each = Counter((entry["model"], entry["item"]) for entry in paid)
    assert set(each.values()) == {5}  # five criteria of a conversation, once
    assert len(each) == 2 * 6
    assert not list(data_root.glob("judgements/*"))


async def test_after_a_change_of_prompts_the_calibration_names_what_got_worse(tmp_path, data_root, stub, folder, monkeypatch):
    packs = tmp_path / "packs"
    shutil.copytree(CHECKOUT / "tests/packs", packs)
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(packs))
    settings, pack = write_settings(tmp_path), load_pack(DOMAIN)
    write_golden(tmp_path / "own", worried=golden_file(pack, "worried", user="I am worried"), heard=golden_file(pack, "heard", user="I am worried", WS4="NO"))
    await calibration(DOMAIN, "scripted/judge", golden=folder, settings=settings)
    before = latest("scripted/judge")
    judging = before.judging
    assert f"(single) was measured on {before.day}: gates TPR" in measured_sentence(open_store(), pack, "scripted/judge", judging)
    phrases = packs / f"config/domains/{DOMAIN}/scripted.yaml"
    phrases.write_text(phrases.read_text(encoding="utf-8").replace("WS4: {measure: validated, at_least: 0.5}", "WS4: {measure: validated, at_least: 0}"))
    changed = load_pack(DOMAIN)
    assert f"measured on {before.day} under other prompts" in measured_sentence(open_store(), changed, "scripted/judge", judging)
    made = await calibration(DOMAIN, "scripted/judge", golden=folder, settings=settings)
    assert made.summary["scripted/judge (single), compared"] == (
        f"since {before.day}: WS4 TPR 1.00 -> 0.00, TNR 0.86 -> 1.00 (2 conversations: heard, worried); the prompts changed"
    )
    assert "WS4" in before.figures.wrong["worried"]
    assert "WS4" in latest("scripted/judge").figures.wrong["heard"]


async def test_reports_and_the_model_check_quote_the_judge_s_calibration(tmp_path, data_root, stub, folder):
    chats, settings = tmp_path / "chats", write_settings(tmp_path)
    chats.mkdir()
    (chats / "one.json").write_text(json.dumps({"id": "one", "exchanges": [{"user": "My chain slips.", "assistant": "It may be worn."}] * 2}), encoding="utf-8")

    async def report():
        batch = await assessment(DOMAIN, str(chats), settings=settings)
        return open_store().read(batch.replace("batches/", "reports/").replace(".json", "/report.md"))

    never = "scripted/judge was never measured against the golden set"
    assert never in await report()
    assert never in ask_models(DOMAIN, settings).text
    await calibration(DOMAIN, "scripted/judge", golden=folder, settings=settings)
    sentence = f"scripted/judge (single) was measured on {latest('scripted/judge').day}: gates TPR"
    assert sentence in await report()
    assert sentence in ask_models(DOMAIN, settings).text
    assert "over 6 golden conversations." in evaluation_markdown(
        facts_of(usual(), measured=measured_judges(open_store(), load_pack(DOMAIN), ["scripted/judge"]))
    )


async def test_input_that_cannot_be_measured_is_reported_before_any_call(tmp_path, data_root, stub, folder, command):
    settings = settings_of(tmp_path, stub)
    with pytest.raises(PackError, match="has no golden conversation"):
        await calibration(DOMAIN, BOTH, settings=settings)
    with pytest.raises(SettingsError, match="Did you mean 'single'"):
        await calibration(DOMAIN, BOTH, "singel", golden=folder, settings=settings)
    with pytest.raises(SettingsError, match="names openai/gpt-6-luna more than once"):
        await calibration(DOMAIN, f"{JUDGES[1]},{JUDGES[1]}", golden=folder, settings=settings)
    process = command("calibrate", f"--domain={DOMAIN}", f"--golden={tmp_path}/none", f"--settings={settings}")
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 2, output
    assert "/none has no golden conversation" in output
    assert called(stub) == 0


async def test_an_unusable_answer_is_counted_and_requested_again_in_the_next_run(tmp_path, data_root, stub, folder):
    settings = settings_of(tmp_path, stub, calls={"unusable_answers": 2})
    stub.set(faults=[{"when": {"contains": "of unsafe1"}, "fault": {"kind": "invalid"}}])
    await calibration(DOMAIN, JUDGES[0], golden=folder, settings=settings)
    one = latest(JUDGES[0])
    assert one.figures.gates.lost == (1, 0)
    assert one.spent.again == 2
    assert one.figures.errors.value == pytest.approx(5 / 30)
    stub.set(faults=[])
    await calibration(DOMAIN, JUDGES[0], golden=folder, settings=settings)
    assert latest(JUDGES[0]).figures.gates.lost == (0, 0)
    assert Calibration.model_validate_json(open_store().read(latest(JUDGES[0]).before or "")).figures.gates.lost == (1, 0)

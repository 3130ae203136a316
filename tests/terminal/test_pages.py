"""The generated pages of the docs match the current settings, and the shipped numbers agree."""

import errno
import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from huggingface_hub import DatasetCard

from core.errors import PackError, SettingsError, TranscriptError
from core.llm.families import family
from core.settings.pipeline import load_settings, load_training
from flows.terminal.audit import audit
from flows.terminal.configuration import PAGE, configuration_page, undescribed
from flows.terminal.costs import costs
from flows.terminal.domain_packs import rubric
from flows.terminal.golden_set import golden_set
from flows.terminal.power import power
from tests.conftest import CHECKOUT


@pytest.fixture(scope="module")
def settings():
    return load_settings()


@pytest.fixture(scope="module")
def shipped():
    """The costs of the shipped settings."""
    return costs()


def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    page, link = tmp_path / "page.md", tmp_path / "link.md"
    page.write_text("my own words")
    link.symlink_to(page)
    with monkeypatch.context() as full:
        full.setattr("os.fsync", Mock(side_effect=OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(OSError, match="No space left"):
            rubric(to=link)
    assert page.read_text() == "my own words"
    assert sorted(tmp_path.iterdir()) == [link, page]
    rubric(to=link)
    assert link.is_symlink()
    assert page.read_text() == rubric().data["page"]
    reader, writer = os.pipe()
    rubric(to=Path(f"/dev/fd/{writer}"))
    assert os.read(reader, 10) == page.read_bytes()[:10]
    os.close(reader)
    os.close(writer)
    with pytest.raises(FileNotFoundError):
        rubric(to=tmp_path / "missing/page.md")


def test_every_setting_has_a_description():
    assert [row.name for row in undescribed()] == []


def test_the_configuration_page_is_up_to_date():
    assert (CHECKOUT / PAGE).read_text(encoding="utf-8") == configuration_page(), "run make configuration"


def test_the_costs_page_is_up_to_date(shipped):
    assert (CHECKOUT / "docs/costs.md").read_text(encoding="utf-8") == shipped.data["page"]


@pytest.mark.parametrize("card", sorted((CHECKOUT / "config/domains").glob("*/recorded")), ids=lambda folder: folder.parent.name)
def test_the_recorded_conversations_card_is_up_to_date(card):
    domain = card.parent.name
    command = f"understudy audit --domain {domain} --to config/domains/{domain}/recorded/README.md"
    assert (card / "README.md").read_text(encoding="utf-8") == audit(domain=domain).data["page"], command
    assert DatasetCard.load(card / "README.md").data.to_dict()["license"] == "apache-2.0"


@pytest.mark.parametrize("card", sorted((CHECKOUT / "config/domains").glob("*/golden")), ids=lambda folder: folder.parent.name)
def test_the_card_of_a_golden_set_is_up_to_date(card):
    domain = card.parent.name
    command = f"understudy golden-set --domain {domain} --to config/domains/{domain}/golden/README.md"
    assert (card / "README.md").read_text(encoding="utf-8") == golden_set(domain=domain).data["page"], command


def test_the_ship_chance_table_of_the_evaluation_page_is_up_to_date():
    table = [line for line in power().text.splitlines() if line.startswith("|")]
    assert "\n".join(table) in (CHECKOUT / "docs/evaluation.md").read_text(encoding="utf-8"), "run make power"


def test_a_ship_chance_picture_can_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr("flows.terminal.power.SIMULATED", ())
    text = power(personas=2, trials=1, to=tmp_path / "ship.svg").text
    assert text.endswith(f"Written: {tmp_path / 'ship.svg'}")
    assert "a rare one with 0.0 % of personas" not in text  # two personas do not say how rare an occasion is
    assert (tmp_path / "ship.svg").read_text(encoding="utf-8").startswith("<svg")


def test_a_pack_without_a_golden_set_is_reported(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(CHECKOUT / "tests/packs"))
    with pytest.raises(PackError, match="'bicycle-workshop' has no golden set"):
        golden_set(domain="bicycle-workshop")


def test_a_folder_is_audited_as_a_whole(tmp_path):
    for name, words in (("one", "I slept badly again. " * 9), ("again", "I slept badly again. " * 9), ("other", "My sister rang at night and shouted. " * 9)):
        talk = {"id": name, "exchanges": [{"user": f"{words} {number}", "assistant": f"{words} And then? {number}"} for number in range(3)]}
        (tmp_path / f"{name}.json").write_text(json.dumps(talk), encoding="utf-8")
    found = audit(str(tmp_path))
    assert found.data["transcripts"] == 3
    assert {found.data["duplicates"][0].dropped, found.data["duplicates"][0].kept} == {"one", "again"}
    assert "Near-duplicates (at least 60 % of the shorter one's exchanges match another's, Jaccard 0.70): " in found.text
    assert "Openers: 2 different ones in 9 answers" in found.text
    assert not found.text.startswith("---")  # no card of the Hub's


def test_a_pack_without_recorded_conversations_is_reported(monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_PACKS", str(CHECKOUT / "tests/packs"))
    with pytest.raises(TranscriptError, match="'bicycle-workshop' has no recorded conversations"):
        audit(domain="bicycle-workshop")


@pytest.mark.parametrize("sizes", ["ten", "0", "10,,20", "-5"])
def test_sizes_that_are_not_numbers_are_refused(sizes):
    with pytest.raises(SettingsError, match="numbers of transcripts"):
        costs(sizes=sizes)


@pytest.mark.parametrize("domain", ["therapeutic-coaching", "coding-mentor"])
def test_the_shipped_budgets_pay_for_the_shipped_numbers_and_a_tenth_more(settings, domain):
    nightly = settings.nightly
    run, night = costs(domain, sizes=f"{settings.generation.conversations},{nightly.conversations}").data["runs"]
    assert 1.1 * run.usd() <= settings.budget.usd
    made, judged = night.usd("generation"), night.usd("assessment")
    assert 1.1 * made <= (1 - nightly.for_judging) * nightly.budget.usd
    assert 1.1 * (made + judged) <= nightly.budget.usd


def test_the_costs_begin_with_totals_and_name_the_sizes_that_the_budget_does_not_cover(settings, shipped):
    lines = shipped.text.splitlines()
    assert lines[2].split() == ["conversations", *(f"{number:,}" for number in sorted({10, 150, 1000, settings.generation.conversations}))]
    assert lines[3].split()[0] == "total"
    beyond = [f"{total['transcripts']:,}" for total in shipped.data["totals"] if total["usd"] > settings.budget.usd]
    assert beyond[-1] == "1,000"
    assert f"budget.usd is {settings.budget.usd:g}. Not enough for {', '.join(beyond)} conversations." in lines
    for total in shipped.data["totals"]:
        assert total["usd"] == pytest.approx(sum(total["by_stage"].values()))


def test_the_shipped_judges_are_of_two_families_other_than_the_writers(settings):
    roles = settings.roles
    writers = {family(name) for name in (roles.user_simulator, roles.assistant, roles.repairer)}
    judges = [family(name) for name in roles.judges]
    assert len(judges) == len(set(judges)) == 2
    assert None not in judges
    assert not writers & set(judges)


def test_the_demo_truncates_no_reply_of_a_long_conversation():
    demo = load_training(load_settings("config/demo.yaml").training)
    shipped = load_training("smollm2-135m")
    assert demo.learn == "each_reply_once"  # whose windows leave no reply out
    assert demo.train == shipped.train | {"epochs": demo.train["epochs"]}


def test_two_judges_are_priced_together_and_each_alone(settings, shipped):
    for name in settings.roles.judges:
        row = next(line.split() for line in shipped.text.splitlines() if line.split()[:2] == [name, "alone"])
        assert float(row[2]) < shipped.data["totals"][0]["usd"]
        assert f"{name} as the only judge: {row[2]} USD" in shipped.data["page"]

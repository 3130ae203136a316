"""The evaluation page in a browser: readable without scripts, filtered with them, on a phone and in dark mode."""

from dataclasses import replace

import pytest

from core.evaluation.page import evaluation_page
from tests.core.arms import evaluation, lost
from tests.core.evaluated import facts_of


@pytest.fixture(scope="module")
def page_html():
    played = evaluation(base=[[0.5, 0.9]] * 6, understudy=[[0.7 + number / 50, 0.7] for number in range(6)])
    played[0] = lost(played[0], "the provider was down")
    return evaluation_page(facts_of(played))


def shown(page):
    return page.locator(".pair:visible").count()


def long_winded(transcript):
    return transcript.model_copy(update={"exchanges": [one.model_copy(update={"assistant": "Well. " * 200}) for one in transcript.exchanges]})


def test_each_filter_shows_only_matching_conversations(opened, page_html):
    page = opened(page_html)
    assert page.locator("#count").inner_text() == "12 of 12"
    page.select_option("[name=which]", "better")
    assert shown(page) == 5
    page.select_option("[name=which]", "worse")
    assert shown(page) == 6
    page.select_option("[name=which]", "lost")
    assert shown(page) == 1
    page.select_option("[name=which]", "")
    page.fill("[name=text]", "I am 9003")
    assert shown(page) == 2
    page.get_by_role("button", name="open all shown").click()
    assert page.locator(".pair[open]").count() == 2


def test_a_link_to_a_conversation_opens_it(opened, page_html):
    page = opened(page_html, "#p9002-t1")
    assert page.locator("#p9002-t1[open]").is_visible()
    assert page.locator(".pair[open]").count() == 1


def test_a_link_to_a_filtered_conversation_shows_it_and_updates_the_count(opened, page_html):
    page = opened(page_html)
    page.select_option("[name=which]", "lost")
    page.evaluate("location.hash = '#p9004-t0'")
    page.locator("#p9004-t0[open]").wait_for(state="visible")
    assert page.locator("#count").inner_text() == f"{shown(page)} of 12"


def test_keys_continue_from_a_linked_conversation(opened, page_html):
    page = opened(page_html, "#p9003-t1")
    page.keyboard.press("j")
    assert page.locator("#p9004-t0[open]").is_visible()


def test_the_same_exchange_starts_at_the_same_height_in_all_arms(opened):
    facts = facts_of(evaluation(base=[0.5] * 3, understudy=[0.7] * 3))
    wordy = [replace(item, transcript=long_winded(item.transcript)) if item.arm == "base" else item for item in facts.conversations]
    page = opened(evaluation_page(replace(facts, conversations=wordy)), "#p9001-t0")
    sides = [page.locator(f"#p9001-t0 .side:nth-child({side}) .exchange").all() for side in (1, 2)]
    tops = [[exchange.bounding_box()["y"] for exchange in side] for side in sides]
    assert tops[0] == tops[1]
    assert tops[0][1] - tops[0][0] > 200


def test_keys_move_between_conversations(opened, page_html):
    page = opened(page_html)
    page.keyboard.press("j")
    page.keyboard.press("j")
    assert page.locator(".pair[open]").count() == 2
    page.fill("[name=text]", "jjj")
    assert page.locator("[name=text]").input_value() == "jjj"


def test_without_scripts_the_whole_page_is_readable(opened, page_html):
    page = opened(page_html, java_script_enabled=False)
    assert not page.locator("#filters").is_visible()
    assert (
        page.get_by_role("heading", name="Iterate")
        .or_(page.get_by_role("heading", name="Do not deploy"))
        .or_(page.get_by_role("heading", name="Ship"))
        .is_visible()
    )
    pair = page.locator("#p9003-t0")
    pair.locator("summary").first.click()
    assert pair.get_by_text("understudy hears 9003, 1.").is_visible()
    assert pair.get_by_text("base hears 9003, 1.").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_comparison_page_never_scrolls_sideways_on_a_phone(opened, page_html, scheme):
    page = opened(page_html, viewport={"width": 360, "height": 700}, color_scheme=scheme)
    page.get_by_role("button", name="open all shown").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= 360

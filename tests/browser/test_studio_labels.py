"""Labelling with the keyboard alone, in a real browser and a real studio."""

import time

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from core.judging.labels import labels_of
from core.storage.store import Store
from tests.core.judged import PACK
from tests.studio.judged_batch import DUE, sampled
from tests.studio.serving import served


@pytest.mark.parametrize("width", [1280, 390])
def test_a_person_labels_a_conversation_without_a_mouse(browser, tmp_path, width):
    store = Store(str(tmp_path))
    name = sampled(store, size=2)
    with served(store) as studio:
        context = browser.new_context(viewport={"width": width, "height": 800})
        page: Page = context.new_page()
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{studio}/labels/{name}")
        page.get_by_label("your name").focus()
        page.keyboard.type("Anna")
        page.keyboard.press("Enter")
        expect(page.locator(".criterion:visible")).to_have_count(1)
        expect(page.locator(".criterion:visible")).to_be_focused()
        page.keyboard.press("n")
        page.keyboard.press("k")
        page.keyboard.press("r")
        page.keyboard.type("nay: you")  # letters that are keys elsewhere
        page.keyboard.press("Escape")
        page.keyboard.press("j")
        page.keyboard.press("n")
        page.keyboard.press("u")
        for _ in DUE[1:]:
            page.keyboard.press("y")
        expect(page.locator("#count")).to_have_text(str(len(DUE)))
        assert Axe().run(page).response["violations"] == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.keyboard.press("Enter")
        expect(page).to_have_url(f"{studio}/labels/{name}/by/Anna/2")  # at once, while some answers are still under way
        until = time.monotonic() + 30
        while page.evaluate("localStorage.getItem('understudy-labels')") and time.monotonic() < until:
            page.wait_for_timeout(50)
        context.close()
    assert not complaints
    kept = labels_of(store, name, "Anna", PACK.rubric)
    (given,) = kept.answers.values()
    assert {key: answer.value for key, answer in given.items()} == {DUE[0]: "NO"} | dict.fromkeys(DUE[1:], "YES")
    assert list(kept.reasons.values()) == [{DUE[0]: "nay: you"}]


def test_an_answer_given_offline_is_kept(browser, tmp_path):
    store = Store(str(tmp_path))
    name = sampled(store, size=2)
    context = browser.new_context()
    with served(store) as studio:
        page: Page = context.new_page()
        page.goto(f"{studio}/labels/{name}/by/Anna/1")
        context.set_offline(True)
        page.keyboard.press("n")
        expect(page.locator("#kept")).to_contain_text("Not kept yet")
        page.keyboard.press("y")
        context.set_offline(False)
        expect(page.locator("#kept")).to_have_text("Kept.")
        page.reload()
        expect(page.locator("#count")).to_have_text("2")
    context.close()
    (given,) = labels_of(store, name, "Anna", PACK.rubric).answers.values()
    assert [answer.value for answer in given.values()] == ["NO", "YES"]

"""The studio in a real browser: desktop and phone, light and dark, keyboard only, and accessible."""

import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect

from core.rehearsal.turn_log import Turn, TurnLog
from core.storage.store import Store
from studio.app import build_app
from tests.core.judged import conversation, single
from tests.studio.kept import keep
from tests.studio.test_conversation import drawn

WAYS = [("desktop", {"width": 1280, "height": 800}, "light"), ("phone", {"width": 360, "height": 740}, "dark")]


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(str(tmp_path_factory.mktemp("studio") / "data"))


@pytest.fixture(scope="module")
def batch(store) -> str:
    hostile = conversation("hostile", user="<script>alert(1)</script> " + "x" * 3000, assistant="[x](javascript:alert(1)) \u202edlrow")
    TurnLog(store, "00001-talking").add(Turn(side="user", text="I slept badly."))
    return keep(store, [single(drawn(), {"MT1": "NO"}, {"MT1": [1, 2]}), single(hostile), single(conversation("third"), {"CQ9": "NO"}, {"CQ9": [2]})])


@pytest.fixture(scope="module")
def served(store) -> Iterator[str]:
    server = uvicorn.Server(uvicorn.Config(build_app(store), lifespan="off", log_level="error", timeout_graceful_shutdown=1))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def page(browser: Browser, served: str, batch: str) -> Iterator[Page]:
    opened = browser.new_page(base_url=served, viewport={"width": 1280, "height": 800})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))

    def asked(request: Request) -> None:
        if not request.url.startswith(served):
            complaints.append(request.url)

    opened.on("request", asked)
    opened.set_default_timeout(60_000)
    yield opened
    opened.close()
    assert not complaints


@pytest.mark.parametrize(("viewport", "scheme"), [way[1:] for way in WAYS], ids=[way[0] for way in WAYS])
def test_every_page_is_accessible(page, batch, viewport, scheme):
    page.set_viewport_size(viewport)
    page.emulate_media(color_scheme=scheme)
    said = "/conversations/transcripts/therapeutic-coaching"
    compared, axe = f"/compare?a={batch}&b={batch}", Axe()
    for address in (
        "/",
        "/live",
        "/live/00001-talking",
        f"/batches/{batch}?text=slept",
        f"{said}/rehearsed.json?batch={batch}",
        f"{said}/hostile.json",
        compared,
    ):
        page.goto(address)
        found = axe.run(page).response["violations"]
        assert [(item["id"], item["nodes"][0]["html"][:200]) for item in found] == [], address
        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"], address


def test_verdicts_and_their_citations_can_be_read_with_the_keyboard_alone(page, batch):
    page.goto(f"/batches/{batch}?order=id")
    page.keyboard.press("/")
    page.keyboard.type("message")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="1 of 3 conversations")).to_be_visible()
    page.goto(f"/conversations/transcripts/therapeutic-coaching/rehearsed.json?batch={batch}&order=id")
    page.locator("#verdict-MT1").focus()
    for number in (1, 2, 1):
        page.keyboard.press("n")
        expect(page.locator(f"#exchange-{number}")).to_be_in_viewport()
        assert page.evaluate("location.hash") == f"#exchange-{number}"
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.number") == "1"
    page.keyboard.press("j")
    expect(page.get_by_role("heading", level=1, name="third")).to_be_visible()


def test_a_running_conversation_is_shown_as_it_grows(page, store):
    page.goto("/live/00001-talking")
    expect(page.get_by_text("I slept badly.")).to_be_visible()
    TurnLog(store, "00001-talking").add(Turn(side="assistant", text="What kept you awake?"))
    expect(page.get_by_text("What kept you awake?")).to_be_visible()
    expect(page.locator("[data-live=facts]")).to_contain_text("exchange 1")

"""Chromium with pages opened from disk that may load nothing and must report no errors."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Dialog, Page, Request, sync_playwright

# The first is Chromium without its own windows and menus, which are pages too and take as much time as those of the tests.
PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--renderer-process-limit=1"]
"""One process draws all pages: one of its own for each takes longer to start than most tests take."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The machine's own Chromium."""
    program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(
            f"None of {', '.join(PROGRAMS)} is installed. Install one (Debian: apt-get install chromium-headless-shell) to test the pages in a browser."
        )
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", *QUIET])
        yield launched
        launched.close()


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Open HTML as a file. At the end of the test nothing else may have been asked for, and no script may have failed, complained or opened a dialog."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(html: str, address: str = "", **options: Any) -> Page:
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        settings: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}} | options
        context = browser.new_context(**settings)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()

        def asked(request: Request) -> None:
            if request.url.split("#")[0] != path.as_uri():
                complaints.append(f"request: {request.url}")

        def spoke(dialog: Dialog) -> None:
            complaints.append(f"dialog: {dialog.message}")
            dialog.dismiss()

        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("request", asked)
        page.on("dialog", spoke)
        page.goto(path.as_uri() + address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not complaints

"""Untrusted text as safe HTML: its Markdown is rendered without images, scripts or disguised links, and passages are marked."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup, escape

from core.terminal import CONTROLS

MAX_RENDERED = 20_000
"""Maximum characters of a message that is rendered; a longer one is shown as plain text, because some inputs slow Markdown parsers down."""
MIN_QUOTE = 12
"""Minimum characters of a quotation that is searched for; shorter ones are often common words."""
HIDDEN = "\N{REPLACEMENT CHARACTER}"
"""Stands in the place of a control character."""
WEB = re.compile(r"https?://[^/\s]", re.IGNORECASE)
QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]+)[\"”“»]|(?<!\w)[‘']([^‘’'\n]*(?:[’'](?=\w)[^‘’'\n]*)*)[’'](?!\w)")
"""Matches a quotation in double or in single quotation marks."""


def visible(text: str) -> str:
    """Return a text whose control characters, including marks of writing direction, are replaced by a visible character."""
    return CONTROLS.sub(HIDDEN, text.replace("\r\n", "\n"))


def rendered(text: str, marks: Sequence[str] = ()) -> Markup:
    """Return a message's Markdown as HTML. Only links to web pages work, images are not loaded, and HTML is shown as text.

    Args:
        text: the message.
        marks: words and passages that are marked wherever they occur.
    """
    return _rendered(text, tuple(sorted({mark for mark in marks if mark.strip()}, key=len, reverse=True)))


@lru_cache(maxsize=2000)
def _rendered(text: str, marks: tuple[str, ...]) -> Markup:
    safe, search = visible(text), _search(marks)
    if len(safe) > MAX_RENDERED:
        return Markup('<div class="as-written">{}</div>').format(marked(safe, marks))
    return Markup(_READER.render(safe, {"search": search}))


def marked(text: str, marks: Sequence[str]) -> Markup:
    """Return a text as HTML, with words and passages marked."""
    return _with_marks(visible(text), _search(tuple(marks)))


def quotes_of(text: str) -> list[str]:
    """Return the quotations in a text that are long enough to be searched for."""
    quotes = [double or single for double, single in QUOTED.findall(text)]
    return [quote.strip(" .,…") for quote in quotes if len(quote.strip(" .,…")) >= MIN_QUOTE]


def _search(marks: Iterable[str]) -> re.Pattern[str] | None:
    """Return a pattern that matches passages regardless of white space, apostrophes and capitals; None without passages."""
    parts = [re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(mark.strip())).replace("’", "'").replace("'", "['’]") for mark in marks if mark.strip()]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _with_marks(text: str, search: re.Pattern[str] | None) -> Markup:
    if search is None:
        return escape(text)
    html, at = Markup(), 0
    for match in search.finditer(text):
        html += escape(text[at : match.start()]) + Markup("<mark>{}</mark>").format(match[0])
        at = match.end()
    return html + escape(text[at:])


def _reader() -> MarkdownIt:
    reader = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"]).disable("image")
    reader.validateLink = lambda url: WEB.match(url) is not None
    renderer = RendererHTML()
    reader.renderer = renderer

    def text(tokens: Any, place: int, _options: Any, environment: Any) -> str:
        return str(_with_marks(tokens[place].content, environment.get("search")))

    def link(tokens: Any, place: int, options: Any, environment: Any) -> str:
        tokens[place].attrs |= {"target": "_blank", "rel": "noopener noreferrer nofollow"}
        return renderer.renderToken(tokens, place, options, environment)

    # a message's heading must not be a heading of the page
    rules: dict[str, Any] = {"text": text, "link_open": link, "heading_open": lambda *_: '<p class="heading">', "heading_close": lambda *_: "</p>\n"}
    renderer.rules = {**renderer.rules, **rules}
    return reader


_READER = _reader()

"""Strangers' words as HTML: their Markdown without anything that loads, runs or leads elsewhere unseen, and what is to be marked in them."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup, escape

from core.terminal import CONTROLS

LONGEST = 20_000
"""Characters of a message beyond which it is shown as it was written: a parser of Markdown has inputs that keep it busy."""
SHORTEST_QUOTE = 12
"""Characters of a quotation that is looked for: shorter ones are words of the language."""
HIDDEN = "\N{REPLACEMENT CHARACTER}"
WEB = re.compile(r"https?://[^/\s]", re.IGNORECASE)
QUOTED = re.compile(r"[\"“„«]([^\"“”„«»\n]+)[\"”“»]|(?<!\w)[‘']([^‘’'\n]*(?:[’'](?=\w)[^‘’'\n]*)*)[’'](?!\w)")


def visible(text: str) -> str:
    """Return a text in which controls, and marks that turn the direction of writing, are seen and not obeyed."""
    return CONTROLS.sub(HIDDEN, text.replace("\r\n", "\n"))


def rendered(text: str, marks: Sequence[str] = ()) -> Markup:
    """Return a message's Markdown as HTML: links lead to web pages alone and say so, images are not loaded, HTML is shown and not obeyed.

    Args:
        marks: words and passages that are marked where they stand.
    """
    return _rendered(text, tuple(sorted({mark for mark in marks if mark.strip()}, key=len, reverse=True)))


@lru_cache(maxsize=2000)
def _rendered(text: str, marks: tuple[str, ...]) -> Markup:
    shown, search = visible(text), _search(marks)
    if len(shown) > LONGEST:
        return Markup('<div class="as-written">{}</div>').format(marked(shown, marks))
    return Markup(_READER.render(shown, {"search": search}))


def marked(text: str, marks: Sequence[str]) -> Markup:
    """Return a text as HTML, with words and passages marked."""
    return _with_marks(visible(text), _search(tuple(marks)))


def quotes_of(text: str) -> list[str]:
    """Return what a text quotes, as far as it is long enough to be found again."""
    found = [one or other for one, other in QUOTED.findall(text)]
    return [quote.strip(" .,…") for quote in found if len(quote.strip(" .,…")) >= SHORTEST_QUOTE]


def _search(marks: Iterable[str]) -> re.Pattern[str] | None:
    """Return what finds passages, whatever their blanks, apostrophes and capitals."""
    parts = [re.sub(r"(?:\\?\s)+", r"\\s+", re.escape(mark.strip())).replace("’", "'").replace("'", "['’]") for mark in marks if mark.strip()]
    return re.compile("|".join(parts), re.IGNORECASE) if parts else None


def _with_marks(text: str, search: re.Pattern[str] | None) -> Markup:
    if search is None:
        return escape(text)
    made, at = Markup(), 0
    for found in search.finditer(text):
        made += escape(text[at : found.start()]) + Markup("<mark>{}</mark>").format(found[0])
        at = found.end()
    return made + escape(text[at:])


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

    # a heading of a message is none of the page
    rules: dict[str, Any] = {"text": text, "link_open": link, "heading_open": lambda *_: '<p class="heading">', "heading_close": lambda *_: "</p>\n"}
    renderer.rules = {**renderer.rules, **rules}
    return reader


_READER = _reader()

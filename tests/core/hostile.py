"""Hostile text, and what a terminal, a log, Markdown or HTML would do with it unescaped."""

import re
from html.parser import HTMLParser

from markdown_it import MarkdownIt

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "![x](http://evil.example/p.png)",
    "[a](javascript:alert(1))",
    "[b](https://evil.example)",
    "<https://evil.example>",
    "see https://evil.example/x?y=1, www.evil.example or me@evil.example",
    "[r]: https://evil.example\n\n[r]",
    "a | b || c |",
    "| a | b |\n|---|---|\n| c | d |",
    "`code` ```fence\n```\n<b>x</b>",
    "~~~\nx\n~~~",
    "# heading\n\nheading\n=======\n\n---\nlicense: mit\n---",
    "> quote\n- item\n1. one",
    "&lt;b&gt; &#60;i&#62;",
    "\\[x\\](http://evil.example) \\",
    "\x1b]8;;http://evil.example\x07click\x1b]8;;\x07 \x1b[2J\x1b[31mred",
    "\u202egnp.exe\u2066\u2069",
    "fine\n12:00:00.000 | ERROR   | Flow run 'x' - forged\r\nforged again\u2028and again\x85once more",
    "=1+1",
    "=cmd|' /C calc'!A0",
    "no",
    "<!-- /evaluation -->",
    "{{ 7 * 7 }} {% raw %}",
    "<details><summary>x</summary><iframe srcdoc='<script>alert(1)</script>'>",
]
ALL = "\n".join(HOSTILE)
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
LINK = re.compile(r"https?://|\bwww\.|[^\s@]@[^\s@]+\.", re.IGNORECASE)
"""What readers such as the Hub's make a link of, in whatever text is left when escapes have been resolved."""


def active(markdown: str, ours: tuple[str, ...] = ()) -> list[str]:
    """Return the active HTML, links and pictures of a text, except addresses and comments that begin with one of ours."""
    found = []
    for block in (
        MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(markdown.removeprefix("---\n") if markdown.startswith("---\n") else markdown)
    ):
        for token in [block, *(block.children or [])]:
            if token.type in ("html_inline", "html_block"):
                found.append(token.content.strip())
            elif token.type in ("link_open", "image"):
                found.append(str(token.attrs.get("href") or token.attrs.get("src")))
            elif token.type in ("text", "text_special") and LINK.search(token.content):
                found.append(token.content)
    return [item for item in found if not item.startswith(ours)] + CONTROL.findall(markdown)


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[str] = []
        self.wrong: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.wrong += [f"{name}={value}" for name, value in attrs if name.startswith("on") or re.match(r"\s*(javascript|data|https?):", value or "")]


def tags(html: str) -> tuple[list[str], list[str]]:
    """Return the elements of a page and the attributes that run or load something."""
    page = _Page()
    page.feed(html)
    return page.tags, page.wrong

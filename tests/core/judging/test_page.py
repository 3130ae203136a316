"""The assessment page as a file: its content, its policy, and texts that stay in their place."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

import core.judging.page
from core.escaping import page_tokens
from core.judging.page import assessment_page
from core.records import Exchange, Transcript
from tests.core.judged import PACK, conversation, panel, single

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    "</SCRIPT /x",
    "<!--<script>",
    "<!-- <script x",
    "]]>",
    "&lt;b&gt; &amp;",
    "a\u2028b\u2029c",
    '"\\u003c',
    "\x00 \r\n\t",
    "{{ 7 * 7 }}",
]
TEMPLATES = Path(core.judging.page.__file__).parent


class Parsed(HTMLParser):
    """Every tag with its attributes, and the text of each script."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data):
        if self.tags and self.tags[-1][0] == "script" and self.cdata_elem:
            self.scripts[-1] += data

    def data(self, name: str):
        scripts = [attributes for tag, attributes in self.tags if tag == "script"]
        return json.loads(next(text for attributes, text in zip(scripts, self.scripts, strict=True) if attributes.get("id") == name))


BATCH = [
    single(conversation("first"), {"CQ9": "NO"}, {"CQ9": [3]}, caveat="It measures nothing.", shared_family="claude"),
    single(conversation("second", 1)),
]
PAGES = {
    "single judge": assessment_page(PACK, BATCH, "<p>Two of them.</p>"),
    "panel": assessment_page(PACK, [panel(conversation("first"), {}, one={"MT1": "NO"}, two={}, three=None)], ""),
    "blind": assessment_page(PACK, BATCH, "", blind=True),
    "empty": assessment_page(PACK, [], ""),
}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_assessment_page_has_no_external_references(page):
    assert not re.search(r"https?:|url\(|@import|\bimport\(|fetch\(", page)
    for tag, attributes in Parsed(page).tags:
        assert tag not in {"link", "iframe", "object", "embed", "base", "img"}
        assert not attributes.keys() & {"src", "srcset", "action", "style"}


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_the_content_security_policy_allows_only_the_pages_own_script(page):
    parsed = Parsed(page)
    policy = next(attributes["content"] for tag, attributes in parsed.tags if attributes.get("http-equiv") == "Content-Security-Policy")
    hashed = base64.b64encode(hashlib.sha256(parsed.scripts[-1].encode()).digest()).decode()
    assert policy is not None
    assert [part.strip() for part in policy.split(";")] == [
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        f"script-src 'sha256-{hashed}'",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_pages_script_never_parses_text_as_html():
    for path in TEMPLATES.glob("page*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(|createContextualFragment", path.read_text(encoding="utf-8")
        )


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_stay_unchanged_within_the_pages_data(text):
    transcript = Transcript(id=text, exchanges=[Exchange(exchange_number=1, user=text, assistant=text)])
    judged = single(transcript, caveat=text, shared_family=text)
    page = assessment_page(PACK, [judged], "")
    parsed, harmless = Parsed(page), Parsed(assessment_page(PACK, [single(conversation("plain", 1))], ""))
    assert [tag for tag, _ in parsed.tags] == [tag for tag, _ in harmless.tags]
    assert not re.search(r"[<>&\u2028\u2029]", "".join(parsed.scripts[:-1]))
    assert parsed.data("conversation-0") == [[1, text, text]]
    assert parsed.data("index")["transcripts"][0]["id"] == text
    assert parsed.data("findings-0")["views"][0]["caveat"] == text


def test_a_blind_page_does_not_depend_on_the_verdicts():
    other = [
        single(conversation("first"), {"CQ8": "ERROR", "MT2": "NO"}, {"MT2": [1]}),
        panel(conversation("second", 1), {"CQ9": "NO"}, one={"CQ9": "NO"}, two={"CQ1": "NO"}),
    ]
    assert assessment_page(PACK, other, "", blind=True) == PAGES["blind"]


def test_a_blind_page_contains_conversations_and_full_criteria():
    parsed = Parsed(PAGES["blind"])
    assert parsed.data("conversation-0")[4][1] == "I slept badly. (first 5)"
    assert {item["id"]: item["text"] for item in parsed.data("index")["criteria"]} == {item.id: item.text for item in PACK.rubric.criteria.values()}
    assert "scripted/judge" not in PAGES["blind"]


def test_a_text_that_several_judges_share_is_stored_once():
    page = assessment_page(PACK, [panel(conversation("first"), {}, one={}, two={})], "")
    assert page.count("panel/one on MT1.") == 1


def test_the_summary_is_in_the_page_as_html():
    assert "<p>Two of them.</p>" in PAGES["single judge"]


def luminance(colour):
    digits = "".join(2 * digit for digit in colour[1:]) if len(colour) == 4 else colour[1:]
    values = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in values]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_every_text_colour_has_enough_contrast_on_every_background(scheme):
    blocks = re.findall(r":root \{(.*?)\}", page_tokens(), re.DOTALL)
    colours = dict(re.findall(r"--(\w+): (#\w+)", blocks[scheme]))
    for text in ("text", "quiet", "accent", "good", "bad", "unsure"):
        for ground in ("ground", "raised", "mark"):
            dark, light = sorted((luminance(colours[text]), luminance(colours[ground])))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (text, ground)

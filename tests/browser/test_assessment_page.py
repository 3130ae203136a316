"""The assessment page in a real browser, opened from disk as a reviewer opens it."""

import re

import pytest
from playwright.sync_api import Page, expect

from core.judging.page import assessment_page
from core.records import Exchange, Transcript
from tests.core.judged import PACK, conversation, panel, single

ODD = Transcript(id="odd", exchanges=[Exchange(exchange_number=1, user="two  spaces\n\n  and a line", assistant="It’s fine,\nisn't it?")])
LONG = conversation("cold", 30, assistant="What kept you awake? " * 40)
BATCH = [
    single(conversation("warm"), caveat="It measures nothing.", shared_family="claude"),
    single(LONG, {"CQ9": "NO", "MT1": "NO"}, {"CQ9": [7, 19, 25], "MT1": [3]}),
    single(conversation("harm"), {"CQ8": "NO", "MT1": "NA"}),
    single(conversation("weak"), {"MT1": "NO", "MT2": "NO", "MT3": "NO", "MT5": "NO", "CQ1": "NO"}),
    single(conversation("lost"), {"CQ1": "ERROR", "CQ9": "NO"}),
    single(ODD),
]
PAGE = assessment_page(PACK, BATCH, "<p>Six conversations.</p>")
PANEL = assessment_page(
    PACK,
    [
        panel(conversation("agreed"), {}, one={}, two={}, three={}),
        panel(conversation("split"), {}, one={"CQ9": "NO"}, two={}, three={}),
        panel(conversation("minor"), {}, one={"MT2": "NO"}, two={}, three=None),
        panel(conversation("failed"), {}, one={"MT2": "ERROR"}, two={}, three={}),
    ],
    "",
)
HOSTILE = "</script><img src=x onerror=\"alert('run')\"></script x><!--<script >alert('run')</script> ]]> <b>bold</b> &amp; \u2028 \x07"


def shown(page: Page) -> list[str]:
    return page.locator("#list a:visible .id").all_text_contents()


def chosen(page: Page):
    return page.locator("#list [aria-current] .id")


def narrow_down(page: Page, **values: str) -> None:
    for name, value in values.items():
        field = page.locator(f"#filters [name={name}]")
        field.fill(value) if name == "text" else field.select_option(value)


def test_a_page_opened_from_disk_shows_its_summary_its_list_and_the_first_conversation(opened):
    page = opened(PAGE)
    expect(page.get_by_text("Six conversations.")).to_be_visible()
    expect(page.locator("#count")).to_have_text("6 of 6 transcripts shown")
    assert shown(page) == ["warm", "cold", "harm", "weak", "lost", "odd"]
    expect(page.locator("main h2")).to_have_text("warm")
    expect(page.locator("main article")).to_have_count(5)


def test_the_list_states_the_outcome_of_each_transcript(opened):
    rows = opened(PAGE).locator("#list a")
    for row, words in ((0, ["pass", "score 1.00", "5 exchanges"]), (1, ["fail", "failed gate: CQ9"]), (4, ["incomplete", "failed gate: CQ9", "1 error"])):
        for word in words:
            expect(rows.nth(row)).to_contain_text(word)


def test_choosing_a_transcript_shows_its_conversation_and_verdicts(opened):
    page = opened(PAGE)
    page.get_by_role("link", name="odd").click()
    message = page.locator("main .message.user")
    assert message.text_content() == "two  spaces\n\n  and a line"
    expect(message).to_have_css("white-space-collapse", "preserve")
    expect(page.locator("main h3")).to_have_text("Exchange 1")
    expect(page.locator(".verdict[data-criterion=CQ1]")).to_contain_text("scripted/judge on CQ1.")
    page.get_by_role("link", name="cold").click()
    gate = page.locator(".verdict[data-criterion=CQ9]")
    expect(gate.locator("h4")).to_have_text(f"NO CQ9 {PACK.rubric.criteria['CQ9'].head.name}")
    expect(gate).to_contain_text("failed gate: CQ9")


def test_the_score_and_warnings_are_shown_beside_the_conversation(opened):
    page = opened(PAGE)
    verdicts = page.get_by_role("complementary", name="Verdicts")
    for words in ("1.00 (passes at 0.80)", "scripted/judge", "It measures nothing.", "both of the family claude; such judges favour their own."):
        expect(verdicts).to_contain_text(words)
    page.get_by_role("link", name="weak").click()
    expect(verdicts.get_by_role("row", name="comprehension")).to_contain_text(re.compile(r"0\.15\s*0\.\d\d"))
    expect(verdicts).not_to_contain_text("favour their own")


FILTERS = [
    ({"outcome": "fail"}, ["cold", "harm", "weak"]),
    ({"outcome": "incomplete"}, ["lost"]),
    ({"gate": "failed"}, ["cold", "harm", "lost"]),
    ({"gate": "CQ9"}, ["cold", "lost"]),
    ({"gate": "none"}, ["warm", "weak", "odd"]),
    ({"criterion": "MT1", "answer": "NO"}, ["cold", "weak"]),
    ({"criterion": "MT1", "answer": "NA"}, ["harm"]),
    ({"answer": "ERROR"}, ["lost"]),
    ({"criterion": "MT5"}, ["warm", "cold", "harm", "weak", "lost"]),
    ({"text": "WARM 3"}, ["warm"]),
    ({"text": "it's fine, isn't"}, ["odd"]),
    ({"text": "nisn't"}, []),
    ({"outcome": "fail", "gate": "none"}, ["weak"]),
    ({"outcome": "fail", "criterion": "MT1", "answer": "NO", "gate": "CQ9", "text": "cold"}, ["cold"]),
]


def test_filters_work_alone_and_together(opened):
    page = opened(PAGE)
    for values, names in FILTERS:
        narrow_down(page, **values)
        expect(page.locator("#count"), str(values)).to_have_text(f"{len(names)} of 6 transcripts shown")
        assert shown(page) == names, values
        page.locator("#filters").get_by_role("button", name="reset the filters").click()
        expect(page.locator("#count")).to_have_text("6 of 6 transcripts shown")


def test_filtering_keeps_the_open_transcript_if_it_matches_or_opens_the_first_match(opened):
    page = opened(PAGE, "#t=harm")
    narrow_down(page, outcome="fail")
    expect(page.locator("#count")).to_have_text("3 of 6 transcripts shown")
    expect(page.locator("main h2")).to_have_text("harm")
    narrow_down(page, criterion="MT1", answer="NO")
    expect(page.locator("main h2")).to_have_text("cold")


def test_without_a_match_the_page_says_so_and_offers_to_clear_the_filters(opened):
    page = opened(PAGE)
    narrow_down(page, outcome="pass", gate="CQ8")
    expect(page.get_by_text("No transcript fits these filters.")).to_be_visible()
    page.locator("#empty").get_by_role("button", name="reset the filters").click()
    expect(page.locator("#count")).to_have_text("6 of 6 transcripts shown")
    expect(page.get_by_label("outcome")).to_have_value("")


def test_each_panel_judges_own_verdicts_can_be_shown_and_filtered(opened):
    page = opened(PANEL, "#t=split")
    narrow_down(page, outcome="fail")
    expect(page.locator("#count")).to_have_text("0 of 4 transcripts shown")
    narrow_down(page, view="panel/one")
    expect(page.locator("#count")).to_have_text("1 of 4 transcripts shown")
    assert shown(page) == ["split"]
    expect(page.locator("#list a:visible")).to_contain_text("failed gate: CQ9")
    expect(page.locator("#findings h2")).to_have_text("Verdicts of panel/one")
    expect(page.locator(".verdict[data-criterion=CQ9] > h4 .badge")).to_have_text("NO")


def test_a_transcript_that_a_judge_skipped_is_not_shown_as_passed_by_it(opened):
    page = opened(PANEL, "#t=minor")
    narrow_down(page, view="panel/three")
    expect(page.locator("#list [aria-current]")).to_contain_text("not judged by this judge")
    expect(page.locator("#findings")).to_contain_text("This judge has not judged this conversation.")
    narrow_down(page, gate="none")
    expect(page.locator("#count")).to_have_text("3 of 4 transcripts shown")


def test_disagreement_of_judges_can_be_filtered_and_an_error_is_not_disagreement(opened):
    page = opened(PANEL)
    page.get_by_label("judges disagree").check()
    expect(page.locator("#count")).to_have_text("2 of 4 transcripts shown")
    assert shown(page) == ["split", "minor"]
    narrow_down(page, criterion="MT2")
    expect(page.locator("#count")).to_have_text("1 of 4 transcripts shown")
    assert shown(page) == ["minor"]


def test_the_opinions_behind_a_verdict_unfold_and_their_citations_are_links(opened):
    page = opened(PANEL, "#t=split")
    gate = page.locator(".verdict[data-criterion=CQ9]")
    gate.get_by_text("3 opinions differ: NO, YES, YES").click()
    expect(gate.locator("li").first).to_contain_text("NO panel/one")
    expect(gate.locator("li").first).to_contain_text("panel/one on CQ9.")
    gate.locator("li").nth(1).get_by_role("button", name="exchange 2").click()
    expect(page.locator("#exchange-2")).to_contain_text("cited for CQ9, 1 of 1")


def test_with_one_judge_the_page_offers_no_choice_of_judges(opened):
    page = opened(PAGE)
    expect(page.locator("[name=view], [name=disagree]")).to_have_count(0)


def test_a_citation_shows_and_marks_its_exchange_and_has_a_way_back(opened):
    page = opened(PAGE, "#t=cold")
    button = page.locator(".verdict[data-criterion=CQ9]").get_by_role("button", name="exchange 19")
    button.click()
    marked = page.locator(".exchange.current")
    expect(marked).to_have_attribute("id", "exchange-19")
    expect(marked.get_by_role("heading")).to_be_in_viewport(ratio=1)
    expect(marked).to_contain_text("cited for CQ9, 2 of 3")
    page.keyboard.press("n")
    expect(marked).to_have_attribute("id", "exchange-25")
    page.keyboard.press("n")
    expect(marked).to_have_attribute("id", "exchange-7")
    page.keyboard.press("p")
    page.keyboard.press("p")
    expect(marked).to_have_attribute("id", "exchange-19")
    marked.get_by_role("button", name="back to the verdict").click()
    expect(button).to_be_focused()
    expect(marked).to_have_count(0)


def test_without_a_chosen_verdict_the_keys_move_between_exchanges(opened):
    page = opened(PAGE, "#t=cold")
    for key, number in (("n", 1), ("n", 2), ("n", 3), ("p", 2)):
        page.keyboard.press(key)
        expect(page.locator(f"#exchange-{number}")).to_be_focused()
    expect(page.locator("#exchange-2 h3")).to_be_in_viewport(ratio=1)


def test_a_cited_exchange_can_be_reached_with_the_keyboard_alone(opened):
    page = opened(PAGE)
    page.keyboard.press("/")
    page.keyboard.type("jkn/p?")
    expect(page.locator("#search")).to_have_value("jkn/p?")
    expect(page.locator("#count")).to_have_text("0 of 6 transcripts shown")
    page.keyboard.press("Control+a")
    page.keyboard.type("slept")
    page.keyboard.press("Enter")
    expect(page.locator("#count")).to_have_text("5 of 6 transcripts shown")
    for key, name in (("ArrowDown", "cold"), ("j", "harm"), ("k", "cold"), ("End", "lost"), ("j", "lost"), ("Home", "warm"), ("ArrowDown", "cold")):
        page.keyboard.press(key)
        expect(chosen(page)).to_have_text(name)
        expect(page.locator("#list a:focus .id")).to_have_text(name)
    page.keyboard.press("Tab")
    expect(page.locator("#findings")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("n")
    expect(page.locator(".exchange.current")).to_contain_text("cited for CQ9, 1 of 3")
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.dataset.number") == "7"


def test_tab_reaches_every_control_and_the_focus_is_visible(opened):
    page = opened(PANEL)
    wanted = {"Transcripts", "Conversation", "Verdicts", "keys", "text", "outcome", "gate", "criterion", "answer", "view", "disagree", "agreed"}
    reached = set()
    for _ in range(20):
        page.keyboard.press("Tab")
        names = page.evaluate("(({name, id, ariaLabel, innerText}) => [name, id, ariaLabel, innerText.split('\\n')[0]])(document.activeElement)")
        reached |= wanted & set(names)
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert reached == wanted


def test_keys_with_a_modifier_are_left_to_the_browser_and_shortcuts_can_be_turned_off(opened):
    page = opened(PAGE)
    page.keyboard.press("Alt+j")
    page.keyboard.press("Control+j")
    expect(chosen(page)).to_have_text("warm")
    page.get_by_label("Keys").uncheck()
    page.keyboard.press("j")
    expect(chosen(page)).to_have_text("warm")
    page.get_by_label("Keys").check()
    page.keyboard.press("j")
    expect(chosen(page)).to_have_text("cold")


def test_the_address_has_the_chosen_transcript_and_reopens_it(opened):
    page = opened(PAGE, "#t=weak")
    expect(page.locator("main h2")).to_have_text("weak")
    page.get_by_role("link", name="harm").click()
    expect(page).to_have_url(re.compile(r"#t=harm$"))
    page.evaluate("location.hash = '#t=lost'")
    expect(chosen(page)).to_have_text("lost")


@pytest.mark.parametrize("address", ["#t=nobody", "#t=%E0%A4%A", "#elsewhere"])
def test_an_address_with_an_unknown_transcript_is_ignored(opened, address):
    page = opened(PAGE, address)
    expect(page.locator("main h2")).to_have_text("warm")
    page.evaluate("address => location.hash = address", address)
    page.keyboard.press("j")
    expect(page.locator("main h2")).to_have_text("cold")


def test_the_page_of_a_batch_without_transcripts_opens(opened):
    page = opened(assessment_page(PACK, [], ""))
    for key in "jknp":
        page.keyboard.press(key)
    expect(page.locator("#count")).to_have_text("0 of 0 transcripts shown")


def test_hostile_text_is_shown_literally_and_runs_nothing(opened):
    transcript = Transcript(id=HOSTILE, exchanges=[Exchange(exchange_number=1, user=HOSTILE, assistant=HOSTILE)])
    by_judge = {HOSTILE: single(transcript).final.model_copy(update={"judge": HOSTILE, "caveat": HOSTILE})}
    by_judge["panel/two"] = single(transcript).final
    decided = by_judge[HOSTILE]
    verdicts = [item.model_copy(update={"reasoning": HOSTILE}) for item in decided.verdicts]
    judged = single(transcript).model_copy(update={"final": decided.model_copy(update={"verdicts": verdicts}), "by_judge": by_judge})
    page = opened(assessment_page(PACK, [judged], ""))
    for place in ("main h2", "#list .id", ".message.user", ".message.assistant", ".verdict > .text >> nth=0", "#findings > .warning"):
        assert page.locator(place).text_content() == HOSTILE, place
    assert page.locator("[name=view] option").nth(1).text_content() == HOSTILE
    expect(page.locator("img, b")).to_have_count(0)
    page.locator("#search").fill("<b>bold</b> &amp;")
    expect(page.locator("#count")).to_have_text("1 of 1 transcript shown")
    expect(page).to_have_url(re.compile("#t=%3C%2Fscript"))
    page.reload()
    assert page.locator("main h2").text_content() == HOSTILE


def test_a_blind_page_shows_conversations_and_criteria_but_no_verdict(opened):
    page = opened(assessment_page(PACK, BATCH, "", blind=True))
    criteria = page.get_by_role("complementary", name="Criteria")
    expect(criteria.locator("details")).to_have_count(len(PACK.rubric.criteria))
    criteria.get_by_role("button", name="open or close all").click()
    assert criteria.locator(".text").all_text_contents() == [item.text for item in PACK.rubric.criteria.values()]
    page.keyboard.press("j")
    expect(page.locator("main h2")).to_have_text("cold")
    expect(page.locator("body")).not_to_contain_text(re.compile(r"scripted/judge|failed gate|score"))
    page.locator("#search").fill("odd")
    expect(page.locator("#count")).to_have_text("1 of 6 transcripts shown")


def test_the_page_never_scrolls_sideways_at_any_width(opened):
    unbroken = Transcript(id="t" * 200, exchanges=[Exchange(exchange_number=1, user="u" * 3000, assistant="a" * 3000)])
    page = opened(assessment_page(PACK, [single(unbroken)], ""))
    for width in (360, 800, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_on_a_narrow_screen_choosing_a_conversation_hides_the_list(opened):
    page = opened(PAGE, viewport={"width": 360, "height": 700})
    page.get_by_role("link", name="harm").click()
    expect(page.locator("#list")).to_be_hidden()
    expect(page.locator("main h2")).to_be_in_viewport(ratio=1)
    expect(page.locator("#count")).to_have_text("6 of 6 transcripts shown")
    page.get_by_role("button", name="Verdicts").click()
    expect(page.locator("#findings h2")).to_be_in_viewport(ratio=1)
    page.get_by_role("button", name="filters and list").click()
    expect(page.locator("#list")).to_be_visible()


def test_the_page_follows_the_systems_colour_scheme(opened):
    grounds = [opened(PAGE, color_scheme=scheme).evaluate("getComputedStyle(document.body).backgroundColor") for scheme in ("light", "dark")]
    assert grounds == ["rgb(255, 255, 255)", "rgb(22, 24, 28)"]


def test_without_javascript_the_page_shows_the_summary_and_says_what_is_missing(opened):
    page = opened(PAGE, java_script_enabled=False)
    expect(page.get_by_text("Six conversations.")).to_be_visible()
    expect(page.locator("noscript p")).to_be_visible()
    expect(page.locator("noscript p")).to_contain_text("The conversations need JavaScript")
    expect(page.locator(".workspace")).to_be_hidden()


def test_a_link_in_the_summary_shows_its_conversation(opened):
    summary = '<p><a href="#t=harm">harm</a></p><p style="height: 3000px">Figures.</p>'
    page = opened(assessment_page(PACK, BATCH, summary))
    for _ in range(2):  # the second time its address is there already
        page.get_by_role("link", name="harm", exact=True).first.click()
        expect(page.locator("main h2")).to_have_text("harm")
        expect(page.locator("main h2")).to_be_in_viewport()

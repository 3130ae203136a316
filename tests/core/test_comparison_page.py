"""The page of an evaluation: all of it is in the file, what came from outside is text, and its pictures say in words what they show."""

import html
import re
import xml.etree.ElementTree as ElementTree

import pytest

from core import comparison_plots as plots
from core.comparison_page import evaluation_page
from core.records import Answer
from tests.core.arms import evaluation, lost
from tests.core.evaluated import HOSTILE, conversation, facts_of, usual

SVG = "{http://www.w3.org/2000/svg}"


def test_every_conversation_and_every_verdict_is_in_the_page_without_scripts():
    played = [item.model_copy(update={"answers": {"C1": Answer.YES, "G1": Answer.NO}}) for item in usual()]
    played[3] = lost(played[3], "the provider was down")
    facts = facts_of(played)
    page = re.sub(r"<script.*?</script>", "", evaluation_page(facts), flags=re.DOTALL)
    for item in facts.conversations:
        for exchange in item.transcript.exchanges:
            assert exchange.user in page
            assert exchange.assistant in page
        for verdict in item.assessment.verdicts:
            assert verdict.reasoning in page
    assert "the provider was down" in page
    for item in played:
        assert f'id="p{item.persona}-t{item.trial}"' in page
    assert "Made up." in page


def test_what_came_from_outside_is_text():
    played = usual()
    spoilt = [conversation(item, HOSTILE) for item in played]
    facts = facts_of(played, conversations=spoilt, models={"base": HOSTILE, "understudy": "x"}, caveats=[HOSTILE], criteria={"C1": HOSTILE})
    page = evaluation_page(facts, made=f"## How it was made\n\n{HOSTILE}")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert html.escape("<script>alert(1)</script>", quote=False) in page
    assert page.count("<script") == 1


def test_the_same_evaluation_gives_the_same_bytes_and_nothing_is_loaded():
    facts = facts_of(usual())
    page = evaluation_page(facts)
    assert page == evaluation_page(facts)
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^\s>]+""", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_how_it_was_made_follows_the_figures():
    page = evaluation_page(facts_of(usual()), made="## How it was made\n\nWith care.\n\n## Left out\n\n- one\n")
    assert page.index("How it was made") > page.index("All figures")
    assert "<summary>Left out</summary>" in page


@pytest.mark.parametrize(
    "played",
    [
        usual(),
        evaluation(base=[0.5, 0.5], understudy=[0.5, 0.5]),
        evaluation(base=[1.0] * 60, understudy=[number / 60 for number in range(60)]),
        evaluation(base=[0.5] * 3, understudy=[0.6, 0.7, 0.8], third=[0.1, 0.2, 0.3]),
    ],
)
def test_each_picture_says_in_words_what_it_shows_and_is_well_formed(played):
    facts = facts_of(
        played, models={"base": "a", "understudy": "b", "third": "c"} if any(item.arm == "third" for item in played) else {"base": "a", "understudy": "b"}
    )
    drawn = [(plots.headline(facts), plots.headline_text(facts)), (plots.distributions(facts), plots.distributions_text(facts))]
    for arm in facts.comparison.comparisons:
        drawn += [(plots.paired_dots(facts, arm), plots.paired_dots_text(facts, arm)), (plots.effects(facts, arm), plots.effects_text(facts, arm))]
    for picture, said in drawn:
        root = ElementTree.fromstring(picture)
        assert root.get("role") == "img"
        assert root.findtext(f"{SVG}title")
        assert root.findtext(f"{SVG}desc") == said
        assert "nan" not in picture.lower().replace("finance", "")
        assert "nan" not in said.lower()


def test_names_with_markup_and_dollars_are_drawn_as_they_are():
    played = [item.model_copy(update={"arm": "$a_b$ <&" if item.arm == "understudy" else "base"}) for item in usual()]
    facts = facts_of(played)
    picture = plots.headline(facts)
    assert "$a_b$ &lt;&amp;" in picture
    ElementTree.fromstring(picture)

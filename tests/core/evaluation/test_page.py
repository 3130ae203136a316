"""The evaluation page is self-contained, escapes foreign text and describes its pictures in words."""

import html
import re
import xml.etree.ElementTree as ElementTree

import pytest

from core.evaluation import plots
from core.evaluation.page import evaluation_page
from core.pictures import styles
from core.records import Answer
from tests.core.arms import evaluation, lost, one
from tests.core.evaluated import HOSTILE, answer, battery_of, battery_words_of, conversation, facts_of, usual

SVG = "{http://www.w3.org/2000/svg}"


def distribution_heights(values):
    """The heights of the base's scores in the picture of all scores."""
    picture = ElementTree.fromstring(plots.distributions(facts_of(evaluation(base=values, understudy=[0.9] * len(values)))))
    dots = [float(use.attrib["y"]) for group in picture.iter(f"{SVG}g") if "PathCollection_2" in (group.get("id") or "") for use in group.iter(f"{SVG}use")]
    return [max(dots) - dot for dot in dots]


@pytest.mark.slow
def test_the_page_has_every_conversation_and_verdict_without_scripts():
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


@pytest.mark.slow
def test_foreign_text_in_the_page_is_escaped():
    played = usual()
    spoilt = [conversation(item, HOSTILE) for item in played]
    arms = ["base", "understudy"]
    battery = {"battery": battery_of(arms, lost=HOSTILE), "battery_words": battery_words_of(arms, words=HOSTILE)}
    facts = facts_of(played, conversations=spoilt, models={"base": HOSTILE, "understudy": "x"}, caveats=[HOSTILE], criteria={"C1": HOSTILE}, **battery)
    page = evaluation_page(facts, run_report=f"## How it was made\n\n{HOSTILE}")
    assert "<script>alert" not in page
    assert "<img" not in page
    assert html.escape("<script>alert(1)</script>", quote=False) in page
    assert page.count("<script") == 1


@pytest.mark.slow
def test_the_page_is_reproducible_and_loads_nothing():
    facts = facts_of(usual())
    page = evaluation_page(facts)
    assert page == evaluation_page(facts)
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!#)[^\s>]+""", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL)) == []
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_page_describes_how_the_evaluation_was_made_after_the_figures():
    page = evaluation_page(facts_of(usual()), run_report="## How it was made\n\nWith care.\n\n## Left out\n\n- one\n")
    assert page.index("How it was made") > page.index("All figures")
    assert "<summary><h3>Left out</h3></summary>" in page


@pytest.mark.slow
@pytest.mark.parametrize(
    "played",
    [
        usual(),
        evaluation(base=[0.5, 0.5], understudy=[0.5, 0.5]),
        evaluation(base=[1.0] * 60, understudy=[number / 60 for number in range(60)]),
        evaluation(base=[0.5] * 3, understudy=[0.6, 0.7, 0.8], third=[0.1, 0.2, 0.3]),
    ],
)
def test_each_picture_is_well_formed_and_has_a_text_alternative(played):
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


def test_a_gate_that_never_applied_in_an_arm_is_not_drawn_as_a_gain():
    """The base fails it in each conversation; the arm never met its occasion."""
    played = [one("base", 9000 + number, 0, 0.5, gates=["G1"]) for number in range(8)]
    played += [one("understudy", 9000 + number, 0, 0.7 + number / 100, answers={"G1": "NA"}) for number in range(8)]
    facts = facts_of(played)
    said = plots.effects_text(facts, "understudy")
    assert "Of 1 criteria 0 are higher and 0 lower than the base's; significant after Holm's adjustment: none." in said
    assert "Not drawn, because they never applied in one of the arms: G1." in said
    labels = plots.effects(facts, "understudy").partition("</desc>")[2]
    assert "G2 No promise" in labels
    assert "G1 No harm" not in labels


@pytest.mark.slow
def test_names_with_markup_and_dollars_are_drawn_literally():
    played = [item.model_copy(update={"arm": "$a_b$ <&" if item.arm == "understudy" else "base"}) for item in usual()]
    facts = facts_of(played)
    picture = plots.headline(facts)
    assert "$a_b$ &lt;&amp;" in picture
    ElementTree.fromstring(picture)


@pytest.mark.slow
def test_a_name_with_markup_is_shown_literally_in_titles():
    played = [item.model_copy(update={"arm": "R&D *two*" if item.arm == "understudy" else "base"}) for item in usual()]
    page = evaluation_page(facts_of(played))
    assert "<h3>R&amp;D *two*: safety</h3>" in page


@pytest.mark.slow
def test_a_small_p_is_written_the_same_way_everywhere():
    page = evaluation_page(facts_of(evaluation(base=[0.5] * 30, understudy=[0.6 + number / 100 for number in range(30)])))
    assert "p &lt; 0.0001" in page
    assert "0.0000" not in page


@pytest.mark.slow
def test_conversations_without_text_are_listed_with_outcome_and_reason():
    played = usual()
    played[3] = lost(played[3], "the provider was down")
    page = evaluation_page(facts_of(played, conversations=[]))
    assert page.count('class="pair"') == 16
    assert "the provider was down" in page
    assert "There is no such conversation." not in page
    assert "The transcript is not available." in page


@pytest.mark.slow
def test_an_arm_with_fewer_general_prompts_is_shown_with_those_it_has():
    general = {"base": [answer("capital", "Paris"), answer("sum", "5")], "understudy": [answer("sum", "4")]}
    page = evaluation_page(facts_of(usual(), general=general))
    assert "capital: " in page
    assert "not asked" in page


@pytest.mark.slow
def test_answers_to_requests_are_listed_with_differing_ones_first():
    page = evaluation_page(facts_of(usual()))
    assert page.index("<summary>knife: ") < page.index("<summary>pipe: ")
    assert "I cannot help with that." in page
    assert "provider/judge said what each answer does." in page


@pytest.mark.slow
def test_the_page_says_every_figure_in_text():
    equal = evaluation(base=[0.5, 0.5], understudy=[0.5, 0.5])
    wide = evaluation(base=[0.2] * 4, understudy=[0.9] * 4)
    for played in (usual(), equal, [lost(wide[0], "gone"), *wide[1:]]):
        shown = re.sub(r"<(script|style).*?</\1>|<[^>]+>", " ", evaluation_page(facts_of(played)), flags=re.DOTALL)
        assert not re.search(r"\b(nan|NaN|None|inf|Infinity)\b", shown)


@pytest.mark.slow
def test_equal_scores_are_stacked_in_the_picture():
    """Ninety scores spread evenly over the range need no stacking."""
    spread = distribution_heights([number / 89 for number in range(90)])
    assert max(spread) - min(spread) < 0.15 * max(1, *distribution_heights([0.5] * 90))
    assert len(set(distribution_heights([0.5] * 30))) == 30


def test_the_picture_of_a_persona_shows_only_its_paired_conversations():
    played = evaluation(base=[[0.2, 0.9]] * 3, understudy=[[0.6, 0.7]] * 3)
    stray = next(item for item in played if item.arm == "understudy" and item.trial == 1)
    without = [lost(item, "gone") if item is stray else item for item in played]
    count = [plots.paired_dots(facts_of(one), "understudy").count("<use ") for one in (played, without)]
    assert count[0] - count[1] == 2


def test_each_arm_is_drawn_with_its_required_gain():
    played = evaluation(base=[0.5, 0.8, 0.8], understudy=[0.6, 0.9, 0.9], third=[0.9, 0.9, 0.9])
    one_missing = [lost(item, "gone") if item.arm == "third" and item.persona == played[0].persona else item for item in played]
    said = plots.headline_text(facts_of(one_missing))
    assert "required: +0.070" in said
    assert "required: +0.080" in said


def test_the_drawn_required_gain_is_that_of_the_rule():
    assert "required: +0.030" in plots.headline_text(facts_of(evaluation(base=[0.1] * 6, understudy=[0.15] * 6)))  # a base below 0.3 counts as 0.3


def test_twenty_arms_have_different_marks():
    looks = styles([f"arm-{number}" for number in range(20)])
    assert len(set(looks.values())) == 20


def test_a_name_in_another_script_is_drawn():
    facts = facts_of(usual(), criteria={"G1": "安全", "C1": "聞く"})
    assert "安全" in plots.effects(facts, "understudy")


def test_each_failed_conversation_of_the_battery_is_linked_to_its_text():
    page = evaluation_page(facts_of(usual()))
    assert 'href="#G1-a-door"' in page
    assert page.count('id="G1-a-door"') == 1
    assert page.count("It is nothing.") == 2 * 3  # for each arm: both messages and the judge's reason

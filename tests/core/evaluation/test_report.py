"""The evaluation report names every figure, contains no NaN and escapes foreign text."""

import re

import pytest
from markdown_it import MarkdownIt

from core.escaping import plain
from core.evaluation.report import card_results, evaluation_markdown, evaluation_section
from core.evaluation.sentences import power_sentence
from core.records import Answer
from core.rehearsal.lengths import Lengths
from core.reports.model_card import with_evaluation
from tests.core.arms import evaluation, incomplete, lost, one
from tests.core.evaluated import HOSTILE, answer, facts_of, usual

NO_NUMBERS = re.compile(r"\b(nan|None|inf|-inf|Infinity)\b")


def tables(text):
    """The numbers of cells in the rows of each table."""
    found, rows = [], []
    for token in MarkdownIt("js-default").parse(text):
        if token.type == "table_open":
            rows = []
        elif token.type == "tr_open":
            rows.append(0)
        elif token.type in ("th_open", "td_open"):
            rows[-1] += 1
        elif token.type == "table_close":
            found.append(rows)
    return found


def test_every_figure_is_reported_and_naive_ones_are_labelled():
    facts = facts_of(usual())
    text, one = evaluation_markdown(facts), facts.comparison.comparisons["understudy"]
    score = one.score
    for figure in (score.difference, *score.interval, *score.bootstrap_interval, score.effect.dz, score.effect.hedges_g):
        assert f"{figure:+.3f}" in text
    for p in (score.p, score.least_p, score.persona_t.p, one.passes.p):
        assert f"{p:.4f}" in text or p < 0.0001
    naive = next(line for line in text.splitlines() if f"t = {score.naive_t.t:.3f}" in line)
    assert "naive" in naive
    assert "independent" in naive
    assert "*Naive* exact McNemar" in text
    for condition in one.decided.conditions:
        assert any(condition.text in line and line.rstrip().endswith("| yes |" if condition.holds else "| **no** |") for line in text.splitlines())
    for item in one.by_persona:
        assert f"| {item.persona} |" in text
    assert power_sentence(facts.plan).split(" (")[0] in text
    assert "| judge | provider/judge | 12 |" in text
    assert "capital (base)" in text


@pytest.mark.parametrize(
    "played",
    [
        evaluation(base=[0.5, 0.5], understudy=[0.6, 0.6]),
        evaluation(base=[0.5] * 6, understudy=[0.5] * 6),
        evaluation(base=[0.0] * 3, understudy=[0.0, 0.1, 1.0]),
        [lost(item) if item.arm == "understudy" and item.persona > 9002 else item for item in evaluation(base=[0.5] * 8, understudy=[0.9] * 8)],
        [incomplete(item) if item.persona == 9001 else item for item in evaluation(base=[0.5] * 4, understudy=[0.9, 0.8, 0.7, 0.9])],
        evaluation(base=[0.5] * 6, understudy=[0.7] * 6, third=[0.4, 0.5, 0.6, 0.4, 0.5, 0.6]),
    ],
)
def test_no_report_contains_nan(played):
    for more in (
        {},
        {
            "heldout": {},
            "general": {},
            "refusals": None,
            "bills": {},
            "plan": None,
            "judges": [],
            "simulator": None,
            "caveats": [],
            "exchanges": None,
            "lengths": {},
        },
    ):
        facts = facts_of(played, **more)
        text = evaluation_markdown(facts)
        assert NO_NUMBERS.findall(text) == []
        for arm in facts.comparison.comparisons:
            assert NO_NUMBERS.findall(evaluation_section(facts, arm)) == []
            assert card_results(facts, arm)
        assert all(len(set(rows)) == 1 for rows in tables(text))


def test_forgetting_is_reported_with_the_judge_and_the_unknown_items():
    facts = facts_of(usual())
    text = evaluation_markdown(facts)
    assert "| requests to decline, declined | 2 of 2 | 1 of 2 | -50.0 (" in text
    assert "requests to decline, declined only by base: “knife”." in text
    assert "look-alikes, helped: 1 excluded" in text
    assert "provider/judge classified the answers" in text
    card = evaluation_section(facts, "understudy")
    assert "| requests that should be declined, declined | 2 of 2 | 1 of 2 | judged by provider/judge |" in card


def test_a_general_prompt_whose_call_failed_is_not_counted_as_a_wrong_answer():
    failed = answer("failed", "").model_copy(update={"answer": None, "right": None, "lost": "no connection"})
    facts = facts_of(usual(), general={"base": [answer("capital", "Paris")] * 2, "understudy": [answer("capital", "Paris"), failed]})
    assert "| general prompts answered correctly | 2 of 2 | 1 of 1 (1 not known) |" in evaluation_section(facts, "understudy")


def test_foreign_text_in_a_report_is_escaped_and_breaks_no_table():
    played = [lost(item, HOSTILE) if (item.arm, item.persona) == ("understudy", 9001) else item for item in usual()]
    facts = facts_of(played, models={"base": HOSTILE, "understudy": f"{HOSTILE}\n| x | y |"}, caveats=[HOSTILE], criteria={"G1": HOSTILE})
    text = evaluation_markdown(facts)
    assert all(len(set(rows)) == 1 for rows in tables(text))
    assert "<script" not in MarkdownIt("js-default").render(text)
    assert all(len(set(rows)) == 1 for rows in tables(evaluation_section(facts, "understudy")))


def test_lengths_of_training_data_and_arms_are_in_one_table():
    lengths = {
        "training data": Lengths(conversations=120, mean=18.34, p10=4, median=9.5, p90=42),
        "base": Lengths(conversations=30, mean=4, p10=3, median=4, p90=6),
    }
    text = evaluation_markdown(facts_of(usual(), lengths=lengths))
    assert "| training data | 120 | 18.3 | 4, 9.5, 42 |\n| base | 30 | 4.0 | 3, 4, 6 |" in text


def test_the_evaluation_section_fits_into_a_model_card():
    facts = facts_of(usual())
    card = "---\nlicense: mit\n---\n\n# A model\n\n<!-- evaluation -->\n\nNothing yet.\n\n<!-- /evaluation -->\n\nThe rest.\n"
    whole = with_evaluation(card, evaluation_section(facts, "understudy"), card_results(facts, "understudy"))
    assert "Nothing yet." not in whole
    assert facts.comparison.comparisons["understudy"].decided.decision in whole
    assert f"value: {facts.comparison.comparisons['understudy'].score.arm_mean}" in whole
    assert whole.endswith("The rest.\n")


def test_the_understudy_is_listed_before_its_controls():
    played = evaluation(base=[0.5] * 3, a_control=[0.6, 0.7, 0.8], understudy=[0.1, 0.2, 0.3])
    text = evaluation_markdown(facts_of(played, models={"base": "x", "understudy": "y", "a_control": "z"}))
    assert text.index("**understudy:") < text.index("control:")
    assert text.index("## understudy against") < text.index("control against")


def test_the_table_marks_a_criterion_that_never_applied_as_untested():
    played = [item.model_copy(update={"answers": {**item.answers, "C1": Answer.NA if item.arm == "understudy" else Answer.YES}}) for item in usual()]
    (row,) = [line for line in evaluation_markdown(facts_of(played)).splitlines() if line.startswith("| C1 Listens")]
    assert [cell.strip() for cell in row.split("|")[2:6]] == ["100 %", "NA in all", "0 of 16, 16 of 16", "no claim"]


def test_unmet_conditions_are_listed_once_above_their_table():
    facts = facts_of(evaluation(base=[0.5] * 4, understudy=[0.51, 0.5, 0.52, 0.5]))
    decided = facts.comparison.comparisons["understudy"].decided
    unmet = [condition for condition in decided.conditions if not condition.holds]
    head = evaluation_markdown(facts).partition("\n## ")[0]
    assert f"{len(unmet)} of {len(decided.conditions)} conditions do not hold" in head
    for condition in unmet:
        assert head.count(plain(condition.text)) == 1


def test_a_narrowly_missed_condition_is_not_rounded_to_met():
    """A gain of 9.96 %, and an interval that begins just below 0."""
    gain = conditions_of([0.76972] * 9)[0]
    assert (gain.text, gain.holds) == ("at least 10 % better than the base", False)
    assert gain.found.startswith("+9.96 %")
    interval = conditions_of([0.7004, 0.7, 0.6999, 0.7, 0.7, 0.7])[2]
    assert not interval.holds
    assert interval.found.startswith("-0.000")
    assert not interval.found.startswith("-0.000 ")


def conditions_of(scores):
    return facts_of(evaluation(base=[0.7] * len(scores), understudy=scores)).comparison.comparisons["understudy"].decided.conditions


def test_a_card_gives_a_share_only_beside_its_own_count():
    """The share has each persona at equal weight, the count each conversation: 2 of 3 pass, and 75 %."""
    played = evaluation(base=[[0.5, 0.5], 0.5], understudy=[[0.9, 0.5], 0.9])
    (row,) = [line for line in evaluation_section(facts_of(played), "understudy").splitlines() if line.startswith("| passed")]
    assert [cell.strip() for cell in row.split("|")[2:4]] == ["0 of 3", "2 of 3"]
    assert "0 % and 75 % with equal weight for each persona: +75.0 points" in row


def test_a_gain_that_depends_on_the_counting_of_na_is_reported_beside_the_decision():
    """The arm avoids the only occasion that the base fails; over what both were asked, they are alike."""
    played = [one("base", 9000 + number, 0, 0.5, answers={"C1": "NO", "C2": "YES"}) for number in range(8)]
    avoids = [one("understudy", 9000 + number, 0, 1.0, answers={"C1": "NA", "C2": "YES"}) for number in range(8)]
    meets = [one("understudy", 9000 + number, 0, 1.0, answers={"C1": "YES", "C2": "YES"}) for number in range(8)]
    said = "The gain depends on how the score counts. Only criteria answered YES or NO in both: +0.000"
    for shown, wanted in ((avoids, True), (meets, False)):
        facts = facts_of([*played, *shown])
        assert (said in evaluation_markdown(facts).partition("\n## ")[0]) is wanted
        assert (said in evaluation_section(facts, "understudy")) is wanted

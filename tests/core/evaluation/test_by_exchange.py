"""Failures by exchange number, among the conversations that reached it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation import plots
from core.evaluation.by_exchange import BANDS, by_band, by_exchange
from core.evaluation.page import evaluation_page
from core.evaluation.report import evaluation_markdown
from core.records import Answer, Assessment, EndReason, Exchange, Lapse, Outcome, Score, Transcript, Verdict
from tests.core.evaluated import facts_of, usual


def talk(length, end=None):
    return Transcript(id=f"t{length}", end_reason=end, exchanges=[Exchange(exchange_number=number, user="u", assistant="a") for number in range(1, length + 1)])


def judged(failed=(), met=(), lapses=(), gates=()):
    """Cited exchanges of each failed and each met criterion, and lapses of the first failed one."""
    verdicts = [Verdict(criterion=f"F{place}", answer=Answer.NO, reasoning="", cited=list(cited)) for place, cited in enumerate(failed)]
    verdicts += [Verdict(criterion=f"M{place}", answer=Answer.YES, reasoning="", cited=list(cited)) for place, cited in enumerate(met)]
    listed = [Lapse(exchange=number, what="w", weight=weight) for number, weight in lapses]
    verdicts = [*verdicts, Verdict(criterion="L", answer=Answer.YES, reasoning="", lapses=listed)]
    checks = [f"F{place}" for place in range(len(failed)) if f"F{place}" not in gates]
    score = Score(outcome=Outcome.FAIL, score=0.5, category_scores={}, failed_checks=checks, failed_gates=list(gates), errors=0)
    return Assessment(transcript_id="t", judge="j", rubric_hash="", verdicts=verdicts, score=score)


def test_a_failure_counts_in_the_band_of_its_exchange_among_conversations_that_reached_it():
    found = by_exchange(
        [
            ("base", talk(3), judged(failed=[[1, 2], [3]])),
            ("base", talk(8), judged(failed=[[2, 7, 7]], met=[[8]], lapses=[(5, "light"), (8, "grave")], gates=["F0"])),
        ]
    )["base"]
    counts = [(band.name, band.reached, band.exchanges, band.failures, band.lapses, band.grave) for band in found.bands]
    assert counts == [("1–3", 2, 6, 4, 0, 0), ("4–6", 1, 3, 0, 1, 0), ("7–12", 1, 2, 1, 1, 1)]
    assert found.bands[0].per_ten(found.bands[0].failures) == pytest.approx(40 / 6)
    assert (found.conversations, found.failed, found.citing) == (2, 3, 3)


@given(st.lists(st.integers(1, 60), min_size=1, max_size=8))
def test_every_exchange_and_every_failure_is_in_one_band(lengths):
    every = [(talk(length), judged(failed=[range(1, length + 1)], lapses=[(length, "light")])) for length in lengths]
    (found,) = by_exchange([("base", transcript, assessment) for transcript, assessment in every]).values()
    assert sum(band.exchanges for band in found.bands) == sum(band.failures for band in found.bands) == sum(lengths)
    assert sum(band.lapses for band in found.bands) == len(lengths)
    assert all(band.reached == sum(length >= band.first for length in lengths) for band in found.bands)
    assert [band.first for band in found.bands] == [first for first, _ in BANDS if first <= max(lengths)]


def test_conversations_ended_by_a_full_context_are_counted_by_arm():
    ends = [EndReason.BUDGET, EndReason.USER_DONE, None]
    found = by_exchange([("base", talk(4, end), judged()) for end in ends])["base"]
    assert (found.cut, found.ended, found.conversations) == (1, 2, 3)


def test_each_band_that_an_arm_reached_compares_the_arms():
    found = by_exchange([("base", talk(4), judged()), ("new", talk(14), judged())])
    assert [(name, [arm for arm, _ in arms]) for name, arms in by_band(found)] == [
        ("1–3", ["base", "new"]),
        ("4–6", ["base", "new"]),
        ("7–12", ["new"]),
        ("13–25", ["new"]),
    ]


def test_without_citations_and_known_ends_the_section_is_left_out():
    silent = by_exchange([("base", talk(4), judged(failed=[[]]))])
    assert "hold to the end" not in evaluation_markdown(facts_of(usual(), by_exchange=silent))
    known = by_exchange([("base", talk(4, EndReason.BUDGET), judged(failed=[[]]))])
    said = evaluation_markdown(facts_of(usual(), by_exchange=known))
    assert "1 of 1 (100 %)" in said
    assert "The verdicts cite no exchanges" in said


@pytest.mark.slow
def test_the_page_shows_failures_by_exchange_as_picture_and_text():
    found = by_exchange([("base", talk(4), judged(failed=[[1], [4]])), ("understudy", talk(5), judged(failed=[[5]], lapses=[(5, "grave")]))])
    facts = facts_of(usual(), by_exchange=found)
    said = plots.over_exchanges_text(facts)
    assert "base, 1–3: 3.3 and 0.0 (reached by 1); 4–6: 10.0 and 0.0 (reached by 1)." in said
    assert "understudy, 1–3: 0.0 and 0.0 (reached by 1); 4–6: 5.0 and 5.0 (reached by 1)." in said
    assert said in evaluation_page(facts).replace("&#39;", "'")

"""Personas are drawn where the understudy fails: by cell, smoothed, deterministic and monotone in the failures."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.record import EvaluationRecord
from core.improvement.failures import cells_of, draw_where_it_fails, failure_by_cell, failure_of, weight_of
from core.improvement.outcome import failures_by_criterion
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from tests.core.arms import one, rubric
from tests.core.judged import assessment, conversation

PACK = load_pack("therapeutic-coaching")
POOL = sample_batch(PACK, 0, 60)
GATE = next(name for name, criterion in PACK.rubric.criteria.items() if criterion.head.gate)
failures = st.lists(st.floats(0, 1), min_size=1, max_size=20).map(lambda some: list(zip(POOL, some, strict=False)))


@given(failures, st.integers(0, 70), st.integers(0, 10**6))
def test_the_requested_number_of_personas_is_drawn_without_repetition_in_any_pool_order(met, count, order):
    cells = failure_by_cell(met)
    drawn = draw_where_it_fails(POOL, cells, count)
    assert len({persona.seed for persona in drawn}) == len(drawn) == min(count, len(POOL))
    assert all(persona in POOL for persona in drawn)
    shuffled = random.Random(order).sample(POOL, len(POOL))
    assert draw_where_it_fails(shuffled, cells, count) == drawn


@given(failures, st.integers(1, 59), st.data())
def test_a_cell_with_more_failures_is_never_drawn_less_often(met, count, data):
    cell = data.draw(st.sampled_from(sorted({cell for persona, _ in met for cell in cells_of(persona)})))
    cells = failure_by_cell(met)
    raised = [item.model_copy(update={"lift": item.lift * 3 + 0.1}) if (item.kind, item.value) == cell else item for item in cells]

    def holding(some):
        return sum(cell in cells_of(persona) for persona in draw_where_it_fails(POOL, some, count))

    assert holding(raised) >= holding(cells)


@given(failures)
def test_every_persona_keeps_a_chance_and_unseen_cells_count_as_average(met):
    cells = failure_by_cell(met)
    assert all(weight_of(persona, cells) > 0 for persona in POOL)
    assert all(0 <= cell.failure <= 1 + 1e-9 for cell in cells)
    stranger = next(persona for persona in POOL)
    assert weight_of(stranger, []) == 1.0


def test_with_equal_failure_rates_no_persona_is_preferred():
    even = draw_where_it_fails(POOL, [], 10)
    for failure in (0.0, 0.4, 1.0):
        assert draw_where_it_fails(POOL, failure_by_cell([(persona, failure) for persona in POOL]), 10) == even


def test_a_failure_rate_from_few_conversations_has_less_weight():
    once, often = POOL[0], POOL[1:9]
    same = [persona.model_copy(update={"trajectory": "often"}) for persona in often]
    met = [(once.model_copy(update={"trajectory": "once"}), 1.0), *((persona, 1.0) for persona in same), *((persona, 0.0) for persona in POOL[20:60])]
    lifts = {cell.value: cell.lift for cell in failure_by_cell(met) if cell.kind == "trajectory"}
    assert lifts["often"] > lifts["once"] > 1


def test_personas_of_a_failing_cell_are_drawn_more_often_than_in_the_taxonomy():
    pool = sample_batch(PACK, 100, 400)
    kind = max({persona.trajectory for persona in pool}, key=lambda name: sum(persona.trajectory == name for persona in pool))
    share = sum(persona.trajectory == kind for persona in pool) / len(pool)
    cells = failure_by_cell([(persona, 0.9 if persona.trajectory == kind else 0.1) for persona in pool[:40]])
    drawn = draw_where_it_fails(pool, cells, 100)
    assert sum(persona.trajectory == kind for persona in drawn) / 100 > share + 0.1


@pytest.mark.parametrize(("answers", "failed"), [({}, 0.0), ({GATE: "NO"}, 1.0)])
def test_a_failed_gate_is_a_failure_at_any_score(answers, failed):
    assert failure_of(assessment(conversation("a"), "scripted/judge", answers)) == pytest.approx(failed)


def test_a_criterion_fails_in_a_share_of_the_conversations_to_which_it_applies():
    answers = ["NO", "YES", "NA", "NA", "NA", "NA"]
    played = [one("base", 9000 + number, 0, 0.9, answers={"C1": answer}) for number, answer in enumerate(answers)]
    record = EvaluationRecord.model_construct(played=played)
    assert failures_by_criterion(record, "base", rubric(manner=["C1"]))["C1"] == (1, 2)

"""Evaluations on the same personas are counted: the p of the third is three times what it would be alone, and a repeated one is the same attempt."""

import pytest

from core.evaluation.attempts import FILE, earlier_attempts
from core.evaluation.comparison import compare_arms
from core.evaluation.record import EvaluationRecord
from core.evaluation.report import evaluation_markdown
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from core.settings.evaluation import Decision
from core.storage.store import Store
from tests.core.arms import evaluation, rubric
from tests.core.evaluated import facts_of, usual

PERSONAS = sample_batch(load_pack("therapeutic-coaching"), 9000, 6, (3, 3))
OTHERS = sample_batch(load_pack("therapeutic-coaching"), 9100, 6, (3, 3))
RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.1)


def keep(store, name, models, personas=PERSONAS, domain="therapeutic-coaching", attempts=()):
    comparison = compare_arms(evaluation(base=[0.5] * 8, understudy=[0.7] * 8), "base", rubric(), RULE, 200)
    assert comparison.comparisons["understudy"].decided.decision == "iterate"  # eight personas cannot show the margin
    record = EvaluationRecord(domain=domain, models=models, comparison=comparison, played=[], personas=personas, attempts=list(attempts))
    store.write_json(f"evaluations/{domain}-{name}/{FILE}", record)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def models(number):
    return {"base": "llama-server/base.gguf", "understudy": f"llama-server/{number}.gguf"}


def attempts(store, number, personas=PERSONAS):
    return earlier_attempts(store, "therapeutic-coaching", models(number), personas)


def test_every_other_model_that_met_these_personas_is_an_attempt(store):
    assert attempts(store, 1) == []
    keep(store, "a", models(1))
    keep(store, "b", models(2), PERSONAS[:2] + OTHERS)
    keep(store, "c", models(3), OTHERS)  # of other personas
    keep(store, "d", models(4), domain="coding-mentor")
    found = {item.folder: item for item in attempts(store, 9)}
    assert {name: item.personas for name, item in found.items()} == {"evaluations/therapeutic-coaching-a": 6, "evaluations/therapeutic-coaching-b": 2}
    assert found["evaluations/therapeutic-coaching-a"].decisions == {"understudy": "iterate"}


def test_a_repeated_evaluation_is_the_attempt_that_it_was(store):
    keep(store, "a", models(1))
    keep(store, "b", models(2), attempts=attempts(store, 2))
    assert attempts(store, 1) == []  # the second came after it
    assert [item.models["understudy"] for item in attempts(store, 2)] == ["llama-server/1.gguf"]
    assert len(attempts(store, 3)) == 2


def test_a_file_that_cannot_be_read_counts_for_nothing(store):
    keep(store, "a", models(1))
    store.write("evaluations/therapeutic-coaching-b/comparison.json", "{")
    store.write("evaluations/transcripts/therapeutic-coaching/x.json", "{}")
    assert len(attempts(store, 2)) == 1


def test_p_is_multiplied_by_the_attempts_and_never_above_1():
    played = usual()
    alone, third, many = (compare_arms(played, "base", rubric(), RULE, 200, attempts=number).comparisons["understudy"].score for number in (1, 3, 10_000))
    assert third.p == alone.p
    assert third.p_holm == pytest.approx(3 * alone.p_holm)
    assert many.p_holm == 1.0


def test_the_report_lists_the_attempts_and_says_what_they_do_to_p(store):
    keep(store, "a", models(1))
    text = evaluation_markdown(facts_of(usual(), attempts=attempts(store, 2)))
    assert "**Evaluation number 2 on these personas.**" in text
    assert "each p is multiplied by 2" in text
    assert "understudy: llama-server/1.gguf" in text.replace("\\", "")

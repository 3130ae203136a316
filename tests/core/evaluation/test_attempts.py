"""Repeated evaluations on the same personas: only the first can ship, and later ones need a confirmation on fresh personas."""

import pytest

from core.errors import EvaluationError
from core.evaluation.attempts import FILE, attempt_conditions, confirmation_seed, earlier_attempts, other_results
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
NEXT = sample_batch(load_pack("therapeutic-coaching"), 9006, 6, (3, 3))
OTHERS = sample_batch(load_pack("therapeutic-coaching"), 9100, 6, (3, 3))
DOMAIN = "therapeutic-coaching"
WIDE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.4, missing_difference=0.1, least_pass_rate=0)
NARROW = WIDE.model_copy(update={"safety_margin": 0.2})
"""Eight personas cannot show it."""


def keep(store, name, models, personas=PERSONAS, domain=DOMAIN, attempts=(), confirm=False, further=None, rule=NARROW, judges=(), scripted=False):
    played = evaluation(base=[0.5] * 8, understudy=[0.68, 0.72] * 4)
    comparison = compare_arms(played, "base", rubric(), rule, 200, further=further, scripted=scripted)
    assert comparison.comparisons["understudy"].decided.decision == "iterate"
    record = EvaluationRecord(domain=domain, models=models, comparison=comparison, played=[], personas=personas, attempts=list(attempts), confirm=confirm)
    record = record.model_copy(update={"judges": list(judges)})
    store.write_json(f"evaluations/{domain}-{name}/{FILE}", record)


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path))


def models(number):
    return {"base": "llama-server/base.gguf", "understudy": f"llama-server/{number}.gguf"}


def attempts(store, number, personas=PERSONAS):
    return earlier_attempts(store, DOMAIN, models(number), personas)


def test_every_earlier_evaluation_of_another_model_on_these_personas_is_an_attempt(store):
    assert attempts(store, 1) == []
    keep(store, "a", models(1))
    keep(store, "b", models(2), PERSONAS[:2] + OTHERS)
    keep(store, "c", models(3), OTHERS)  # of other personas
    keep(store, "d", models(4), domain="coding-mentor")
    found = {item.folder: item for item in attempts(store, 9)}
    assert {name: item.personas for name, item in found.items()} == {"evaluations/therapeutic-coaching-a": 6, "evaluations/therapeutic-coaching-b": 2}
    assert found["evaluations/therapeutic-coaching-a"].decisions == {"understudy": "iterate"}


def test_a_repeated_evaluation_keeps_its_place_among_the_attempts(store):
    keep(store, "a", models(1))
    keep(store, "b", models(2), attempts=attempts(store, 2))
    assert attempts(store, 1) == []  # the second came after it
    assert [item.models["understudy"] for item in attempts(store, 2)] == ["llama-server/1.gguf"]
    assert len(attempts(store, 3)) == 2


def test_an_unreadable_evaluation_file_is_not_an_attempt(store):
    keep(store, "a", models(1))
    store.write("evaluations/therapeutic-coaching-b/comparison.json", "{")
    store.write("evaluations/transcripts/therapeutic-coaching/x.json", "{}")
    assert len(attempts(store, 2)) == 1


def test_adding_a_control_arm_is_not_a_second_attempt(store):
    keep(store, "a", models(1))
    assert earlier_attempts(store, DOMAIN, {**models(1), "opus": "anthropic/claude-opus-5-5"}, PERSONAS) == []
    keep(store, "b", {**models(2), "third": "llama-server/3.gguf"})
    assert [item.folder[-2:] for item in attempts(store, 2)] == ["-a", "-b"]  # otherwise the better of the two would be chosen


def test_only_the_first_attempt_on_the_same_personas_can_ship(store):
    first = attempt_conditions(store, DOMAIN, models(1), attempts(store, 1), False)["understudy"]
    assert [item.holds for item in first] == [True]
    keep(store, "a", models(1))
    second = attempt_conditions(store, DOMAIN, models(2), attempts(store, 2), False)["understudy"]
    assert [(item.holds, item.found) for item in second] == [
        (False, "number 2, and the best of several is overstated: confirm it (understudy evaluate --confirm)")
    ]
    played = evaluation(base=[0.5] * 8, understudy=[0.68, 0.72] * 4)
    for looks, decision in ((first, "ship"), (second, "iterate")):
        found = compare_arms(played, "base", rubric(), WIDE, 200, further={"understudy": looks}).comparisons["understudy"]
        assert found.decided.decision == decision


def test_a_confirmation_has_unused_personas_and_keeps_them_when_repeated(store):
    with pytest.raises(EvaluationError, match=r"Nothing to confirm: llama-server/1.gguf of therapeutic-coaching has not been evaluated here"):
        confirmation_seed(store, DOMAIN, models(1), 9000, 6)
    keep(store, "a", models(1))
    assert confirmation_seed(store, DOMAIN, models(1), 9000, 6) == 9006
    keep(store, "b", models(1), NEXT, confirm=True)
    assert confirmation_seed(store, DOMAIN, models(1), 9000, 6) == 9006
    keep(store, "c", models(2))
    assert confirmation_seed(store, DOMAIN, models(2), 9000, 6) == 9012
    assert confirmation_seed(store, DOMAIN, models(2), 9000, 4) == 9012  # 9004 to 9007 and 9008 to 9011 have been met


def test_a_confirmation_ships_an_arm_that_had_met_every_other_condition(store):
    keep(store, "a", models(1))
    (failed,) = attempt_conditions(store, DOMAIN, models(1), [], True)["understudy"]
    assert not failed.holds
    assert failed.found.startswith("not met there: share of conversations with a failed gate")
    second = attempt_conditions(store, DOMAIN, models(2), attempts(store, 2), False)
    keep(store, "b", models(2), further=second, rule=WIDE)
    (held,) = attempt_conditions(store, DOMAIN, models(2), [], True)["understudy"]
    assert held.holds  # every other condition was met


def test_other_confirmations_are_listed(store):
    keep(store, "a", models(1))
    keep(store, "b", models(1), NEXT, confirm=True)
    keep(store, "c", models(2))
    found = earlier_attempts(store, DOMAIN, models(2), OTHERS, confirm=True)
    assert [(item.folder[-2:], item.personas) for item in found] == [("-b", 0)]
    text = evaluation_markdown(facts_of(usual(), attempts=found, confirm=True))
    assert "**A confirmation, on personas that no model had met.**" in text
    assert "It is confirmation number 2 in this domain" in text


def test_the_report_lists_the_attempts_and_explains_their_effect(store):
    keep(store, "a", models(1))
    text = evaluation_markdown(facts_of(usual(), attempts=attempts(store, 2)))
    assert "**The best of 2 evaluations on the same personas is overstated.**" in text
    assert "understudy evaluate --confirm" in text
    assert "understudy: llama-server/1.gguf" in text.replace("\\", "")


def test_a_scripted_evaluation_is_not_an_attempt_and_cannot_be_confirmed(store):
    keep(store, "a", models(1), scripted=True)
    assert attempts(store, 2) == []
    assert len(earlier_attempts(store, DOMAIN, models(2), PERSONAS, scripted=True)) == 1
    with pytest.raises(EvaluationError, match="Nothing to confirm"):
        confirmation_seed(store, DOMAIN, models(1), 9000, 6)
    keep(store, "b", models(1))
    (real,) = attempt_conditions(store, DOMAIN, models(1), [], True)["understudy"]
    assert real.found.startswith("not met there: ")


def others(store, judges, personas=PERSONAS, rule=NARROW, number=1):
    return other_results(store, DOMAIN, models(number), personas, judges, rule)


def test_results_of_the_same_models_by_other_judges_or_rules_are_stated(store):
    """Nothing stops at the judge, the rule or the number of personas that happens to ship."""
    keep(store, "a", models(1), judges=["x/strict"])
    assert others(store, ["x/strict"]) == []  # the same command again
    assert others(store, ["x/kind"], number=2) == []  # another model: an attempt
    (said,) = others(store, ["x/kind"])
    assert "judged by x/strict over 6 personas (understudy: iterate)" in said
    assert "by another rule" in others(store, ["x/strict"], rule=WIDE)[0]
    assert others(store, ["x/strict"], personas=PERSONAS + NEXT)
    assert others(store, ["x/kind"], personas=OTHERS) == []
    keep(store, "b", models(1), judges=["x/strict"])  # once more, with another conversation completed
    assert others(store, ["x/kind"]) == [said]

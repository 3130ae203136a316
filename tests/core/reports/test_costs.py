"""Cost estimates match calculations by hand."""

import pytest

from core.judging.golden_judging import modes_of, plan_golden
from core.llm.chat import Usage
from core.llm.ledger import Ledger
from core.llm.models_asked import prices_of
from core.llm.prices import Given, Unknown
from core.llm.run import Run
from core.packs.pack import load_pack
from core.records import ModelChoice, Transcript
from core.reports.costs import golden_costs, run_cost, run_costs, training_tokens
from core.reports.planned_calls import ASSUMPTIONS, Assumptions, judge_calls, measure_prompts, rehearsal_calls
from core.settings.models import Price
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.conftest import CHECKOUT
from tests.core.golden_sets import golden, judged


@pytest.fixture(scope="module")
def pack():
    return load_pack("therapeutic-coaching", CHECKOUT)


@pytest.fixture(scope="module")
def settings():
    return load_settings()


def words(text):
    return len(text.split())


def test_only_the_new_part_of_each_prompt_is_not_read_from_the_cache():
    taken = Assumptions(user_tokens=10, answer_tokens=20, thinking_tokens=5)
    user = rehearsal_calls(3, taken, stable=100, note=7, answer=10, simulated=True)
    assert [call.input_tokens for call in user] == [107, 137, 167]
    assert [call.cache_read_tokens for call in user] == [0, 100, 130]
    assert [call.cache_write_tokens for call in user] == [100, 30, 30]
    assert {call.output_tokens for call in user} == {15}
    assistant = rehearsal_calls(2, taken, stable=100, note=0, answer=20, simulated=False)
    assert [call.input_tokens for call in assistant] == [110, 140]


def test_with_several_calls_the_transcript_is_billed_in_full_once(pack, settings):
    sizes = measure_prompts(pack, settings, words)
    transcript = sizes.assessor + 10 * (ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens)
    for mode, count in (("single", 1), ("category", 6), ("criterion", 17)):
        judging = settings.assessment.judging.model_copy(update={"mode": mode})
        changed = settings.model_copy(update={"assessment": settings.assessment.model_copy(update={"judging": judging})})
        calls = judge_calls(pack, changed, sizes, [10])
        assert len(calls) == count
        assert sum(call.cache_read_tokens for call in calls) == pytest.approx((count - 1) * transcript)
        verdicts = sum(call.output_tokens for call in calls) - count * ASSUMPTIONS.thinking_tokens
        assert verdicts == pytest.approx(17 * ASSUMPTIONS.verdict_tokens, abs=count)


@pytest.mark.slow
def test_doubling_the_transcripts_doubles_all_costs_except_the_evaluation(pack, settings):
    roles = settings.roles
    prices = {name: Given(Price(input=1, output=5, cache_read=0.1, cache_write=1.25)) for name in (roles.user_simulator, roles.assistant, *roles.judges)}
    few, many = (run_costs(pack, settings, count, prices, words) for count in (64, 128))
    for one, other in zip(few, many, strict=True):
        factor = 1 if one.stage in ("evaluation", "safety battery") else 2
        assert other.usd == pytest.approx(factor * (one.usd or 0))
        assert other.calls == factor * one.calls
    assert training_tokens(pack, settings, 128, words) == pytest.approx(2 * training_tokens(pack, settings, 64, words), abs=1)


def test_each_arm_costs_its_simulator_and_judges_and_a_provider_arm_its_answers_too(pack, settings):
    roles = settings.roles
    prices = {name: Given(Price(input=1, output=5)) for name in (roles.user_simulator, roles.assistant, *roles.judges)}
    sizes = measure_prompts(pack, settings, words)

    def evaluated(**arms):
        evaluation = settings.evaluation.model_copy(update={"arms": arms})
        return {
            cost.role: cost
            for cost in run_costs(pack, settings.model_copy(update={"evaluation": evaluation}), 10, prices, words, sizes)
            if cost.stage == "evaluation"
        }

    two, three, four = evaluated(), evaluated(rich="base under assistant"), evaluated(rich="base under assistant", lead="teacher under assistant")
    assert set(two) == set(three)
    # pairs are of the base and each other arm
    pairs = [found.pop("pairwise judge").calls for found in (two, three, four)]
    assert pairs == [pairs[0], 2 * pairs[0], 3 * pairs[0]]
    # a model's answers to requests are judged once, for all its prompts
    judged = [found.pop("judge of refusals").calls for found in (two, three, four)]
    assert judged == [judged[0], judged[0], 3 * judged[0] // 2]
    assert four["arm lead, suites"].calls > 300
    for role, cost in two.items():
        assert (2 * three[role].calls, 2 * four[role].calls) == (3 * cost.calls, 4 * cost.calls)
    short = evaluated(rich="base under assistant", lead="teacher")["arm lead"]
    assert four["arm lead"].calls == short.calls == two["user simulator"].calls / 2
    assert four["arm lead"].input_tokens - short.input_tokens == pytest.approx(short.calls * (sizes.guidance + sizes.note - sizes.short), rel=1e-3)


def test_a_model_without_a_price_has_unknown_and_not_zero_cost(pack, settings):
    roles = settings.roles
    prices = dict.fromkeys((roles.user_simulator, roles.assistant, *roles.judges), Unknown())
    assert {cost.usd for cost in run_costs(pack, settings, 10, prices, words)} == {None}
    assert Unknown().price(Usage(1, 1)) is None


def test_the_cost_of_a_panel_is_shown_beside_that_of_each_judge_alone(pack, settings):
    roles = settings.roles.model_copy(update={"judges": ["a/dear", "b/cheap"]})
    sizes = measure_prompts(pack, settings, words)
    prices = {name: Given(Price(input=1, output=5)) for name in (roles.user_simulator, roles.assistant)}
    prices |= {"a/dear": Given(Price(input=4, output=4)), "b/cheap": Given(Price(input=1, output=1))}
    both = run_cost(pack, settings.model_copy(update={"roles": roles}), 10, prices, words, sizes)
    alone = {name: settings.model_copy(update={"roles": roles.model_copy(update={"judges": [name]})}) for name in roles.judges}
    assert both.usd_by_single_judge() == {name: pytest.approx(run_cost(pack, one, 10, prices, words, sizes).usd()) for name, one in alone.items()}
    assert run_cost(pack, alone["a/dear"], 10, prices, words, sizes).usd_by_single_judge() == {}


OTHERS = ("generation", "evaluation", "safety battery")


def test_batches_halve_the_cost_of_judging_and_change_nothing_else(pack, settings):
    names = [settings.roles.user_simulator, settings.roles.assistant, *settings.roles.judges]
    prices, sizes = {name: prices_of(settings, name) for name in names}, measure_prompts(pack, settings, words)
    batch = settings.model_copy(update={"assessment": settings.assessment.model_copy(update={"batch": True})})
    live, halved = (run_cost(pack, one, 10, prices, words, sizes) for one in (settings, batch))
    assert live.usd("assessment")
    assert halved.usd("assessment") == pytest.approx((live.usd("assessment") or 0) / 2)
    assert [live.usd(stage) for stage in OTHERS] == [halved.usd(stage) for stage in OTHERS]


def test_a_calibration_is_priced_by_its_missing_assessments(tmp_path):
    settings = load_settings()
    pack, store = load_pack("therapeutic-coaching"), Store(str(tmp_path))
    judge = ModelChoice(reference="openai/gpt-6-luna")
    run = Run("run", pack, settings, store, {"judge": [judge]}, Ledger(store, "run", settings.budget))
    items = [golden(pack, "sound"), golden(pack, "unsafe", CQ8="NO")]
    golden_plans = plan_golden(run, items, modes_of("single,category", settings.assessment.judging), 2)
    single, category = golden_costs(run, items, golden_plans, words)
    assert settings.assessment.judging.confirm_gates != "never"
    assert (single.calls, category.calls) == (2 * (2 + 1), 2 * (2 * 6 + 1))  # the gate that fails is asked again
    assert single.usd is not None
    assert category.usd is not None
    assert 0 < single.usd < category.usd
    plan = golden_plans[0].plans[0]["sound"]
    _, path = plan.place(store.load(plan.transcript.path, Transcript))
    store.write_json(path, judged(pack, items[0], judge.reference))
    assert [cost.calls for cost in golden_costs(run, items, golden_plans, words)] == [single.calls - 1, category.calls]

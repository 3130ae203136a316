"""The simulated ship decision matches the product's rule and its limits."""

from itertools import pairwise

import numpy as np
import pytest

from core.errors import EvaluationError
from core.evaluation.comparison import compare_arms
from core.evaluation.exposure import rarest_gate
from core.evaluation.plan import plan_evaluation, plan_world
from core.evaluation.power import analyse_power, assumed_spread
from core.evaluation.sentences import power_sentence
from core.evaluation.ship_chance import floor_holds, others_hold, score_holds
from core.evaluation.ship_outlook import GAINS, USUAL, ship_outlook, ship_picture, ship_rows, ship_sentence, ship_table
from core.evaluation.simulated_evaluations import GateOpenings, World, draw_evaluations
from core.packs.pack import load_pack
from core.rehearsal.overview import exercised
from core.rehearsal.personas import sample_batch
from core.settings.evaluation import Decision
from core.settings.pipeline import load_settings
from tests.core.arms import PASS_AT, lost, one, rubric

SPREAD = assumed_spread(0.05, 0.15, 0.70)
MET = 0.098


def world(personas, trials, spread=SPREAD, met=MET, **more):
    return World(spread=spread, personas=personas, trials=trials, met=met, **more)


PLAYED = 25
"""Simulated evaluations that are also decided conversation by conversation."""
RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.1, missing_difference=0.1)


def shipped(drawn, rule, gain):
    """How often an arm with the gain ships that fails gates as often as the base."""
    better, enough = score_holds(drawn, rule, gain), floor_holds(drawn, rule, gain, USUAL, USUAL)
    assert better is not None
    assert enough is not None
    return np.mean(better & enough & others_hold(drawn, rule, USUAL, USUAL))


def conversations(drawn, place, gain, base, arm):
    """The conversations of one simulated evaluation."""
    scores, failed, applies = drawn.scores(gain), drawn.failed(base, arm), drawn.applies()
    played = []
    for side, name in enumerate(("base", "understudy", "prompted")[: len(scores)]):
        for persona, trial in np.ndindex(drawn.world.personas, drawn.world.trials):
            gates = [gate for at, gate in enumerate(("G1", "G2")) if side < 2 and failed[at, side, place, persona, trial]]
            answers = {} if applies[1, 0, place, persona, 0] else {"G2": "NA"}
            item = one(name, 9000 + persona, trial, float(scores[side, place, persona, trial]), gates, answers)
            played.append(lost(item) if drawn.lost[side, place, persona, trial] else item)
    return played


@pytest.mark.parametrize(
    ("personas", "trials", "base_mean", "missing", "margin", "alpha", "prompted"),
    [
        (8, 2, 0.7, 0.15, 0.4, 0.05, None),
        (23, 2, 0.7, 0.1, 0.2, 0.05, None),
        (22, 1, 0.88, 0.05, 0.2, 0.05, None),
        (24, 1, 0.97, 0.0, 0.25, 0.05, None),
        (22, 2, 0.7, 0.02, 0.25, 0.5, None),  # where p is no obstacle, the interval decides
        (23, 2, 0.7, 0.02, 0.2, 0.05, -0.05),
    ],
)
def test_a_simulated_evaluation_gets_the_decision_of_the_real_rule(personas, trials, base_mean, missing, margin, alpha, prompted):
    rule = Decision(improvement=0.03, alpha=alpha, safety_margin=margin, missing_difference=0.15, least_pass_rate=0.15)
    true = world(personas, trials, assumed_spread(0.05, 0.15, base_mean), met=0.3, lost=missing, prompted=prompted, pass_at=PASS_AT)
    drawn, gain, rates, flips = draw_evaluations(true, seed=5, simulations=PLAYED), 0.05 if base_mean < 0.9 else 0.03, (0.02, 0.3), 400
    better, others, enough = score_holds(drawn, rule, gain, flips), others_hold(drawn, rule, *rates), floor_holds(drawn, rule, gain, *rates)
    assert better is not None
    assert enough is not None
    for place in range(PLAYED):
        played = conversations(drawn, place, gain, *rates)
        decided = (
            compare_arms(*(played, "base", rubric(), rule), resamples=10, flips=flips, prompted=() if prompted is None else ("prompted",))
            .comparisons["understudy"]
            .decided
        )
        held = [condition.holds for condition in decided.conditions]
        assert (all(held[:4] + held[8:]), all(held[4:7]), held[7]) == (better[place], others[place], enough[place])
        assert (decided.decision == "ship") == (better[place] and others[place] and enough[place])
    assert 0 < better.sum() < PLAYED
    assert 0 < others.sum() < PLAYED


@pytest.mark.parametrize(("personas", "trials"), [(10, 3), (40, 2)])
def test_the_ship_chance_without_a_gain_is_below_alpha_and_grows_with_the_gain(personas, trials):
    for row in ship_rows([world(personas, trials)], RULE, 0.8):
        chances = [chance for chance in row.chances if chance is not None]
        assert len(chances) == len(GAINS)
        assert chances[0] < RULE.alpha
        # Monte Carlo error of two figures from the same draws
        assert all(after >= before - 0.01 for before, after in pairwise(chances))


def test_an_arm_that_fails_a_gate_more_often_is_shipped_less_often():
    drawn = draw_evaluations(world(60, 2))
    safe = [others_hold(drawn, RULE, 0.01, rate).mean() for rate in (0.01, 0.05, 0.2, 0.5)]
    assert safe == sorted(safe, reverse=True)
    assert safe[-1] < 0.05
    both = [others_hold(drawn, RULE, rate, rate).mean() for rate in (0.0, 0.01, 0.02)]
    assert both == sorted(both, reverse=True)


def test_clipped_scores_keep_the_stated_mean():
    for base_mean, gain in ((0.7, 0.15), (0.9, 0.1), (0.05, 0.0)):
        drawn = draw_evaluations(World(spread=assumed_spread(0.05, 0.15, base_mean), personas=60, trials=3))
        scores = drawn.scores(gain)
        assert scores is not None
        base, arm = scores
        assert 0 <= min(base.min(), arm.min()) <= max(base.max(), arm.max()) <= 1
        assert base.mean() == pytest.approx(base_mean, abs=0.002)
        assert arm.mean() == pytest.approx(base_mean * (1 + gain), abs=0.002)


@pytest.mark.parametrize(("base_mean", "room"), [(0.93, "7.5 %"), (1.0, "0.0 %")])
def test_above_a_base_mean_of_0_909_no_arm_can_ship_and_the_report_says_so(base_mean, room):
    spread = assumed_spread(0.05, 0.15, base_mean)
    found = ship_outlook(world(60, 3, spread), RULE, 0.8)
    assert (found.chance, found.gain_for_wanted) == (None, None)
    assert f"no arm can be shipped: a gain of 10 % is required, and the base's mean leaves room for {room}, even to a perfect arm" in ship_sentence(found)
    (row, *_) = ship_rows([world(60, 3, spread)], RULE, 0.8)
    assert row.chances[GAINS.index(0.10)] is None
    assert "| no room | no room | no room | no gain |" in ship_table([row], 0.8)[-1]
    planned = analyse_power(60, 3, spread)
    assert (planned.gain_power, planned.personas_for_gain) == (0.0, None)
    assert f"is out of reach, because the base leaves room for {1 - base_mean:.3f}" in power_sentence(planned)


def test_up_to_a_base_mean_of_0_909_an_arm_has_a_chance_to_ship():
    assert ship_outlook(world(60, 3, assumed_spread(0.05, 0.15, 1 / 1.1)), RULE, 0.8).chance is not None


def test_a_seed_determines_the_simulated_evaluations():
    assert not np.array_equal(draw_evaluations(world(12, 2), seed=1).noise, draw_evaluations(world(12, 2), seed=2).noise)
    assert ship_picture([world(6, 2)], RULE, 0.8) == ship_picture([world(6, 2)], RULE, 0.8)


def test_the_reported_gain_is_the_smallest_with_the_requested_ship_chance():
    found = ship_outlook(world(60, 2), RULE, 0.8)
    assert found.gain_for_wanted is not None
    drawn = draw_evaluations(world(60, 2))
    below, at = (shipped(drawn, RULE, found.gain_for_wanted + more) for more in (-0.01, 0))
    assert below < 0.8 <= at
    assert f"{100 * found.gain_for_wanted:.0f} % ships with 80 %" in ship_sentence(found)


@pytest.mark.parametrize("spread", [assumed_spread(0, 0, 0.5), assumed_spread(0.05, 0.15, 0.0), assumed_spread(1, 1, 0.5), assumed_spread(0, 0.2, 0.999)])
@pytest.mark.parametrize("personas", [1, 2, 6])
def test_extreme_assumptions_have_ship_chances_too(spread, personas):
    for row in ship_rows([world(personas, 1, spread)], RULE, 0.8):
        assert all(chance is None or 0 <= chance <= 1 for chance in row.chances)


def test_an_evaluation_too_large_to_simulate_is_refused():
    with pytest.raises(EvaluationError, match=r"10000 personas × 3 trials are 30,000 conversations of an arm; up to 20,000 are simulated"):
        draw_evaluations(World(spread=SPREAD, personas=10_000, trials=3))


@pytest.mark.parametrize("domain", ["therapeutic-coaching", "coding-mentor"])
def test_with_the_shipped_sizes_a_gain_of_15_percent_ships_despite_rare_gate_failures(domain):
    numbers, pack = load_settings().evaluation, load_pack(domain)
    met = sample_batch(pack, numbers.first_seed, numbers.personas)
    planned = plan_world(pack, numbers, plan_evaluation(numbers), met, True)
    assert len(planned.battery) == 2
    assert 0 < planned.met < 0.3
    drawn = draw_evaluations(planned)
    assert shipped(drawn, numbers.decision, 0.15) >= 0.8
    assert shipped(drawn, numbers.decision, 0.0) == pytest.approx(0, abs=0.01)


def test_an_unsafe_understudy_is_rarely_shipped_with_the_battery():
    battery = tuple(GateOpenings(openings=45, tries=2, margin=0.15) for _ in range(2))
    rows = {row.unsafe: row.chances[GAINS.index(0.15)] or 0 for row in ship_rows([world(60, 2, battery=battery)], RULE, 0.8) if row.unsafe}
    assert rows[0.2] < 0.05
    assert rows[0.5] == 0


def test_a_short_suite_prevents_shipping_and_a_long_one_does_not():
    without, short, long = (others_hold(draw_evaluations(world(60, 2, suites=items)), RULE, USUAL, USUAL) for items in ((), (5,), (5000,)))
    assert without.any()
    assert short.mean() < 0.05  # by chance
    assert np.array_equal(long, without)


def test_a_better_prompt_lowers_the_ship_chance_of_an_understudy():
    chances = [shipped(draw_evaluations(world(60, 2, prompted=gain)), RULE, RULE.improvement) for gain in (0.0, 0.05, 0.1)]
    assert chances == sorted(chances, reverse=True)
    assert chances[-1] < 0.05


def test_the_rarest_gate_is_the_one_with_the_fewest_planned_personas():
    pack = load_pack("therapeutic-coaching")
    batch = sample_batch(pack, 9000, 60)
    gate, share = rarest_gate(pack, batch)
    brought = [persona for persona in batch if any(clause.startswith(f"{gate}.") for clause in exercised(pack, persona))]
    assert gate == "CQ9"  # the other one is never NA
    assert share == len(brought) / 60
    assert rarest_gate(pack, brought) == ("CQ9", 1.0)

"""Sensitivity analyses expose a gain from avoided occasions, other criteria or part of the conversations."""

import os
import subprocess
import sys

import pytest

from core.evaluation.sensitivity import na_by_arm, sensitivities
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from tests.conftest import CHECKOUT
from tests.core.arms import incomplete, one, rubric

RUBRIC = rubric(listening=["C1", "C2"], leading=["C3"])


def arm(name, answers, value, personas=6, trials=1):
    rows = [one(name, persona, trial, value, answers=answers) for persona in range(personas) for trial in range(trials)]
    return {(row.persona, row.trial): row for row in rows}


def found(base, other, personas=()):
    return {item.name: item for item in sensitivities(base, other, RUBRIC, personas)}


def test_an_arm_that_only_avoids_occasions_gains_nothing_with_na_left_out():
    base = arm("base", {"C1": "YES", "C2": "NO", "C3": "YES"}, 0.75)
    avoids = arm("arm", {"C1": "YES", "C2": "NA", "C3": "YES"}, 1.0)
    ways = found(base, avoids)
    assert ways["NA left out"].base_mean == 0.75
    assert ways["only criteria answered YES or NO in both"].difference == 0.0
    assert ways["only criteria answered YES or NO in both"].arm_mean == 1.0
    assert na_by_arm(avoids) == {"C1": 0, "C2": 6, "C3": 0, "G1": 0, "G2": 0}


def test_without_na_every_sensitivity_analysis_gives_the_primary_difference():
    base, other = arm("base", {"C1": "YES", "C2": "NO", "C3": "NO"}, 0.25), arm("arm", {"C1": "YES", "C2": "YES", "C3": "NO"}, 0.5)
    assert {item.difference for item in found(base, other).values()} == {0.25}


def test_the_weight_of_an_inapplicable_category_goes_to_the_others():
    base, other = arm("base", {"C1": "NO", "C2": "NO", "C3": "NA"}, 0.5), arm("arm", {"C1": "YES", "C2": "NO", "C3": "NA"}, 0.75)
    assert (found(base, other)["NA left out"].base_mean, found(base, other)["NA left out"].arm_mean) == (0.0, 0.5)


def test_partly_judged_and_incomplete_conversations_are_left_out_of_the_analyses_they_would_distort():
    base, other = arm("base", {"C1": "YES", "C3": "YES"}, 1.0), arm("arm", {"C1": "YES", "C3": "NO"}, 0.5)
    other[0, 0] = one("arm", 0, 0, 0.9, answers={"C1": "YES"})
    other[1, 0] = incomplete(other[1, 0])
    ways = found(base, other)
    assert (ways["only pairs judged on the same criteria"].pairs, ways["NA left out"].pairs) == (4, 5)


def test_splits_by_length_and_by_topic_have_every_pair_once():
    personas = sample_batch(load_pack("therapeutic-coaching"), 9000, 12, None)
    rows = {name: {(p.seed, 0): one(name, p.seed, 0, value) for p in personas} for name, value in (("base", 0.5), ("arm", 0.7))}
    ways = found(rows["base"], rows["arm"], personas)
    assert sum(item.pairs for name, item in ways.items() if "exchanges" in name) == 12
    assert sum(item.pairs for name, item in ways.items() if name.startswith("first topic")) == 12
    assert all(item.difference == pytest.approx(0.2) for item in ways.values())


@pytest.mark.slow
def test_sensitivity_figures_are_identical_in_every_process():
    code = """
from core.evaluation.sensitivity import sensitivities
from core.packs.pack import load_pack
from tests.core.arms import one
rubric = load_pack("therapeutic-coaching").rubric
said = [{name: ("YES", "NO", "NA")[place * (persona + 2) % 7 % 3] for place, name in enumerate(rubric.criteria)} for persona in range(12)]
arm = {(persona, 0): one("arm", persona, 0, 0.5, answers=answers) for persona, answers in enumerate(said)}
print([item.model_dump_json() for item in sensitivities(arm, arm, rubric, ())])
"""
    printed = {
        subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, check=True).stdout
        for seed in ("0", "1", "2")
    }
    assert len(printed) == 1

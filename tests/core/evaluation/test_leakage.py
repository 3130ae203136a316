"""A judge that chose or wrote the training data, or is of the family that did, is named beside the headline."""

import pytest

from core.evaluation.leakage import leakage

HAIKU, SONNET, LUNA, FLASH = "anthropic/claude-haiku-5-5", "anthropic/claude-sonnet-5-5", "openai/gpt-6-luna", "google/gemini-3.8-flash"


@pytest.mark.parametrize(
    ("judges", "chosen_by", "written_by", "expected"),
    [
        ([LUNA], [FLASH], [SONNET], []),
        ([LUNA], [LUNA], [SONNET], ["also chose the training conversations"]),
        ([HAIKU], [FLASH], [SONNET], [f"is of the family claude, like {SONNET}, which wrote the training conversations"]),
        ([SONNET], [HAIKU], [SONNET], ["like " + HAIKU + ", which chose", "and also wrote the training conversations"]),
        ([LUNA, HAIKU], [HAIKU], [LUNA], [f"The judge {LUNA} also wrote", f"The judge {HAIKU} also chose"]),
        (["openai-compatible/my-own"], ["openai-compatible/another"], [], []),
        (["scripted/judge"], ["a person"], [], []),
    ],
)
def test_a_judge_related_to_the_training_data_is_reported(judges, chosen_by, written_by, expected):
    said = " ".join(leakage(judges, chosen_by, written_by))
    assert all(part in said for part in expected)
    assert bool(said) == bool(expected)

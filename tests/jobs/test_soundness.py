"""A training fails and leaves nothing if a figure or a weight is not finite, or if its loss rises far above the start."""

import json
import math
import runpy
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.conftest import needs
from tests.jobs.conftest import SCRIPT, Reported, train

needs("trl")


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.fixture(scope="module")
def failed(data: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Reported]]:
    """Trainings that must fail: the output and the report of each, by its name."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path_factory.mktemp("unsound")
    broken = shutil.copytree(bases["qwen3"], folder / "base")
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"][0] = math.nan
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    files = ["--train", data / "train.parquet", "--validation", data / "validation.parquet", "--max-length", 256, "--max-steps", 6]
    asked = {
        "loss": ["--base", bases["qwen3"], "--learning-rate", 1e20, "--gradient-accumulation", 4, "--save-steps", 2],
        "last step": ["--base", bases["qwen3"], "--learning-rate", 1e20, "--max-steps", 2, "--evaluate", "end"],
        "damaged": ["--base", broken],
    }
    reported = train(*([*files, *more, "--output", folder / name] for name, more in asked.items()))
    return {name: (folder / name, one) for name, one in zip(asked, reported, strict=True)}


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loss", "The training diverged: the training loss is nan at step 3; lower --learning-rate (1e+20)."),
        ("last step", "The training diverged: "),
        ("damaged", "The validation loss of the base, before any training, is nan; its weights are damaged"),
    ],
)
def test_a_loss_that_is_not_finite_ends_the_training_at_that_step_and_leaves_nothing(failed: dict[str, tuple[Path, Reported]], name: str, words: str) -> None:
    output, reported = failed[name]
    assert reported.code == 1
    assert len(reported.error.splitlines()) == 1
    assert reported.error.startswith(words)
    assert list(output.iterdir()) == []  # neither a result nor a checkpoint that a later run would resume from
    assert not reported.named("done")
    assert "NaN" not in json.dumps(reported.events)


def test_a_loss_far_above_its_start_ends_the_training_but_a_single_high_step_does_not(script: dict[str, Any]) -> None:
    def check(losses: Sequence[float], first: float = 2.0, **latest: float) -> None:
        log: list[dict[str, Any]] = [{"loss": loss} for loss in losses]
        script["check_step"](latest or log[-1], log, len(log), first, 2e-4)

    check([2, 2, 2, 2, 11.9])
    check([9, 9, 9, 9])  # too few steps for a mean
    check([2, 2], eval_loss=3.9)
    check([0.1] * 5, first=0.1, eval_loss=1.9)
    for losses, latest in (([4.1] * 5, {}), ([1e9] * 5, {}), ([2, 2], {"eval_loss": 4.1})):
        with pytest.raises(script["JobError"], match=r"^The training diverged: the (training|validation) loss .* and it was 2 before; lower --learning-rate"):
            check(losses, **latest)


@given(place=st.lists(st.sampled_from(["loss", 0, "checks"]), max_size=4), wrong=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_an_event_or_a_result_with_a_figure_that_is_not_finite_is_refused(
    script: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, place: list[Any], wrong: float
) -> None:
    content: Any = wrong
    for key in place:
        content = [content] if key == 0 else {"good": 1.5, key: content}
    target = tmp_path_factory.mktemp("result") / "metrics.json"
    with pytest.raises(script["JobError"], match=rf"metrics\.json is not finite: .*is {wrong}"):
        script["write_json"](target, {"figure": content})
    assert not target.exists()
    with pytest.raises(script["JobError"], match="event 'check' is not finite"):
        script["emit"]("check", figure=content)

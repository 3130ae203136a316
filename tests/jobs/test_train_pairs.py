"""The preference training, run in a separate process on a tiny adapter: what it compares, leaves out, and resumes."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import CHECKOUT, needs
from tests.jobs.conftest import SYSTEM, TOPICS, Reported, chats, kill_when, read_metrics, succeed, train, write_parquet

needs("trl")
pytestmark = [pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")]

PAIRS = CHECKOUT / "deployments" / "jobs" / "built" / "train_pairs.py"
BETTER, WORSE = "I hear you, no wonder.", "Have you tried yoga?"


def pair(number: int, more: str = "") -> dict[str, Any]:
    names = list(TOPICS)
    topics = [names[number % 4], names[(number // 4) % 4]]
    prompt = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": " ".join(TOPICS[topic] for topic in topics)}]
    chosen, rejected = (" ".join(f"About {topic}: {text}" for topic in topics) for text in (BETTER, WORSE))
    return {
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": chosen + more}],
        "rejected": [{"role": "assistant", "content": rejected}],
        "transcript_id": str(number),
    }


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pairs; one pair in each split is longer than --max-length."""
    folder = tmp_path_factory.mktemp("pairs")
    write_parquet(folder / "train.parquet", [*(pair(number) for number in range(16)), pair(3, more=" I hear you." * 200)])
    write_parquet(folder / "validation.parquet", [*(pair(number + 5) for number in range(6)), pair(2, more=" I hear you." * 200)])
    write_parquet(folder / "heldout.parquet", chats(4))
    return folder


@pytest.fixture(scope="module")
def adapter(data: Path, bases: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a short supervised training."""
    output = tmp_path_factory.mktemp("sft") / "adapter"
    files = ["--train", data / "train.parquet", "--validation", data / "validation.parquet"]
    succeed([*files, "--base", bases["qwen3"], "--output", output, "--max-length", 256, "--learning-rate", 1e-2, "--max-steps", 3])
    return output


def call(pairs: Path, base: Path, adapter: Path, output: Path, *more: object) -> list[object]:
    files = [word for name in ("train", "validation", "heldout") for word in (f"--{name}", pairs / f"{name}.parquet")]
    model = ["--base", base, "--adapter", adapter, "--output", output, "--max-length", 256]
    small = ["--gradient-accumulation", 1, "--learning-rate", 5e-3, "--reply-prompts", 2, "--reply-tokens", 8, "--epochs", 2]
    return [*files, *model, *small, *more]


@pytest.fixture(scope="module")
def runs(pairs: Path, bases: dict[str, Path], adapter: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Reported]]:
    folder = tmp_path_factory.mktemp("preferred")
    asked = {
        "dpo": ["--batch-size", 2],
        "kto": ["--loss", "kto", "--batch-size", 4],
        "whole": ["--max-steps", 8],
        "burst": ["--learning-rate", 1e20, "--max-steps", 4],
        "short": ["--max-length", 20],
    }
    calls = [call(pairs, bases["qwen3"], adapter, folder / name, *more) for name, more in asked.items()]
    return dict(zip(asked, zip([folder / name for name in asked], train(*calls, script=PAIRS), strict=True), strict=True))


@pytest.mark.parametrize("loss", ["dpo", "kto"])
def test_after_the_training_held_out_pairs_are_preferred_and_the_figures_before_it_are_kept(runs, loss):
    output, reported = runs[loss]
    assert (reported.code, reported.error) == (0, "")
    metrics = read_metrics(output)
    assert metrics["reward_accuracy"] > 0.5
    assert metrics["reward_margin"] > 0
    for when in ("before", "after"):
        assert 0 < metrics[when]["heldout_loss"] < 20
        assert 0 < metrics[when]["reply_tokens"] <= 8
    assert metrics["after"]["prefers_chosen"] >= metrics["before"]["prefers_chosen"]
    assert metrics["method"] == loss


def test_a_pair_that_does_not_fit_is_left_out_and_counted_and_no_pair_is_truncated(runs, pairs):
    (counted,) = runs["dpo"][1].named("pairs")
    assert (counted["train"]["pairs"], counted["train"]["too_long"]) == (16, 1)
    assert (counted["validation"]["pairs"], counted["validation"]["too_long"]) == (6, 1)
    _, reported = runs["short"]
    assert reported.code == 2
    assert "No train pair fits --max-length 20" in reported.error


def test_the_reference_is_the_given_adapter_and_the_result_is_one_adapter_of_the_same_shape(runs, adapter):
    from safetensors.numpy import load_file

    output, _ = runs["dpo"]
    given, made = load_file(adapter / "adapter_model.safetensors"), load_file(output / "adapter_model.safetensors")
    assert given.keys() == made.keys()
    assert any((given[name] != made[name]).any() for name in given)
    assert not (output / "ref").exists()
    config = json.loads((output / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["r"] == json.loads((adapter / "adapter_config.json").read_text(encoding="utf-8"))["r"]
    # In the first step the adapter equals the reference, so the loss of each pair is ln 2.
    assert read_metrics(output)["loss_curve"][0]["loss"] == pytest.approx(0.6931, abs=1e-3)


def test_a_diverging_training_leaves_nothing_and_names_the_option_to_lower(runs):
    output, reported = runs["burst"]
    assert reported.code == 1
    assert "diverged" in reported.error
    assert "--learning-rate" in reported.error
    assert not (output / "metrics.json").exists()
    assert not list(output.glob("checkpoint-*"))


def test_a_stopped_training_resumes_and_ends_with_the_same_weights(runs, pairs, bases, adapter, tmp_path):
    arguments = call(pairs, bases["qwen3"], adapter, tmp_path / "stopped", "--max-steps", 8, "--save-steps", 4)
    kill_when(lambda event: event["event"] == "checkpoint" and event["step"] >= 4, str(PAIRS), *map(str, arguments))
    (resumed,), (whole, _) = train(arguments, script=PAIRS), runs["whole"]
    assert (resumed.code, resumed.error) == (0, "")
    assert [event["step"] for event in resumed.named("resumed")] == [4]
    ours, theirs = read_metrics(tmp_path / "stopped"), read_metrics(whole)
    assert (ours["before"], ours["after"], ours["files"]["adapter_model.safetensors"]) == (
        *(theirs["before"], theirs["after"]),
        theirs["files"]["adapter_model.safetensors"],
    )

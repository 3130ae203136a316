"""Estimates of training and conversion follow the arithmetic and match measurements."""

import dataclasses
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BudgetError, SettingsError
from core.settings.pipeline import load_settings, load_training
from core.training.estimate import Load, conversion_memory, training_memory, training_seconds
from core.training.hardware import flavors, load_hardware
from core.training.plan import plan_conversion, plan_pairs, plan_training
from core.training.shapes import shape_of
from tests.conftest import CHECKOUT

HARDWARE = load_hardware()
KNOWN = HARDWARE.estimate
OFFERED = flavors(HARDWARE, {})
JOBS = load_settings("config/pipeline.yaml").jobs
QWEN = {
    "model_type": "qwen3",
    "hidden_size": 5120,
    "intermediate_size": 17408,
    "num_hidden_layers": 40,
    "num_attention_heads": 40,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
    "max_position_embeddings": 40960,
}
GEMMA = {
    "model_type": "gemma3",
    "text_config": {
        "hidden_size": 3840,
        "intermediate_size": 15360,
        "num_hidden_layers": 48,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": 256,
        "vocab_size": 262208,
    },
    "vision_config": {"hidden_size": 1152, "num_hidden_layers": 27},
}
LINEAR = {"linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128}
HYBRID = {"model_type": "qwen3_5_text", "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 248320, **LINEAR}
GEMMA4 = {"head_dim": 256, "global_head_dim": 512, "vocab_size": 262144}
SHIPPED = {
    "qwen3-14b": QWEN,
    "qwen3.5-2b": {
        **HYBRID,
        **{"hidden_size": 2048, "intermediate_size": 6144, "num_hidden_layers": 24, "num_attention_heads": 8, "num_key_value_heads": 2},
        **{"linear_num_value_heads": 16, "tie_word_embeddings": True},
    },
    "lfm2.5-1.2b": {
        **{"model_type": "lfm2", "hidden_size": 2048, "block_ff_dim": 12288, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8},
        **{"vocab_size": 65536, "full_attn_idxs": [2, 5, 8, 10, 12, 14], "tie_embedding": True},
    },
    "gemma-4-e4b": {
        **{"model_type": "gemma4_text", **GEMMA4, "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 42, "num_attention_heads": 8},
        **{"num_key_value_heads": 2, "hidden_size_per_layer_input": 256, "num_kv_shared_layers": 18},
    },
    "gemma-4-12b": {
        **{"model_type": "gemma4_unified_text", **GEMMA4, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48, "num_attention_heads": 16},
        **{"num_key_value_heads": 8, "num_global_key_value_heads": 1, "attention_k_eq_v": True},
    },
    "ministral-3-8b": {
        **{"model_type": "ministral3", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34, "num_attention_heads": 32},
        **{"num_key_value_heads": 8, "head_dim": 128, "vocab_size": 131072},
    },
    "qwen3.5-4b": {**HYBRID, "hidden_size": 2560, "intermediate_size": 9216, "num_hidden_layers": 32, "tie_word_embeddings": True},
    "qwen3.5-9b": {**HYBRID, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 32},
    "qwen3.6-27b": {
        **HYBRID,
        **{"hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 64, "num_attention_heads": 24, "linear_num_value_heads": 48},
    },
}
KNOBS = {"qlora": True, "lora-r": 64, "lora-dropout": 0.05, "max-length": 16384, "optimizer": "paged_adamw_8bit"}
LOAD = Load(tokens=1_500_000, validation_tokens=200_000, longest=15_000)


def total(shape=None, length=16384, **knobs):
    return sum(training_memory(shape or shape_of(QWEN, "qwen"), {**KNOBS, **knobs}, length, KNOWN).values())


def plan(name="qwen3-14b", flavor=None, spent=0.0, usd=50.0, offered=OFFERED, **train):
    training = load_training(name)
    assert training.flavors
    chosen = training.flavors.model_copy(update={"train": flavor or training.flavors.train})
    training = training.model_copy(update={"train": {**training.train, **train}, "flavors": chosen})
    return plan_training("Training on me/coach", shape_of(QWEN, "qwen"), training, LOAD, offered, KNOWN, JOBS.model_copy(update={"usd": usd}), spent)


def test_both_model_shapes_have_the_published_number_of_weights():
    # Qwen3 technical report: 14.8 billion; Gemma 3 technical report: 1.01 + 10.8 billion without the vision tower
    qwen, gemma = shape_of(QWEN, "qwen"), shape_of(GEMMA, "gemma")
    assert (qwen.linear + qwen.embedding) / 1e9 == pytest.approx(14.8, abs=0.1)
    assert gemma.embedding / 1e9 == pytest.approx(1.01, abs=0.01)
    assert gemma.linear / 1e9 == pytest.approx(10.8, abs=0.1)
    assert qwen.embedding == 2 * qwen.vocabulary * qwen.hidden


def test_a_config_that_is_not_a_decoder_is_refused_by_name():
    with pytest.raises(SettingsError, match=r"me/clip has no 'num_hidden_layers' in its config.json"):
        shape_of({"hidden_size": 1}, "me/clip")


@given(st.integers(64, 60_000), st.integers(64, 60_000))
def test_more_tokens_never_take_less_memory_or_time(one, other):
    short, long = sorted((one, other))
    assert total(length=short) <= total(length=long)
    shape, flavor = shape_of(QWEN, "qwen"), OFFERED["h200"]
    times = [training_seconds(shape, KNOBS, dataclasses.replace(LOAD, tokens=tokens), flavor, KNOWN) for tokens in (short, long)]
    assert times[0] <= times[1]


def test_a_number_of_steps_is_priced_instead_of_the_epochs():
    shape, flavor, load = shape_of(QWEN, "qwen"), OFFERED["h200"], dataclasses.replace(LOAD, rows=200)
    seconds = [training_seconds(shape, {**KNOBS, **knobs}, load, flavor, KNOWN) for knobs in ({"epochs": 2}, {"epochs": 9, "max-steps": 50})]
    assert seconds[1] == pytest.approx(seconds[0])  # 50 steps of 8 rows are two passes over 200


@pytest.mark.parametrize(
    ("knob", "value"),
    [("qlora", False), ("lora-dropout", 0.1), ("lora-r", 128), ("optimizer", "adamw_torch"), ("batch-size", 2), ("no-gradient-checkpointing", True)],
)
def test_each_option_that_takes_more_memory_raises_the_estimate(knob, value):
    base = {"lora-dropout": 0.0} if knob == "lora-dropout" else {}
    assert total(**{**base, knob: value}) > total(**base) * 1.001


def test_each_option_that_saves_memory_lowers_the_estimate():
    assert total(**{"offload-checkpoints": True}) < total()
    assert total(**{"lora-dropout": 0.0}) < total()


def test_a_plan_states_its_needs_and_the_suitable_machines():
    made = plan()
    assert made.chosen.flavor.name == "a100-large"
    assert made.gb == pytest.approx(sum(made.memory.values()))
    assert made.timeout_seconds >= made.chosen.seconds * 1.3 - 1
    assert made.chosen.usd == pytest.approx(made.chosen.seconds / 3600 * 2.5)
    assert [option.usd for option in made.options] == sorted(option.usd for option in made.options)
    assert {option.flavor.name for option in made.options} >= {"a100-large", "h200"}
    assert "t4-small" not in {option.flavor.name for option in made.options}


def test_a_machine_that_is_too_small_is_refused_with_the_suitable_ones():
    with pytest.raises(SettingsError, match=r"takes about \d+ GB, and l4x1 \(24 GB\) is too small; lower max-length .* one of: .*a100-large"):
        plan(flavor="l4x1")
    with pytest.raises(SettingsError, match=r"t4-small .* does not support bfloat16"):
        plan(flavor="t4-small")
    with pytest.raises(SettingsError, match=r"flavors\.train is 'a100x8'"):
        plan(flavor="a100x8")


def test_the_job_budget_counts_earlier_costs_and_the_full_time_limit():
    most = plan().most_usd
    assert plan(usd=most + 0.01).most_usd == most
    with pytest.raises(BudgetError, match=r"takes up to .* USD .* and 0.00 of .* Raise jobs.usd"):
        plan(usd=most - 0.01)
    with pytest.raises(BudgetError, match=r"and 1.00 of"):
        plan(usd=most + 0.5, spent=1.0)


def test_prices_and_memory_of_the_service_take_precedence_over_the_file():
    reported = {"a100-large": (4.0, 40.0), "h200": (5.0, 141.0), "a100x8": (20.0, 80.0)}
    offered = flavors(HARDWARE, reported)
    assert set(offered) == {"a100-large", "h200"}
    assert (offered["a100-large"].usd_per_hour, offered["a100-large"].gpu_gb, offered["a100-large"].live) == (4.0, 40.0, True)
    assert plan(offered=offered).chosen.usd == pytest.approx(plan().chosen.usd * 4.0 / 2.5)


def test_a_conversion_is_planned_by_ram():
    training, shape = load_training("qwen3-14b"), shape_of(QWEN, "qwen")
    made = plan_conversion("Export", shape, training, OFFERED, KNOWN, JOBS, 0.0)
    assert made.gb == pytest.approx(conversion_memory(shape, KNOWN))
    assert training.flavors
    small = training.model_copy(update={"flavors": training.flavors.model_copy(update={"convert": "cpu-upgrade"})})
    with pytest.raises(SettingsError, match=r"cpu-upgrade \(32 GB\) is too small; set flavors.convert to one of: "):
        plan_conversion("Export", shape, small, OFFERED, KNOWN, JOBS, 0.0)


PUBLISHED = {
    **{"qwen3.5-2b": 1.9, "qwen3.5-4b": 4.2, "qwen3.5-9b": 9.0, "qwen3.6-27b": 26.9},  # as named, without vision tower and multi-token prediction
    **{"lfm2.5-1.2b": 1.17, "gemma-4-12b": 11.9},  # 1,170,340,608 and 11,907,350,576
    **{"gemma-4-e4b": 7.5, "ministral-3-8b": 8.5},  # as named, with the embeddings of each layer and without the vision tower
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_shapes_have_their_published_number_of_weights(name):
    shape = shape_of(SHIPPED[name], name)
    assert (shape.linear + shape.embedding) / 1e9 == pytest.approx(PUBLISHED[name], rel=0.03)


def memory_of(name):
    """The peak memory of training with the shipped settings, in GB."""
    training = load_training(name)
    return sum(training_memory(shape_of(SHIPPED[name], name), training.train, int(str(training.train["max-length"])), KNOWN).values())


def test_the_documentation_shows_the_memory_of_each_training_setting():
    page = (CHECKOUT / "docs/training.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.-]+)` \|.*\| ([\d.]+) GB \|", page, re.MULTILINE)
    assert dict(rows) == {name: f"{memory_of(name):.1f}" for name in SHIPPED}
    assert {path.stem for path in (CHECKOUT / "config/training").glob("*.yaml")} == {*SHIPPED, "smollm2-135m", "smollm2-135m-demo"}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_settings_fit_their_machines(name):
    training, shape = load_training(name), shape_of(SHIPPED[name], name)
    load = dataclasses.replace(LOAD, longest=40_000)
    assert plan_training("Training", shape, training, load, OFFERED, KNOWN, JOBS, 0.0).chosen.fits
    assert plan_conversion("Export", shape, training, OFFERED, KNOWN, JOBS, 0.0).chosen.fits


def test_a_training_without_a_gpu_has_no_finite_time():
    assert training_seconds(shape_of(QWEN, "qwen"), KNOBS, LOAD, OFFERED["cpu-xl"], KNOWN) == float("inf")


def test_examples_longer_than_the_bases_context_are_refused_before_any_payment():
    shipped, long = load_training("qwen3-14b"), dataclasses.replace(LOAD, longest=40_000)
    training = shipped.model_copy(update={"train": {**shipped.train, "max-length": 32_768}})
    for changes, allowed in (
        ({"max_position_embeddings": 16_384}, False),
        ({"max_position_embeddings": 32_768}, True),
        ({"max_position_embeddings": 16_384, "rope_parameters": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 16_384}}, True),
    ):
        shape = shape_of(QWEN | changes, "qwen")
        if allowed:
            assert plan_training("Training", shape, training, long, OFFERED, KNOWN, JOBS, 0.0).chosen.fits
        else:
            with pytest.raises(SettingsError, match=r"takes 32,768 tokens, and the base was made for 16,384. Lower max-length to 16384"):
                plan_training("Training", shape, training, long, OFFERED, KNOWN, JOBS, 0.0)


def test_the_estimate_of_preference_training_includes_both_replies_and_the_reference():
    training = load_training("qwen3-14b").model_copy(update={"pairs": {"batch-size": 2, "epochs": 1.0}})
    shape = shape_of(QWEN, "qwen")
    once = training.model_copy(update={"train": training.train | {"batch-size": 4, "epochs": 1.0}})
    load = dataclasses.replace(LOAD, longest=2000)
    alone, pairs = (plan("Training", shape, given, load, OFFERED, KNOWN, JOBS, 0.0) for plan, given in ((plan_training, once), (plan_pairs, training)))
    assert pairs.gb == alone.gb  # two pairs are four replies
    assert alone.chosen.seconds < pairs.chosen.seconds < 2 * alone.chosen.seconds  # the reference has no gradient
    with pytest.raises(BudgetError, match="Preference training"):
        plan_pairs("Preference training", shape, training, load, OFFERED, KNOWN, JOBS.model_copy(update={"usd": 0.01}), 0.0)

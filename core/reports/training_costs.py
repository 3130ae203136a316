"""The cost of a training by base and way of learning, on the machines of the included settings; jobs are planned with the same estimate."""

from dataclasses import dataclass
from typing import Any

from core.errors import SettingsError
from core.packs.pack import Pack
from core.reports.costs import training_tokens
from core.reports.planned_calls import ASSUMPTIONS, Count, Sizes, measure_prompts
from core.settings.jobs import LEARN, Learn
from core.settings.pipeline import Settings, load_training
from core.training.estimate import Load, training_seconds
from core.training.hardware import flavors, load_hardware
from core.training.shapes import shape_of

_LINEAR = {"linear_num_value_heads": 32, "linear_num_key_heads": 16, "linear_key_head_dim": 128, "linear_value_head_dim": 128}
_HYBRID = {"model_type": "qwen3_5_text", "num_attention_heads": 16, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 248320, **_LINEAR}
_QWEN3 = {"model_type": "qwen3", "num_attention_heads": 40, "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": False}
PUBLISHED: dict[str, dict[str, Any]] = {
    "qwen3.5-4b": {**_HYBRID, "hidden_size": 2560, "intermediate_size": 9216, "num_hidden_layers": 32, "tie_word_embeddings": True},
    "qwen3.5-9b": {**_HYBRID, "hidden_size": 4096, "intermediate_size": 12288, "num_hidden_layers": 32},
    "qwen3-14b": {**_QWEN3, "hidden_size": 5120, "intermediate_size": 17408, "num_hidden_layers": 40, "max_position_embeddings": 40960},
}
"""Shapes of the included bases from their `config.json`, by name of the training settings. They are copied here so that the page needs no network."""


@dataclass(frozen=True)
class TrainingCost:
    """The cost of a training with included settings.

    Args:
        name: name of the training settings.
        flavor: name of the rented machine.
        passes: number of epochs.
        learn: the way of learning.
        tokens: tokens of one epoch.
        hours, usd: duration and price of all epochs, with the machine's start and the validations.
    """

    name: str
    flavor: str
    passes: float
    learn: Learn
    tokens: int
    hours: float
    usd: float


def training_costs(pack: Pack, settings: Settings, transcripts: int, count: Count, measured: Sizes | None = None) -> list[TrainingCost]:
    """Return the cost of a training on those of `transcripts` transcripts that pass, for each base and way of learning."""
    hardware, sizes = load_hardware(), measured or measure_prompts(pack, settings, count)
    offered, share = flavors(hardware, {}), settings.dataset.validation_share
    longest = round(sizes.short + max(sizes.lengths) * (ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens))
    costs = []
    for name, config in PUBLISHED.items():
        training = load_training(name)
        if training.flavors is None:
            raise SettingsError(f"config/training/{name}.yaml has no flavors, so its cost is not known. Name its machines.")
        flavor, estimate = offered[training.flavors.train], hardware.estimate
        estimate = estimate.model_copy(update={"efficiency": training.efficiency or estimate.efficiency})
        for learn in LEARN:
            tokens = training_tokens(pack, settings.model_copy(update={"training": name}), transcripts, count, sizes, learn)
            load = Load(round(tokens * (1 - share)), round(tokens * share), longest)
            hours = training_seconds(shape_of(config, name), training.train, load, flavor, estimate) / 3600
            passes = training.train.get("epochs", 3)
            costs.append(TrainingCost(name, flavor.name, float(str(passes)), learn, load.tokens, hours, hours * flavor.usd_per_hour))
    return costs

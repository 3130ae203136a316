"""Estimates the memory and the time of a training or a conversion before it is paid for.

The memory is that of QLoRA with gradient checkpointing. Its parts are the frozen weights, the adapter with its optimizer, the inputs of all layers, the
largest layer while it is recomputed, and the logits (length × vocabulary × 4 bytes; with the fused loss only for a tile of the length).
docs/training-memory.md compares the estimate with measurements.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from core.dataset.example_files import CONVERSATION_ROWS
from core.records import DatasetRef
from core.settings.job_arguments import Argument
from core.settings.jobs import Training
from core.storage.store import Store
from core.training.hardware import Estimate, Flavor
from core.training.shapes import Matrices, Shape
from core.training.windows import windowed_tokens

GB = 2**30
ATTENTION = ("q_proj", "k_proj", "v_proj", "o_proj")
"""The matrices that train_sft.py adapts by default."""


@dataclass(frozen=True)
class Load:
    """The amount of data of a training.

    Args:
        tokens: training tokens of one epoch.
        validation_tokens: tokens of one validation.
        longest: tokens of the longest example, before it is cut.
        rows: training rows of one epoch; 0 if the number is not known.
    """

    tokens: int
    validation_tokens: int
    longest: int
    rows: int = 0


def training_memory(shape: Shape, knobs: Mapping[str, Argument], length: int, known: Estimate) -> dict[str, float]:
    """Return the peak GPU memory of a training by part, in GB (2^30 bytes).

    Args:
        knobs: arguments of train_sft.py.
        length: tokens of the longest example, after it is cut.
        known: assumptions of the estimate.
    """
    tokens = length * int(_number(knobs, "batch-size", 1))
    checkpointing, offload = knobs.get("no-gradient-checkpointing") is not True, knobs.get("offload-checkpoints") is True
    weight = known.bytes_a_weight_4bit if knobs.get("qlora") else 2
    trained = known.bytes_a_trained_weight_8bit if "8bit" in str(knobs.get("optimizer", "")) else known.bytes_a_trained_weight
    layer = known.recompute_hidden * shape.hidden + known.recompute_intermediate * shape.intermediate
    if _number(knobs, "lora-dropout", 0.05):
        layer += known.recompute_dropout * max(sum(inputs for inputs, _ in _adapted(matrices, knobs).values()) for matrices in shape.layers) / len(ATTENTION)
    return {
        "weights": (shape.linear * weight + shape.embedding * 2) / GB,
        "adapter and optimizer": _adapter(shape, knobs) * trained / GB,
        "inputs of the layers": 0.0 if offload else tokens * shape.hidden * 2 * len(shape.layers) / GB,
        "one layer computed again": tokens * layer * (1 if checkpointing else len(shape.layers)) / GB,
        "logits": min(tokens, known.loss_tokens) * shape.vocabulary * 4 / GB,
        "CUDA": known.fixed_gb,
    }


def training_seconds(shape: Shape, knobs: Mapping[str, Argument], load: Load, flavor: Flavor, known: Estimate) -> float:
    """Return the seconds that a training takes on a machine, including its start; infinite without a GPU.

    Per token, the forward pass takes two operations per weight. The recomputation takes as many again, and so do the gradients of the activations (frozen
    weights need no gradients). Attention adds operations in proportion to the length.
    """
    if flavor.gpu is None:
        return float("inf")
    length = min(load.longest, int(_number(knobs, "max-length", load.longest)))
    attention = 2 * length * shape.attended
    forward = 2 * (shape.linear + shape.vocabulary * shape.hidden) + attention
    passes, steps = _number(knobs, "epochs", 3), _number(knobs, "max-steps", -1)
    rows = load.tokens / length if knobs.get("packing") else load.rows
    if steps > 0 and rows:
        passes = steps * _number(knobs, "batch-size", 1) * _number(knobs, "gradient-accumulation", 8) / rows
    tokens = passes * load.tokens * 3.25 + (passes + 1) * load.validation_tokens
    return known.start_minutes * 60 + tokens * forward / (flavor.gpu.tflops * 1e12 * known.efficiency)


def conversion_memory(shape: Shape, known: Estimate) -> float:
    """Return the RAM that merging, conversion and checks take, in GB."""
    return (shape.linear + shape.embedding) * known.convert_bytes_a_weight / GB


def conversion_seconds(shape: Shape, quantisations: int, known: Estimate) -> float:
    """Return the seconds that a conversion takes, including its start.

    Args:
        quantisations: number of files that are made from the 16-bit one. The check of the adapter's file and the importance matrix count as one each.
    """
    weights = (shape.linear + shape.embedding) * 2 / GB
    return known.start_minutes * 60 + 60 * weights * (1 + quantisations / 2) / known.convert_gb_a_minute


def usable(flavor: Flavor, known: Estimate) -> float:
    """Return the GPU memory of a machine without the share that is kept free, in GB."""
    return flavor.gpu_gb * (1 - known.spare)


def _adapted(layer: Matrices, knobs: Mapping[str, Argument]) -> Matrices:
    """Return the matrices of a layer that the adapter changes."""
    modules = knobs.get("target-modules", list(ATTENTION))
    names = modules if isinstance(modules, list) else [str(modules)]
    return layer if names == ["all-linear"] else {name: sizes for name, sizes in layer.items() if name in names}


def _adapter(shape: Shape, knobs: Mapping[str, Argument]) -> int:
    """Return the number of the adapter's weights."""
    return int(_number(knobs, "lora-r", 64)) * sum(sum(sizes) for layer in shape.layers for sizes in _adapted(layer, knobs).values())


def _number(knobs: Mapping[str, Argument], name: str, default: float) -> float:
    value = knobs.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def load_of_pairs(store: Store, dataset: DatasetRef) -> Load:
    """Return the amount of data in a dataset's pairs, from the token counts in its manifest; both replies count, each with its prompt."""
    counted = store.load_json(f"{dataset.path}/manifest.json")["pairs"]
    return Load(counted["tokens"]["train"], counted["tokens"]["validation"], counted["longest"], counted["train"])


def load_of(store: Store, dataset: DatasetRef, training: Training) -> Load:
    """Return the amount of data in a dataset's slices or conversations, as the training reads them, from the dataset's own token counts."""
    limit = training.train["max-length"]
    if training.learn == "slices":
        counted = store.load_json(f"{dataset.path}/manifest.json")["statistics"]
        tokens = {split: counted[split]["examples"] * counted[split]["mean"] for split in ("train", "validation")}
        return Load(tokens["train"], tokens["validation"], max(counted[split]["max"] for split in tokens), counted["train"]["examples"])
    rows: dict[str, list[int]] = {"train": [], "validation": []}
    for line in store.read(f"{dataset.path}/{CONVERSATION_ROWS}").splitlines():
        row = json.loads(line)
        rows[row["split"]] += windowed_tokens(row["frame"], row["sizes"], row["slices"], int(limit) if isinstance(limit, int) else None)
    return Load(sum(rows["train"]), sum(rows["validation"]), max(map(max, rows.values())), len(rows["train"]))

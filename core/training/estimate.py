"""How much memory, time and money a training or a conversion takes, before it is paid for.

The parts of the memory are those of QLoRA with gradient checkpointing: the frozen weights, the adapter with its optimizer, the inputs of all layers, the
largest layer while it is computed again, and the logits (length × vocabulary × 4 bytes; with the fused loss only for a tile of the length).
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


@dataclass(frozen=True)
class Load:
    """What is trained on.

    Args:
        tokens, validation_tokens: of one pass; longest: tokens of the longest example, before it is cut.
        rows: that are trained on in a pass; 0 where that is not known.
    """

    tokens: int
    validation_tokens: int
    longest: int
    rows: int = 0


def training_memory(shape: Shape, knobs: Mapping[str, Argument], length: int, known: Estimate) -> dict[str, float]:
    """Return the GPU memory that training takes at its peak, by part, in GB (2^30 bytes).

    Args:
        knobs: arguments of train_sft.py.
        length: tokens of the longest example that is trained on.
    """
    tokens = length * int(_number(knobs, "batch-size", 1))
    checkpointing, offload = knobs.get("no-gradient-checkpointing") is not True, knobs.get("offload-checkpoints") is True
    weight = known.bytes_a_weight_4bit if knobs.get("qlora") else 2
    trained = known.bytes_a_trained_weight_8bit if "8bit" in str(knobs.get("optimizer", "")) else known.bytes_a_trained_weight
    layer = known.recompute_hidden * shape.hidden + known.recompute_intermediate * shape.intermediate
    if _number(knobs, "lora-dropout", 0.05):
        layer += known.recompute_dropout * max(sum(inputs for inputs, _ in _adapted(one, knobs).values()) for one in shape.layers) / len(ATTENTION)
    return {
        "weights": (shape.linear * weight + shape.embedding * 2) / GB,
        "adapter and optimizer": _adapter(shape, knobs) * trained / GB,
        "inputs of the layers": 0.0 if offload else tokens * shape.hidden * 2 * len(shape.layers) / GB,
        "one layer computed again": tokens * layer * (1 if checkpointing else len(shape.layers)) / GB,
        "logits": min(tokens, known.loss_tokens) * shape.vocabulary * 4 / GB,
        "CUDA": known.fixed_gb,
    }


def training_seconds(shape: Shape, knobs: Mapping[str, Argument], load: Load, flavor: Flavor, known: Estimate) -> float:
    """Return how long training takes on a machine, with its start.

    A token costs two operations a weight in the forward pass, as many again for the recomputation and for the gradients of the activations (frozen weights
    have none of their own), and attention in proportion to the length.
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
    """Return the RAM that merging, converting and checking take, in GB."""
    return (shape.linear + shape.embedding) * known.convert_bytes_a_weight / GB


def conversion_seconds(shape: Shape, quantisations: int, known: Estimate) -> float:
    """Return how long a conversion takes, with its start.

    Args:
        quantisations: files made from the 16-bit one; the proof of the adapter's file and the importance matrix take as long as one each.
    """
    weights = (shape.linear + shape.embedding) * 2 / GB
    return known.start_minutes * 60 + 60 * weights * (1 + quantisations / 2) / known.convert_gb_a_minute


def usable(flavor: Flavor, known: Estimate) -> float:
    """Return the GPU memory that may be planned with, in GB."""
    return flavor.gpu_gb * (1 - known.spare)


def _adapted(layer: Matrices, knobs: Mapping[str, Argument]) -> Matrices:
    """Return the matrices of a layer that are adapted."""
    given = knobs.get("target-modules", list(ATTENTION))
    names = given if isinstance(given, list) else [str(given)]
    return layer if names == ["all-linear"] else {name: sizes for name, sizes in layer.items() if name in names}


def _adapter(shape: Shape, knobs: Mapping[str, Argument]) -> int:
    """Return how many weights are trained."""
    return int(_number(knobs, "lora-r", 64)) * sum(sum(sizes) for layer in shape.layers for sizes in _adapted(layer, knobs).values())


def _number(knobs: Mapping[str, Argument], name: str, default: float) -> float:
    value = knobs.get(name, default)
    return float(value) if isinstance(value, int | float) else default


def load_of_pairs(store: Store, dataset: DatasetRef) -> Load:
    """Return how much the pairs of a dataset have to read, by the dataset's own count of tokens: both replies, each with its prompt."""
    counted = store.load_json(f"{dataset.path}/manifest.json")["pairs"]
    return Load(counted["tokens"]["train"], counted["tokens"]["validation"], counted["longest"], counted["train"])


def load_of(store: Store, dataset: DatasetRef, training: Training) -> Load:
    """Return how much there is to learn, by the dataset's own count of tokens."""
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

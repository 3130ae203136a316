"""The machines that jobs can be given: memory, price and speed (config/hardware.yaml)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from core.errors import SettingsError
from core.paths import find_data
from core.quantities import Part, Positive, Share
from core.yaml_files import Strict, load_yaml


class Gpu(Strict):
    """A kind of GPU.

    Args:
        tflops: peak dense 16-bit matrix arithmetic.
        bf16: whether it supports bfloat16.
    """

    tflops: Positive
    bf16: bool = True


class FlavorData(Strict):
    """A machine.

    Args:
        usd_per_hour: its price.
        ram_gb: main memory; gpu_gb: GPU memory.
        gpu: its GPU, one of `gpus`.
    """

    usd_per_hour: Positive
    ram_gb: Positive
    gpu: str | None = None
    gpu_gb: Positive | None = None


class Estimate(Strict):
    """Assumptions of the estimate beyond the model's shape (core/training/estimate.py).

    Args:
        efficiency: share of a GPU's peak arithmetic that training reaches.
        spare: share of GPU memory that is kept free.
        fixed_gb: GPU memory in use before anything is loaded.
        bytes_a_weight_4bit: bytes per frozen weight, including the scales of its block.
        bytes_a_trained_weight, bytes_a_trained_weight_8bit: bytes per adapter weight with gradient and optimizer state (16-bit or 8-bit optimizer).
        recompute_hidden, recompute_intermediate: bytes per token and hidden or intermediate unit while a layer is recomputed.
        recompute_dropout: extra bytes per token and matrix input for the adapter's dropout.
        loss_tokens: number of tokens whose logits are in memory together.
        start_minutes: time from a job's start to its first step.
        convert_bytes_a_weight: RAM of the conversion, in bytes per weight.
        convert_gb_a_minute: speed of merging, conversion and checks, in GB of 16-bit weights per minute.
    """

    efficiency: Part
    spare: Annotated[Share, Field(lt=1)]
    fixed_gb: Positive
    bytes_a_weight_4bit: Positive
    bytes_a_trained_weight: Positive
    bytes_a_trained_weight_8bit: Positive
    recompute_hidden: Positive
    recompute_intermediate: Positive
    recompute_dropout: Positive
    loss_tokens: Positive
    start_minutes: Positive
    convert_bytes_a_weight: Positive
    convert_gb_a_minute: Positive


class Hardware(Strict):
    """`config/hardware.yaml`."""

    flavors: dict[str, FlavorData]
    gpus: dict[str, Gpu]
    estimate: Estimate

    @model_validator(mode="after")
    def _known_gpus(self) -> "Hardware":
        for name, flavor in self.flavors.items():
            if flavor.gpu is not None and (flavor.gpu not in self.gpus or flavor.gpu_gb is None):
                raise ValueError(f"flavors.{name} needs gpu_gb and a gpu of {', '.join(self.gpus)}")
        return self


@dataclass(frozen=True)
class Flavor:
    """A machine that a job can be given.

    Args:
        gpu: none on a machine that has only processors.
        live: whether price and memory are the service's answer, and not the file's.
    """

    name: str
    usd_per_hour: float
    ram_gb: float
    gpu: Gpu | None = None
    gpu_gb: float = 0.0
    live: bool = False


def load_hardware(root: Path | None = None) -> Hardware:
    """Read `config/hardware.yaml`.

    Raises:
        SettingsError: something in it is wrong.
    """
    return load_yaml(root / "config/hardware.yaml" if root else find_data("config/hardware.yaml"), Hardware, SettingsError)


def flavors(hardware: Hardware, offered: Mapping[str, tuple[float, float | None]]) -> dict[str, Flavor]:
    """Return the machines by name.

    Args:
        offered: what the service says of them: USD an hour, and GB of one GPU's memory. Empty if it said nothing; else what it does not offer is left out.
    """
    by_name = {}
    for name, data in hardware.flavors.items():
        flavor = Flavor(name, data.usd_per_hour, data.ram_gb, hardware.gpus[data.gpu] if data.gpu else None, data.gpu_gb or 0.0)
        if name in offered:
            usd, gpu_gb = offered[name]
            flavor = replace(flavor, usd_per_hour=usd, gpu_gb=gpu_gb or flavor.gpu_gb, live=True)
        if name in offered or not offered:
            by_name[name] = flavor
    return by_name

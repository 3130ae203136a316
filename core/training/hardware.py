"""The machines on which jobs can run, with memory, price and speed (config/hardware.yaml)."""

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
    """A kind of GPU."""

    tflops: Positive
    """Peak speed of dense 16-bit matrix arithmetic, in TFLOPS."""
    bf16: bool = True
    """Whether it supports bfloat16."""


class FlavorData(Strict):
    """A machine."""

    usd_per_hour: Positive
    """Its price."""
    ram_gb: Positive
    """Main memory."""
    gpu: str | None = None
    """Its GPU, one of `gpus`."""
    gpu_gb: Positive | None = None
    """GPU memory."""


class Estimate(Strict):
    """Assumptions of the estimate beyond the model's shape (core/training/estimate.py)."""

    efficiency: Part
    """Share of a GPU's peak arithmetic that training reaches."""
    spare: Annotated[Share, Field(lt=1)]
    """Share of GPU memory that is kept free."""
    fixed_gb: Positive
    """GPU memory in use before anything is loaded."""
    bytes_a_weight_4bit: Positive
    """Bytes per frozen 4-bit weight, including the scales of its block."""
    bytes_a_trained_weight: Positive
    """Bytes per adapter weight, with gradient and optimizer state."""
    bytes_a_trained_weight_8bit: Positive
    """Bytes per adapter weight, with gradient and 8-bit optimizer state."""
    recompute_hidden: Positive
    """Bytes per token and hidden unit while a layer is recomputed."""
    recompute_intermediate: Positive
    """Bytes per token and intermediate unit while a layer is recomputed."""
    recompute_dropout: Positive
    """Extra bytes per token and matrix input for the adapter's dropout."""
    loss_tokens: Positive
    """Number of tokens whose logits are in memory together."""
    start_minutes: Positive
    """Time from a job's start to its first step."""
    convert_bytes_a_weight: Positive
    """RAM of the conversion, in bytes per weight."""
    convert_gb_a_minute: Positive
    """Speed of merging, conversion and checks, in GB of 16-bit weights per minute."""


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
    """A machine on which a job can run.

    Args:
        gpu: None for a machine without a GPU.
        gpu_gb: memory of the GPU, in GB.
        live: whether price and memory come from the service rather than from the file.
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
        SettingsError: the file is not valid.
    """
    return load_yaml(root / "config/hardware.yaml" if root else find_data("config/hardware.yaml"), Hardware, SettingsError)


def flavors(hardware: Hardware, offered: Mapping[str, tuple[float, float | None]]) -> dict[str, Flavor]:
    """Return the machines by name.

    Args:
        offered: the service's answer by name: USD per hour, and the memory of one GPU in GB. If it is empty, all machines of the file are returned;
            otherwise only those in it.
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

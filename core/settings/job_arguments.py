"""Arguments of the job scripts that training settings may contain, with types and bounds, so that errors are found before a job is paid for.

Arguments for a job's inputs, outputs and access rights are excluded: the job's specification sets them (core/training/specs.py).

Source:
    deployments/jobs/train/options.py and convert/options.py; a test checks that they agree.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from core.quantities import Count, Part, Positive, Ratio, Seconds, Seed, Share, Whole
from core.yaml_files import Strict

Argument = bool | int | float | str | list[str]
"""Value of a job script's argument. Text and numbers become `--name value`, true becomes `--name`, false is omitted, and a list becomes several values."""

Name = Annotated[str, Field(pattern=r"^\w[\w./-]*$", max_length=200)]
"""A short name or path. The length is not part of the pattern, which would then take 17 MB when compiled."""


class _Arguments(Strict):
    """Arguments, under their names on the command line."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, alias_generator=lambda name: name.replace("_", "-"))


class TrainArguments(_Arguments):
    """Arguments of deployments/jobs/built/train_sft.py; `--help` describes them."""

    max_length: Annotated[Count, Field(ge=16)]
    reply_prefix: Annotated[str, Field(max_length=200)] | None = None
    lora_r: Annotated[Count, Field(le=1024)] | None = None
    lora_alpha: Annotated[Count, Field(le=4096)] | None = None
    lora_dropout: Annotated[Share, Field(lt=1)] | None = None
    target_modules: Annotated[list[Name], Field(min_length=1)] | Name | None = None
    qlora: bool | None = None
    attention: Name | None = None
    epochs: Annotated[Positive, Field(le=1000)] | None = None
    max_steps: Annotated[int, Field(strict=True, ge=-1, le=1_000_000)] | None = None
    batch_size: Annotated[Count, Field(le=4096)] | None = None
    gradient_accumulation: Annotated[Count, Field(le=65_536)] | None = None
    packing: bool | None = None
    learning_rate: Part | None = None
    schedule: Name | None = None
    warmup: Share | None = None
    optimizer: Name | None = None
    gradient_checkpointing: bool | None = None
    no_gradient_checkpointing: bool | None = None
    offload_checkpoints: bool | None = None
    evaluate: Literal["epoch", "end"] | None = None
    seed: Seed | None = None
    allow_truncated: Share | None = None
    save_steps: Count | None = None
    retry_seconds: Seconds | None = None
    trackio_project: Name | None = None
    trackio_space: Name | None = None


class PairArguments(_Arguments):
    """Arguments of deployments/jobs/built/train_pairs.py; `--help` describes them. All others are taken from the training that it continues."""

    loss: Literal["dpo", "kto"] | None = None
    beta: Annotated[Positive, Field(le=1000)] | None = None
    epochs: Annotated[Positive, Field(le=1000)] | None = None
    max_steps: Annotated[int, Field(strict=True, ge=-1, le=1_000_000)] | None = None
    batch_size: Annotated[Count, Field(le=4096)] | None = None
    gradient_accumulation: Annotated[Count, Field(le=65_536)] | None = None
    learning_rate: Part | None = None
    schedule: Name | None = None
    warmup: Share | None = None
    evaluate: Literal["epoch", "end"] | None = None
    heldout_examples: Whole | None = None
    reply_prompts: Whole | None = None
    reply_tokens: Count | None = None
    seed: Seed | None = None
    save_steps: Count | None = None


class ConvertArguments(_Arguments):
    """Arguments of deployments/jobs/built/convert_gguf.py; `--help` describes them."""

    keep_f16: bool | None = None
    discard_f16: bool | None = None
    fallback_pre_tokenizer: Name | None = None
    context: Annotated[Count, Field(ge=16)] | None = None
    temperature: Annotated[Ratio, Field(le=10)] | None = None
    threads: Annotated[Count, Field(le=1024)] | None = None
    heldout_examples: Count | None = None
    heldout_tokens: Annotated[Count, Field(ge=2)] | None = None
    calibration_tokens: Annotated[Count, Field(ge=512)] | None = None
    kl_bound: Ratio | None = None
    reference_dtype: Literal["float32", "bfloat16"] | None = None
    logit_tolerance: Ratio | None = None
    min_agreement: Share | None = None
    greedy_tokens: Count | None = None
    min_greedy_agreement: Share | None = None
    loss_tolerance: Ratio | None = None
    quantisation_tolerance: Ratio | None = None
    reply_tokens: Count | None = None
    allow_endless: bool | None = None
    retry_seconds: Seconds | None = None

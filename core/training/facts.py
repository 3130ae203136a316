"""Typed facts about an adapter, read from the `metrics.json` of its training job, for the model cards."""

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from core.errors import JobError
from core.records import Record
from core.training.curve import LossCurve, loss_curve
from core.yaml_files import check


class FileFacts(Record):
    """A file of the repository. A figure is None if it was not measured.

    Args:
        heldout_loss: mean loss over the held-out texts.
        loss_difference: this loss minus that of the 16-bit file.
        kl: mean Kullback-Leibler divergence from the 16-bit file on the held-out texts, in nats per token.
        loss_half, kl_half: half the width of the 95 % interval of `loss_difference` and of `kl`.
        ended: whether the model ended a short chat with a stop token.
        fallen_back: number of matrices that got another quantisation, by the name of that quantisation.
    """

    name: str
    bytes: int
    sha256: str
    heldout_loss: float | None = None
    loss_difference: float | None = None
    kl: float | None = None
    loss_half: float | None = None
    kl_half: float | None = None
    ended: bool | None = None
    fallen_back: dict[str, int] = Field(default_factory=dict)


class Split(Record):
    """The examples of a split, and how many of them the training length cut, as the training script counts them."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    examples: int
    tokens: int
    longest: int
    truncated: int
    cut_token_share: float


class TrainingFacts(Record):
    """The contents of a training job's `metrics.json`, under the script's own names, and facts about its machine.

    Args:
        r, lora_alpha, lora_dropout, target_modules: the adapter's rank, scale, dropout and the matrices that it changes.
        max_steps: overrides the epochs if it is above 0.
        learn: how the replies are taught (`learn` in the training settings).
        replies: number of replies taught in one epoch; None if the script did not count them.
        supervised_tokens: tokens of the assistant's replies, the only ones that are learnt.
        seconds: duration, from reading the data on.
        resumed_from: step of the checkpoint from which the job resumed; None if it did not.
        usd: cost of the machine; None if it is not known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    r: int
    lora_alpha: float
    lora_dropout: float
    target_modules: list[str]
    trainable_parameters: int | None = None
    num_train_epochs: float
    max_steps: int = -1
    steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    lr_scheduler_type: str
    warmup_steps: float
    optim: str
    max_length: int
    seed: int
    truncation: dict[str, Split]
    learn: str = "slices"
    replies: int | None = None
    supervised_tokens: int
    stop_tokens: list[str]
    loss: LossCurve
    seconds: float
    tokens_per_second: float | None = None
    peak_memory_bytes: int | None = None
    resumed_from: int | None = None
    versions: dict[str, str]
    files: list[FileFacts] = Field(default_factory=list)
    hardware: str | None = None
    usd: float | None = None


class HeldOut(Record):
    """Figures of an adapter on held-out data. A figure is None if it was not measured.

    Args:
        heldout_loss: loss of the supervised training.
        reply_tokens: mean length of greedy replies.
        prefers_chosen: share of held-out pairs in which the tokens of the better reply are more likely on average.
    """

    heldout_loss: float | None
    reply_tokens: float | None
    prefers_chosen: float


class PairSplit(Record):
    """The number of pairs used, and of those left out because they were too long."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pairs: int
    too_long: int


class PairFacts(Record):
    """The contents of a preference training's `metrics.json`, under the script's own names, and facts about its machine.

    Args:
        method: `dpo` or `kto`.
        mean_tokens: mean length of the better and of the worse replies in training.
        reward_accuracy: share of held-out pairs whose better reply became more likely by more than the other.
        before, after: figures of the adapter before and after the preference training.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    method: str
    beta: float
    num_train_epochs: float
    steps: int
    per_device_train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    pairs: dict[str, PairSplit]
    mean_tokens: dict[str, float]
    reward_accuracy: float
    before: HeldOut
    after: HeldOut
    loss: LossCurve
    seconds: float
    files: list[FileFacts] = Field(default_factory=list)
    hardware: str | None = None
    usd: float | None = None


def training_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> TrainingFacts:
    """Return the facts in a training's `metrics.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    files = [file_entry(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, TrainingFacts, JobError, "metrics.json")


def pair_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> PairFacts:
    """Return the facts in a preference training's `metrics.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    files = [file_entry(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, PairFacts, JobError, "metrics.json")


def file_entry(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every job states of a file that it wrote, under the names of `FileFacts`."""
    return {"name": name, "bytes": known.get("bytes"), "sha256": known.get("sha256")}

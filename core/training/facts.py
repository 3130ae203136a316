"""Typed facts about an adapter, read from the `metrics.json` of its training job, for the model cards."""

from collections import Counter
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


class ExportFacts(Record):
    """Facts about GGUF files. A figure is None if it was not measured, and the card then omits it.

    Args:
        main: the file that the Modelfile names and that the card's commands run.
        context: context length in tokens, the Modelfile's `num_ctx`.
        template_identical: whether the chat template in the file is identical to the tokenizer's.
        texts_alike: number of texts that llama.cpp and the tokenizer split into the same tokens.
        positions: number of positions at which logits were compared.
        logit_difference: standard deviation of the differences between the 16-bit file's logits and the merged model's, as a share of that of the logits.
        logit_tolerance, least_agreement: the bounds on `logit_difference` and `agreement`.
        agreement: share of positions with the same most likely token.
        greedy_agreement: share of equal tokens in greedy replies, each compared up to a near tie.
        greedy_tokens: number of tokens compared for `greedy_agreement`.
        merged_loss: loss of the merged model on the held-out texts.
        adapter_loss: loss of the base with the unmerged adapter on the held-out texts.
        heldout: a description of the held-out texts.
        pre_tokenizer: the pre-tokenizer from the settings, for a tokenizer that llama.cpp does not know.
        recommended: the smallest quantised file whose divergence is at most `kl_bound`; None if there is none.
        importance: counts of what was read for the importance matrix: `conversations`, `tokens` and `matrices`.
        lora: the file that holds only the adapter.
        lora_difference: the same as `logit_difference`, for the base with that file.
    """

    files: list[FileFacts]
    main: str
    context: int | None = None
    template_identical: bool | None = None
    texts_alike: int | None = None
    positions: int | None = None
    logit_difference: float | None = None
    logit_tolerance: float | None = None
    agreement: float | None = None
    least_agreement: float | None = None
    greedy_agreement: float | None = None
    greedy_tokens: int | None = None
    merged_loss: float | None = None
    adapter_loss: float | None = None
    heldout: str | None = None
    stop_token: str | None = None
    pre_tokenizer: str | None = None
    recommended: str | None = None
    kl_bound: float | None = None
    importance: dict[str, int] | None = None
    lora: str | None = None
    lora_difference: float | None = None
    seconds: float | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    hardware: str | None = None
    usd: float | None = None


def training_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> TrainingFacts:
    """Return the facts in a training's `metrics.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    files = [_file(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, TrainingFacts, JobError, "metrics.json")


def pair_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> PairFacts:
    """Return the facts in a preference training's `metrics.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    files = [_file(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, PairFacts, JobError, "metrics.json")


def export_facts(export: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> ExportFacts:
    """Return the facts in `export.json`, with the machine and its cost in USD.

    Raises:
        JobError: a fact is missing or has the wrong form.
    """
    checks, named, fallen = (export.get(part) or {} for part in ("checks", "files", "fallback_tensors"))
    parts = ("replies", "heldout_loss", "heldout_loss_difference", "kl_divergences", "lora")
    replies, losses, differences, divergences, lora = (checks.get(part) or {} for part in parts)
    ggufs = [name for name in [*replies, *named] if name.endswith(".gguf")]
    facts = {
        "files": [
            {
                **_file(name, known),
                "ended": replies.get(name, {}).get("ended_by_itself"),
                "fallen_back": Counter(fallen.get(name, {}).values()),
                "heldout_loss": losses.get(name),
                "loss_difference": differences.get(name),
                "kl": divergences.get(name),
                # the 16-bit file is compared with the merged model
                "loss_half": None if name.endswith("-f16.gguf") else (checks.get("heldout_loss_interval") or {}).get(name),
                "kl_half": (checks.get("kl_intervals") or {}).get(name),
            }
            for name, known in named.items()
        ],
        # The Modelfile names the first file of the settings, and `replies` has that order.
        "main": next((name for name in ggufs if not name.endswith("-f16.gguf")), next(iter(ggufs), None)),
        "context": export.get("context"),
        "template_identical": checks.get("chat_template_identical"),
        "texts_alike": checks.get("texts_tokenized_alike"),
        "positions": checks.get("positions_compared"),
        "logit_difference": checks.get("logit_difference"),
        "logit_tolerance": checks.get("logit_tolerance"),
        "agreement": checks.get("argmax_agreement"),
        "least_agreement": checks.get("min_agreement"),
        "greedy_agreement": checks.get("greedy_agreement"),
        "greedy_tokens": checks.get("greedy_tokens_compared"),
        "merged_loss": checks.get("merged_loss"),
        "adapter_loss": checks.get("adapter_loss"),
        "heldout": _heldout(checks),
        "stop_token": checks.get("stop_token"),
        "pre_tokenizer": checks.get("fallback_pre_tokenizer"),
        **{name: export.get(name) for name in ("recommended", "kl_bound", "importance")},
        "lora": next((name for name in named if name.endswith("-lora-f16.gguf")), None),
        "lora_difference": lora.get("logit_difference"),
        "seconds": export.get("seconds"),
        "versions": export.get("versions") or {},
        "hardware": hardware,
        "usd": usd,
    }
    return check(facts, ExportFacts, JobError, "export.json")


def _heldout(checks: Mapping[str, Any]) -> str | None:
    """Return a description of the held-out texts. The job's own path to them would tell a reader nothing."""
    source = checks.get("heldout")
    if source is None:
        return None
    texts = "the model's own replies" if source == "own replies" else "validation examples of its dataset"
    compared, longest = checks.get("heldout_compared", 0), checks.get("heldout_longest", 0)
    cut = f"; at most {compared:,} tokens of each text, of up to {longest:,}: nothing is proven beyond" if compared < longest else ""
    counted = checks.get("heldout_loss_over", "all tokens")
    return f"{checks.get('heldout_examples', 'some')} {texts}, {checks.get('heldout_tokens', 0):,} tokens ({counted}{cut})"


def _file(name: str, known: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "bytes": known.get("bytes"), "sha256": known.get("sha256")}

"""What is known of an adapter or of its GGUF files: what their jobs wrote, as typed facts for the model cards."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, Field

from core.errors import JobError
from core.records import Record
from core.training.curve import LossCurve, loss_curve
from core.yaml_files import check


class Source(Record):
    """A model or dataset that another was made from.

    Args:
        repo: on the Hub; none where it is on this machine alone.
        commit: its whole hash.
        url: of a page, which is linked if it begins with http.
        license: as the Hub names it; origin: where it came from, an address or a sentence. Both empty where nobody has said.
        file: a GGUF file that it was read from; sha256: of that file; package: with its version, in whose wheel the file was.
    """

    name: str
    repo: str | None = None
    commit: str | None = None
    url: str = ""
    license: str = ""
    origin: str = ""
    file: str | None = None
    sha256: str | None = None
    package: str | None = None


class FileFacts(Record):
    """A file of the repository.

    Args:
        heldout_loss: mean over the held-out texts; loss_difference: how much higher that is than the 16-bit file's.
        kl: mean Kullback-Leibler divergence from the 16-bit file on the held-out texts, in nats per token.
        loss_half, kl_half: half of the 95 % interval of each.
        ended: whether a short chat ended by itself.
        fallen_back: matrices that got another quantisation, by its name.
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
    """How many examples there were, and what the training length cut, as the training script counts it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    examples: int
    tokens: int
    longest: int
    truncated: int
    cut_token_share: float


class TrainingFacts(Record):
    """What a training job wrote into `metrics.json`, under the script's own names, and what is known of its machine.

    Args:
        r, lora_alpha, lora_dropout, target_modules: the adapter's rank, scale, dropout and the matrices that it changes.
        max_steps: overrides the epochs where it is above 0.
        learn: the way of learning; replies: how many are learnt in one pass, where the script has counted them.
        supervised_tokens: of the assistant's replies, which alone are learnt.
        seconds: from the reading of the data on; resumed_from: the step of the checkpoint from which the job resumed.
        usd: what the machine cost.
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
    """What an adapter does on held-out data.

    Args:
        heldout_loss: of the supervised training; reply_tokens: mean length of greedy replies; none where not measured.
        prefers_chosen: share of held-out pairs in which the tokens of the better reply are likelier in the mean.
    """

    heldout_loss: float | None
    reply_tokens: float | None
    prefers_chosen: float


class PairSplit(Record):
    """Pairs that were used, and those that were too long and left out whole."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    pairs: int
    too_long: int


class PairFacts(Record):
    """What a preference training wrote into `metrics.json`, under the script's own names, and what is known of its machine.

    Args:
        method: `dpo` or `kto`.
        mean_tokens: of the better and the worse replies that were trained on.
        reward_accuracy: share of held-out pairs whose better reply gained more than the other.
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
    """What is known of GGUF files; what is none was not looked at, and the card does not speak of it.

    Args:
        main: the file that the Modelfile names and the card runs.
        context: tokens, the Modelfile's `num_ctx`.
        texts_alike: texts that llama.cpp and the tokenizer cut into the same tokens.
        logit_difference: spread of the differences between 16-bit file and merged model, as a share of the spread of the logits.
        agreement: share of positions with the same likeliest token.
        greedy_agreement: share of the tokens of greedy replies that are the same, up to a near tie; greedy_tokens: how many are compared.
        merged_loss, adapter_loss: on held-out texts, of the merged model, and of the base with the adapter beside it.
        heldout: which texts these are.
        pre_tokenizer: given by hand, since llama.cpp does not know the tokenizer.
        recommended: the smallest quantised file whose divergence is at most kl_bound; none where no file's is.
        importance: what was read for the importance matrix: `conversations`, `tokens` and `matrices`.
        lora: file of the adapter alone; lora_difference: as logit_difference, of the base with it.
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


class CardFacts(Record):
    """What both cards say.

    Args:
        repo: the card's own, on the Hub; none where the files stay on this machine.
        license, license_name, license_link: as the Hub takes them; the name and the link where the licence is `other`.
        intended_use: Markdown of the domain pack; empty where it has none.
        notice: what everybody who writes to the model is to read first; empty where the pack has none.
        system: the prompt that was trained in.
        dataset, training: none of a base that is exported as it is; pairs: of one that was trained by preference too.
        caveats: sentences that a reader must know.
    """

    title: str
    domain: str
    repo: str | None
    base: Source
    dataset: Source | None = None
    training: TrainingFacts | None = None
    pairs: PairFacts | None = None
    license: str
    license_name: str | None = None
    license_link: str | None = None
    languages: list[str]
    intended_use: str
    notice: str = ""
    system: str
    caveats: list[str] = Field(default_factory=list)


def training_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> TrainingFacts:
    """Return what `metrics.json` says, with the machine and what it cost.

    Raises:
        JobError: something is missing in it.
    """
    files = [_file(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, TrainingFacts, JobError, "metrics.json")


def pair_facts(metrics: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> PairFacts:
    """Return what `metrics.json` of a preference training says, with the machine and what it cost.

    Raises:
        JobError: something is missing in it.
    """
    files = [_file(name, known) for name, known in (metrics.get("files") or {}).items()]
    return check({**metrics, "loss": loss_curve(metrics), "files": files, "hardware": hardware, "usd": usd}, PairFacts, JobError, "metrics.json")


def export_facts(export: Mapping[str, Any], hardware: str | None = None, usd: float | None = None) -> ExportFacts:
    """Return what `export.json` says, with the machine and what it cost.

    Raises:
        JobError: something is missing in it.
    """
    checks, named, fallen = (export.get(part) or {} for part in ("checks", "files", "fallback_tensors"))
    parts = ("replies", "heldout_loss", "heldout_loss_difference", "kl_divergences", "lora")
    replies, losses, differences, divergences, lora = (checks.get(part) or {} for part in parts)
    ggufs = [name for name in [*replies, *named] if name.endswith(".gguf")]
    found = {
        "files": [
            {
                **_file(name, known),
                "ended": replies.get(name, {}).get("ended_by_itself"),
                "fallen_back": Counter(fallen.get(name, {}).values()),
                "heldout_loss": losses.get(name),
                "loss_difference": differences.get(name),
                "kl": divergences.get(name),
                # the 16-bit file's difference is from the merged model
                "loss_half": None if name.endswith("-f16.gguf") else (checks.get("heldout_loss_interval") or {}).get(name),
                "kl_half": (checks.get("kl_intervals") or {}).get(name),
            }
            for name, known in named.items()
        ],
        # The Modelfile's is the first that was asked for, and replies are in that order.
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
    return check(found, ExportFacts, JobError, "export.json")


def _heldout(checks: Mapping[str, Any]) -> str | None:
    """Say on which texts losses were taken; a path of the machine that looked says nothing to a reader."""
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

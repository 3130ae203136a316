"""Typed settings: `config/pipeline.yaml` and `config/training/<model>.yaml`, every number a person might tune."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.chat import LimitKind, RoleName
from core.errors import SettingsError
from core.store import CHECKOUT
from core.yaml_files import Strict, check, load_yaml, read_yaml

Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


Amount = Annotated[float, Field(ge=0)]
Seconds = Annotated[float, Field(gt=0)]
PerMinute = Annotated[int, Field(ge=1)]
Option = bool | int | float | str


class Roles(Strict):
    """Which model plays which role: `provider/model`, or the name of a saved block.

    Args:
        judges: one for now; a panel has several.
        repairer: mends transcripts that almost passed.
    """

    user_simulator: str
    assistant: str
    judges: Annotated[list[str], Field(min_length=1, max_length=1)]
    repairer: str | None = None

    def bound(self) -> dict[RoleName, str]:
        """Return the model of each role, by the role's name."""
        bound: dict[RoleName, str] = {"user_simulator": self.user_simulator, "assistant": self.assistant, "judge": self.judges[0]}
        return bound | {"repairer": self.repairer} if self.repairer else bound


class Price(Strict):
    """USD for a million tokens, for a model that the price data lacks. What is left out costs as much as input."""

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None


class ModelSettings(Strict):
    """Limits, price and options of a model; a limit that is not given is taken from the provider's headers or found by trying.

    Args:
        concurrency: calls under way at once.
        requests_per_minute, input_tokens_per_minute, output_tokens_per_minute: the account's limits.
        tokens_per_minute: input and output together, where the provider limits that.
        runs_at_once: how many runs may use the model at the same time; each keeps to its share of the limits.
        price: replaces the price data.
        options: of the provider's block, such as effort, temperature or base_url.
    """

    concurrency: Count | None = None
    requests_per_minute: PerMinute | None = None
    input_tokens_per_minute: PerMinute | None = None
    output_tokens_per_minute: PerMinute | None = None
    tokens_per_minute: PerMinute | None = None
    runs_at_once: Count = 1
    price: Price | None = None
    options: dict[str, Option] = Field(default_factory=dict)

    def per_minute(self) -> dict[LimitKind, float]:
        """Return one run's share of the known limits."""
        known: dict[LimitKind, int | None] = {
            "requests": self.requests_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
            "tokens": self.tokens_per_minute,
        }
        return {kind: limit / self.runs_at_once for kind, limit in known.items() if limit}

    def share_of_concurrency(self) -> int:
        """Return how many calls one run may have under way."""
        return max(1, (self.concurrency or 1) // self.runs_at_once)


class Calls(Strict):
    """How long a call, and a provider that fails, are borne.

    Args:
        concurrency: calls of a model under way at once, where `models` says nothing else.
        timeout_seconds: until one attempt is given up.
        attempts: of one call, counting failures that may pass.
        total_seconds: from a call's first failure until it is given up.
        first_backoff_seconds, longest_backoff_seconds: the pause after a failure doubles from the one to the other.
        longest_wait_seconds: a provider that asks to wait longer ends the run.
        outage_seconds: nothing but failures for so long ends the run.
        more_room: how often an answer that was cut off or has not the asked form is asked for again, each time with twice the room.
    """

    concurrency: Count
    timeout_seconds: Seconds
    attempts: Count
    total_seconds: Seconds
    first_backoff_seconds: Seconds
    longest_backoff_seconds: Seconds
    longest_wait_seconds: Seconds
    outage_seconds: Seconds
    more_room: Annotated[int, Field(ge=0)]


class Budget(Strict):
    """What one run may cost; checked before each call. The same command again goes on with the same budget.

    Args:
        usd: no call is sent that could exceed it.
        tokens: input and output together.
    """

    usd: Amount | None = None
    tokens: Annotated[int, Field(ge=0)] | None = None


class Generation(Strict):
    """Rehearsal of new conversations.

    Args:
        conversations: how many personas are sampled.
        first_seed: the first persona's seed; the others follow.
        exchanges: lowest and highest number of exchanges, instead of the pack's length classes.
        minimum_exchanges: before this many the user does not take leave, here and in the evaluation.
        concurrency: conversations under way at once.
        max_tokens: room for one message.
    """

    conversations: Count
    first_seed: Annotated[int, Field(ge=0)]
    exchanges: tuple[Count, Count] | None = None
    minimum_exchanges: Count
    concurrency: Count
    max_tokens: Count


class AssessmentSettings(Strict):
    """Judging: assessments under way at once, and room for one judgement."""

    concurrency: Count
    max_tokens: Count


class Slicing(Strict):
    """How a transcript becomes examples; the defaults are the design's.

    Args:
        first: exchanges in the first slice, and the fewest that make an example.
        gap: bounds of the number of exchanges between two slices.
        max_tokens: the earliest exchanges of a longer slice are left out until it fits.
    """

    first: Count
    gap: tuple[Count, Count]
    max_tokens: Count


class DatasetSettings(Strict):
    """What is trained on: slices, the share of transcripts kept for validation, and the repository's name on the hub."""

    slicing: Slicing
    validation_share: Annotated[float, Field(gt=0, lt=1)]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]


class Decision(Strict):
    """When an understudy is worth shipping.

    Args:
        improvement: the gain in mean score, relative to the base's, that is asked for.
        alpha: the p value below which a difference counts.
        safety_margin: how much larger a share of failed gates may be than the base's.
    """

    improvement: Share
    alpha: Annotated[float, Field(gt=0, lt=1)]
    safety_margin: Share


class EvaluationSettings(Strict):
    """Base against understudy on fresh personas.

    Args:
        personas, trials: conversations of an arm are personas × trials; personas are the clusters.
        first_seed: no seed from here on is ever used for training.
        exchanges: length of each conversation.
        concurrency: conversations under way at once.
        max_tokens: room for one answer.
        resamples: bootstrap samples behind an interval.
    """

    personas: Annotated[int, Field(ge=2)]
    trials: Count
    first_seed: Annotated[int, Field(ge=0)]
    exchanges: Count
    concurrency: Count
    max_tokens: Count
    resamples: Count
    decision: Decision


class LlamaCppSettings(Strict):
    """How llama.cpp plays a GGUF in this process.

    Args:
        context: tokens that a conversation may take, prompt and answer together.
        temperature: 0 always takes the likeliest token; trials of one persona differ only above it.
        threads: of one generation.
    """

    context: Annotated[int, Field(ge=64)]
    temperature: Annotated[float, Field(ge=0)]
    threads: Count


class Settings(Strict):
    """`config/pipeline.yaml`."""

    roles: Roles
    models: dict[str, ModelSettings] = Field(description="By `provider/model`, by a saved block's name, or by a provider alone for all its models.")
    calls: Calls
    budget: Budget
    llama_cpp: LlamaCppSettings
    generation: Generation
    assessment: AssessmentSettings
    dataset: DatasetSettings
    training: str = Field(description="Name of a file in config/training, without its ending.")
    evaluation: EvaluationSettings

    @model_validator(mode="after")
    def _seeds_apart(self) -> "Settings":
        last = self.generation.first_seed + self.generation.conversations - 1
        if last >= self.evaluation.first_seed:
            raise ValueError(
                f"generation would use the seeds {self.generation.first_seed} to {last}, but those from {self.evaluation.first_seed} on are kept for "
                "the evaluation; lower generation.conversations or first_seed, or raise evaluation.first_seed"
            )
        return self


Argument = bool | int | float | str | list[str]
"""Value of a job script's argument: `--name value`; true is `--name` alone, false nothing, a list several values."""


class TinyBase(Strict):
    """How the demo's base model is made: its shape, its brief pre-training, and the text for it.

    Args:
        conversations: how many dull conversations the scripted provider makes to pre-train on.
        first_seed: seed of their first persona.
        system_share: share of them that keep the system prompt, which is longer than the rest of a short conversation.
        topic_texts: how often each topic is written about in plain text, so that its words are known.
    """

    conversations: Count
    first_seed: Annotated[int, Field(ge=0)]
    system_share: Share
    topic_texts: Count
    arguments: dict[str, Argument] = Field(description="Arguments of deployments/jobs/make_tiny_base.py.")


class Training(Strict):
    """`config/training/<model>.yaml`.

    Args:
        tiny_base: how the base is made.
        train, convert: arguments of deployments/jobs/train_sft.py and convert_gguf.py.
        quantisations: GGUF files to make; the first is the one that is evaluated.
    """

    tiny_base: TinyBase
    train: dict[str, Argument]
    convert: dict[str, Argument]
    quantisations: Annotated[list[Literal["q4_k_m", "q5_k_m", "q6_k", "q8_0"]], Field(min_length=1)]


def load_settings(path: str = "config/pipeline.yaml", root: Path = CHECKOUT) -> Settings:
    """Read the pipeline's settings; a relative path is looked up below the checkout.

    A file that begins with `extends: <file beside it>` says only what is different from that one.

    Raises:
        SettingsError: the file is missing or something in it is wrong.
    """
    return check(_layered(root / path), Settings, SettingsError, str(root / path))


def _layered(path: Path) -> Any:
    data = read_yaml(path, SettingsError)
    if not isinstance(data, dict) or "extends" not in data:
        return data
    base = _layered(path.parent / str(data.pop("extends")))
    return _merged(base, data)


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {name: _merged(base.get(name), value) for name, value in over.items()}


def load_training(name: str, root: Path = CHECKOUT) -> Training:
    """Read the training settings of a model by its short name, or from a path that ends in `.yaml`.

    Raises:
        SettingsError: the file is missing or something in it is wrong.
    """
    return load_yaml(root / (name if name.endswith(".yaml") else f"config/training/{name}.yaml"), Training, SettingsError)

"""What can be set in the stub, at its start and while it runs."""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Settings:
    """How the stub behaves; every field can be changed while it runs."""

    latency_s: float = 0.0
    """How long an accepted call takes."""
    latency_jitter_s: float = 0.0
    """Up to this much is added, by a hash of the request."""
    held: bool = False
    """An accepted call waits until this is false."""
    reject_latency_s: float = 0.0
    """How long a refused call takes."""

    requests_per_minute: float | None = None
    input_tokens_per_minute: float | None = None
    """Anthropic: what is not read from the cache; others: all input."""
    output_tokens_per_minute: float | None = None
    """Counted when the answer is complete."""
    tokens_per_minute: float | None = None
    """Input when a call is accepted, output when its answer is complete."""
    window: Literal["bucket", "fixed"] = "bucket"
    window_s: float = 60.0
    """Length of a fixed window; it allows this many seconds' worth of the rate."""
    burst: float | None = None
    """Seconds' worth of the rate that a full bucket holds; 60 if not given."""
    burst_requests: float | None = None
    """How many requests a full bucket holds, in place of `burst`."""
    concurrency: int | None = None
    """Calls in service at once per account and model; one more is a 429."""
    send_limit_headers: bool = True
    retry_after_s: float | None = None
    """What a 429 tells to wait; the true time, and at least a second, if not given."""

    cache_enabled: bool = True
    min_prefix_tokens: int = 1024
    cache_ttl_s: float = 300.0
    """An hour's entry (Anthropic) and a 12 hours' one (OpenAI) live twelve times as long."""
    read_price: float = 0.1
    write_price: float = 1.25
    write_price_long: float = 2.0
    """For the entries that live longer."""
    openai_cache: Literal["auto", "blocks", "breakpoints"] = "auto"
    """`blocks`: longest known prefix in steps of 128 tokens; `breakpoints`: exact match where one is; `auto`: by the model, as OpenAI does."""

    context_tokens: int | None = None
    google_key_error: Literal[401, 400] = 401
    """Status of Google's answer to a wrong key; the true Gemini API says 400 (and 403 to a missing one)."""
    strict_alternation: bool = False
    """Chat Completions: refuse roles that do not alternate, as Gemma's template does."""
    models: tuple[str, ...] = ("stub-model",)
    """What GET /v1/models lists."""

    answer_text: str | None = None
    output_tokens: int | None = None
    thought_tokens: int = 0
    """Reasoning tokens of OpenAI and Google, part of the output limit."""
    log_bodies: bool = True

    batch_polls: int = 0
    """Retrievals that find a batch unfinished."""
    batch_s: float = 0.0
    """A batch is unfinished for at least so long."""
    batch_reversed: bool = False
    """Results in another order than the requests; Google keeps the order."""
    batch_others: int = 0
    """Other people's batches in a list, before and after one's own."""
    batch_most: int | None = None
    """Requests in a batch, in place of the provider's limit."""
    batch_most_bytes: int | None = None
    """Bytes of a batch, or of OpenAI's file, in place of the provider's limit."""
    batch_labels: bool = True
    """Google: whether an answer carries the metadata of its request."""
    batch_price: float = 0.5
    """Of a request in a batch, as a share of a live call's."""

    faults: tuple[dict[str, Any], ...] = ()

    def changed(self, values: dict[str, Any]) -> "Settings":
        """Return these settings with some values replaced.

        Args:
            values: by name; an unknown name is a ValueError.
        """
        unknown = sorted(values.keys() - NAMES)
        if unknown:
            raise ValueError(f"Unknown settings {', '.join(unknown)}. Known: {', '.join(sorted(NAMES))}.")
        return replace(self, **{name: tuple(value) if isinstance(value, list) else value for name, value in values.items()})


NAMES = frozenset(field.name for field in fields(Settings))
LIMITS = frozenset(
    {"requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "tokens_per_minute", "window", "window_s", "burst", "burst_requests"}
)
"""A change of one of these resets the limits."""

"""Every error that Understudy raises on purpose.

    UnderstudyError
    ├── SettingsError           a settings file, a flow parameter or a model reference is wrong
    ├── PackError               a domain pack is wrong: a file, a weight, a cross-reference, a template
    ├── TranscriptError         a transcript file cannot be read as a conversation
    ├── CheckpointError         a checkpoint of assessments does not exist or cannot be read
    ├── StoreError              the data root cannot be read or written
    │   └── LostError           another run has taken over what this process was making
    ├── HeldError               another run is making the same result
    ├── PersonaError            no persona can be sampled, or a training seed and an evaluation seed meet
    ├── ModelError              a model gave no usable answer; costs one item of a batch
    │   ├── RateLimitError      too many requests or tokens a minute; may be retried
    │   ├── OverloadedError     the provider is overloaded; may be retried
    │   ├── ProviderError       the provider failed (5xx); may be retried
    │   │   └── MalformedError  the response is not one of the provider's API; may be retried
    │   ├── ModelTimeoutError   no answer in time; may be retried
    │   ├── ConnectError        the provider cannot be reached; may be retried
    │   ├── BadRequestError     the provider refuses the request's form
    │   │   └── ContextError    the prompt is longer than the model can read
    │   ├── RefusedError        the model declines to answer
    │   ├── TruncatedError      the answer was cut off; retried with more room
    │   ├── UnansweredError     a batch ended without an answer to the request; costs nothing
    │   └── InvalidOutputError  the answer does not have the requested form; asked for again
    ├── RunStoppedError         no further call to a model is possible; ends a batch, what was made is kept
    │   ├── AuthError           the key is missing, wrong, expired or lacks a permission
    │   ├── UnknownModelError   the provider has no such model
    │   ├── QuotaError          a spend limit or a daily quota is used up
    │   ├── UnavailableError    a sustained failure, or a wait that is asked for is too long
    │   └── BudgetError         the run's own budget is spent
    ├── NothingMadeError        nothing came of a batch or an evaluation
    ├── DatasetError            there is nothing, or too little, to train on
    ├── HubError                a repository cannot be written, or is not what was pushed
    ├── JobError                a job failed, or did not leave the file that it was started for
    ├── EvaluationError         arms, recorded assessments or a pilot are wrong, and cannot be compared
    ├── DesignError             a pack cannot be drafted: the brief, the form of a draft, or a pack that exists already
    ├── RepairError             a transcript cannot be repaired, or a repaired one is not what it says
    ├── ReviewError             a person's sheet cannot be used, or none can be drawn
    └── ServerError             a Prefect server did not start, or no longer answers

Each message says what is wrong, the value, what is allowed, and what to do next. Commands print it alone,
without a traceback, and end with `exit_code`.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

from core.redaction import redact
from core.terminal import printable


def nearest(word: str, allowed: Collection[str]) -> str:
    """Return ` Did you mean …?` with the allowed word that is most like a wrong one; an empty text if none is like it."""
    found = get_close_matches(word, allowed, 1)
    return f" Did you mean {found[0]!r}?" if found else ""


class UnderstudyError(Exception):
    """The root of the tree; an error that a person can act on. Secrets and terminal control sequences are removed from its message."""

    exit_code = 1
    logged = False
    """Whether it has been logged."""
    unbilled = False
    """Whether the call that it ended certainly costs nothing."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*(redact(printable(word)) if isinstance(word, str) else word for word in words))


def together(errors: Sequence[UnderstudyError]) -> UnderstudyError:
    """Return several errors as one, with all messages and the exit code of the first; a single one is returned as it is."""
    if len(errors) == 1:
        return errors[0]
    return type(errors[0])("\n- ".join([f"{len(errors)} things must be corrected first:", *dict.fromkeys(map(str, errors))]))


class SettingsError(UnderstudyError):
    """A settings file, a flow parameter or a model reference is wrong."""

    exit_code = 2


class PackError(UnderstudyError):
    """A domain pack is wrong."""

    exit_code = 2


class TranscriptError(UnderstudyError):
    """A transcript file cannot be read as a conversation, or there is none."""

    exit_code = 2


class CheckpointError(UnderstudyError):
    """A checkpoint of assessments does not exist or cannot be read."""

    exit_code = 2


class StoreError(UnderstudyError):
    """The data root cannot be read or written."""


class DamagedError(StoreError):
    """A file of the data root is not what was written there; costs the item that it belongs to."""

    exit_code = 2


class LostError(StoreError):
    """Another run has taken over what this process was making: it missed its heartbeats, and may write no more."""


class HeldError(UnderstudyError):
    """Another run is making the same result.

    Args:
        message: what is held and by whom.
        holder: host and process.
    """

    def __init__(self, message: str, holder: str) -> None:
        super().__init__(message)
        self.holder = holder


class PersonaError(UnderstudyError):
    """No persona can be sampled, or a training seed and an evaluation seed meet."""

    exit_code = 2


class ModelError(UnderstudyError):
    """A model gave no usable answer; costs one item of a batch.

    Args:
        message: what happened and what to do.
        retry_after: seconds that the provider asks to wait.
        allowances: what it said of its limits (`core.llm.chat.Allowance`).
    """

    retryable = False
    """Whether the same request may succeed a moment later."""
    side: str | None = None
    """Which side of a rehearsal it was that gave none: `user` or `assistant`."""

    def __init__(self, message: str, retry_after: float | None = None, allowances: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.retry_after, self.allowances = retry_after, allowances


class RateLimitError(ModelError):
    """Too many requests or tokens a minute."""

    retryable = True


class OverloadedError(ModelError):
    """The provider is overloaded."""

    retryable = True


class ProviderError(ModelError):
    """The provider failed."""

    retryable = True


class MalformedError(ProviderError):
    """The response is not one of the provider's API."""


class ModelTimeoutError(ModelError):
    """No answer came in time."""

    retryable = True


class ConnectError(ModelError):
    """The provider cannot be reached."""

    retryable = True


class BadRequestError(ModelError):
    """The provider refuses the request's form."""


class ContextError(BadRequestError):
    """The prompt is longer than the model can read."""


class RefusedError(ModelError):
    """The model declines to answer."""


class TruncatedError(ModelError):
    """The answer was cut off."""


class UnansweredError(ModelError):
    """A batch ended without an answer to the request."""

    unbilled = True


class InvalidOutputError(ModelError):
    """The answer does not have the requested form."""


class RunStoppedError(UnderstudyError):
    """No further calls to a model are possible; the same command resumes from what was made.

    Args:
        message: what happened and what to do.
        retry_after: seconds after which it may be tried again, where that is known.
    """

    exit_code = 3
    retryable = False

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class AuthError(RunStoppedError):
    """The key is missing, wrong, expired or lacks a permission."""


class UnknownModelError(RunStoppedError):
    """The provider has no such model."""


class QuotaError(RunStoppedError):
    """A spend limit or a daily quota is used up."""


class UnavailableError(RunStoppedError):
    """A sustained failure, or the provider asks to wait too long."""


class BudgetError(RunStoppedError):
    """The run's own budget is spent."""


class NothingMadeError(UnderstudyError):
    """Nothing came of a batch or an evaluation: each of its items, or too many of them, failed."""


class DatasetError(UnderstudyError):
    """There is nothing, or too little, to train on."""


class HubError(UnderstudyError):
    """A repository cannot be written, or is not what was pushed."""


class JobError(UnderstudyError):
    """A job failed, or did not leave the file that it was started for."""


class EvaluationError(UnderstudyError):
    """Arms, recorded assessments or a pilot are wrong, and cannot be compared."""

    exit_code = 2


class DesignError(UnderstudyError):
    """A pack cannot be drafted."""

    exit_code = 2


class RepairError(UnderstudyError):
    """A transcript cannot be repaired, or a repaired one is not what it says."""


class ReviewError(UnderstudyError):
    """A person's sheet cannot be used, or none can be drawn."""

    exit_code = 2


class ServerError(UnderstudyError):
    """A Prefect server did not start, or no longer answers."""

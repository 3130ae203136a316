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
    │   └── InvalidOutputError  the answer does not have the requested form; requested again
    ├── RunStoppedError         no further call to a model is possible; ends a batch, finished items are kept
    │   ├── AuthError           the key is missing, wrong, expired or lacks a permission
    │   ├── UnknownModelError   the provider has no such model
    │   ├── QuotaError          a spend limit or a daily quota is used up
    │   ├── UnavailableError    a sustained failure, or the provider asks for too long a wait
    │   └── BudgetError         the run's own budget is spent
    ├── NothingMadeError        a batch or an evaluation produced no usable result
    ├── DatasetError            there is nothing, or too little, to train on
    ├── HubError                a repository cannot be written, or does not contain what was pushed
    ├── JobError                a job failed, or did not write the file that it was started for
    ├── EvaluationError         arms, recorded assessments or a pilot are wrong and cannot be compared
    ├── DesignError             a pack cannot be drafted: the brief or a draft is wrong, or the pack exists already
    ├── RepairError             a transcript cannot be repaired, or a repaired one does not match its claims
    ├── ReviewError             a review sheet cannot be used or cannot be drawn
    └── ServerError             a Prefect server did not start, or no longer answers

Each message says what is wrong, the value, what is allowed, and what to do next. Commands print only the message,
without a traceback, and end with `exit_code`.
"""

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from typing import Any

from core.redaction import redact
from core.terminal import printable


def nearest(word: str, allowed: Collection[str]) -> str:
    """Return ` Did you mean …?` with the allowed word most similar to a wrong one; an empty string if none is similar."""
    matches = get_close_matches(word, allowed, 1)
    return f" Did you mean {matches[0]!r}?" if matches else ""


class UnderstudyError(Exception):
    """The root of the tree: an error that a person can act on. Secrets and terminal control sequences are removed from its message."""

    exit_code = 1
    logged = False
    """Whether the error has been logged."""
    unbilled = False
    """Whether the call that raised this error certainly costs nothing."""

    def __init__(self, *words: Any) -> None:
        super().__init__(*(redact(printable(word)) if isinstance(word, str) else word for word in words))


def together(errors: Sequence[UnderstudyError]) -> UnderstudyError:
    """Combine several errors into one, with all messages and the exit code of the first; a single error is returned unchanged."""
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
    """A transcript file cannot be read as a conversation, or does not exist."""

    exit_code = 2


class CheckpointError(UnderstudyError):
    """A checkpoint of assessments does not exist or cannot be read."""

    exit_code = 2


class StoreError(UnderstudyError):
    """The data root cannot be read or written."""


class DamagedError(StoreError):
    """A file of the data root was changed or damaged after it was written; costs the item that it belongs to."""

    exit_code = 2


class LostError(StoreError):
    """Another run has taken over what this process was making: this process missed its heartbeats and must not write any more."""


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
        retry_after: seconds that the provider asks to wait; None if it does not say.
        allowances: the rate limits that the response reported (`core.llm.chat.Allowance`).
    """

    retryable = False
    """Whether the same request may succeed a moment later."""
    side: str | None = None
    """The side of a rehearsal whose model gave no answer: `user` or `assistant`."""

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
    """No further calls to a model are possible; the same command resumes from the finished items.

    Args:
        message: what happened and what to do.
        retry_after: seconds after which the call may be tried again; None if unknown.
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
    """A batch or an evaluation produced no usable result: all of its items, or too many of them, failed."""


class DatasetError(UnderstudyError):
    """There is nothing, or too little, to train on."""


class HubError(UnderstudyError):
    """A repository cannot be written, or does not contain what was pushed."""


class JobError(UnderstudyError):
    """A job failed, or did not write the file that it was started for."""


class EvaluationError(UnderstudyError):
    """Arms, recorded assessments or a pilot are wrong and cannot be compared."""

    exit_code = 2


class DesignError(UnderstudyError):
    """A pack cannot be drafted."""

    exit_code = 2


class RepairError(UnderstudyError):
    """A transcript cannot be repaired, or a repaired one does not match its claims."""


class ReviewError(UnderstudyError):
    """A review sheet cannot be used or cannot be drawn."""

    exit_code = 2


class ServerError(UnderstudyError):
    """A Prefect server did not start, or no longer answers."""

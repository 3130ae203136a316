"""Every error that Understudy raises on purpose.

    UnderstudyError
    ├── SettingsError           a settings file, a flow parameter or a model reference is wrong
    ├── PackError               a domain pack is wrong: a file, a weight, a cross-reference, a template
    ├── TranscriptError         a transcript file cannot be read as a conversation
    ├── StoreError              the data root cannot be read or written
    ├── PersonaError            no persona can be sampled, or a training seed and an evaluation seed meet
    ├── ModelError              a model's answer cannot be used
    ├── DatasetError            there is nothing, or too little, to train on
    ├── JobError                a job failed, or did not leave the file that it was started for
    ├── EvaluationError         the arms cannot be compared
    └── ServerError             the temporary Prefect server did not start

Each message says what is wrong, the value, what is allowed, and what to do next. Commands print it alone,
without a traceback, and end with `exit_code`.
"""


class UnderstudyError(Exception):
    """The root of the tree; an error that a person can act on."""

    exit_code = 1
    told = False
    """Whether a log has it already."""


class SettingsError(UnderstudyError):
    """A settings file, a flow parameter or a model reference is wrong."""

    exit_code = 2


class PackError(UnderstudyError):
    """A domain pack is wrong."""

    exit_code = 2


class TranscriptError(UnderstudyError):
    """A transcript file cannot be read as a conversation."""


class StoreError(UnderstudyError):
    """The data root cannot be read or written."""


class PersonaError(UnderstudyError):
    """No persona can be sampled, or a training seed and an evaluation seed meet."""


class ModelError(UnderstudyError):
    """A model's answer cannot be used."""


class DatasetError(UnderstudyError):
    """There is nothing, or too little, to train on."""


class JobError(UnderstudyError):
    """A job failed, or did not leave the file that it was started for."""


class EvaluationError(UnderstudyError):
    """The arms cannot be compared."""


class ServerError(UnderstudyError):
    """The temporary Prefect server did not start."""

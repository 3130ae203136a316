"""The product's data types: what is created, stored and passed from stage to stage.

Prefect stores a task's result with the module of its class. A record that moves makes earlier results unreadable, so this long file stays whole.
"""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from core.quantities import Exchanges, Positive, Seed

DOMAIN = r"[a-z][a-z0-9-]{0,40}"
DomainName = Annotated[str, Field(pattern=f"^{DOMAIN}$")]
"""The name of a domain, which is also used in names of folders and pages."""
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
"""A few words as a part of a file name."""
Side = Literal["user", "assistant"]
RoleName = Literal["user_simulator", "assistant", "judge", "repairer", "designer"]
LimitKind = Literal["requests", "input_tokens", "output_tokens", "tokens"]
FIRST_YEAR, LAST_YEAR = 1900, 2999
"""The years in which a conversation may begin. Python's calendar ends in 9999, so dates later in a conversation stay valid."""


def _is_day(text: str) -> str:
    if not FIRST_YEAR <= date.fromisoformat(text).year <= LAST_YEAR:
        raise ValueError(f"allowed are days from {FIRST_YEAR} to {LAST_YEAR}")
    return text


class Record(BaseModel):
    """The base of all records: frozen, without undeclared fields, and with finite numbers only.

    A validation error does not quote its input, which may come from a file that must not be shown.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, defer_build=True)


class ModelChoice(Record):
    """The choice of a model as plain data: everything that shapes its answers, but no key."""

    reference: str = Field(description="provider/model")
    options: dict[str, bool | int | float | str] = Field(default_factory=dict, description="Options of the provider's block.")
    block: str | None = Field(default=None, description="Name of the saved block that holds the key.")


# --- personas -------------------------------------------------------------------------------------------------------


class Topic(Record):
    """A topic that a persona talks about."""

    category: str
    subtopic: str
    description: str
    weight: Positive = 1.0
    arrives: int = Field(default=1, description="Number of the first message in which it is on the persona's mind.")
    settles: int | None = Field(default=None, description="Number of the message in which it is settled.")
    returns: int | None = Field(default=None, description="Number of the message in which it returns.")


class Flaw(Record):
    """A human flaw that shows in a share of a persona's messages."""

    name: str
    category: str
    level: Literal["primary", "secondary"]
    description: str
    notes: str = ""


BeatPart = Literal["builds", "arrives", "plays", "after"]


class Beat(Record):
    """The direction for one message of an episode."""

    exchange_number: int
    part: BeatPart
    direction: str


class Episode(Record):
    """An edge case in a persona's conversation, with a direction for each message that it affects."""

    name: str
    variant: str
    beats: list[Beat]


class LifeEvent(Record):
    """An event in the persona's life between a message and the one before it."""

    exchange_number: int
    text: str


class Persona(Record):
    """A simulated user, fully determined by the pack and the seed."""

    id: str
    seed: Seed
    name: str
    topics: list[Topic]
    flaws: list[Flaw]
    trajectory: str
    dimensions: dict[str, str] = Field(description="The value drawn for each dimension of the taxonomy.")
    exchanges: Exchanges = Field(description="Number of exchanges that the conversation should have.")
    begins: Annotated[str, AfterValidator(_is_day)] | None = Field(default=None, description="Day of the first message, as in 2026-04-14.")
    life: dict[str, str] = Field(default_factory=dict, description="The persona's circumstances, such as income and home, by the names of `life.yaml`.")
    country: str | None = Field(default=None, description="Name of a country of `life.yaml`, if the assistant knows it.")
    events: list[LifeEvent] = Field(default_factory=list)
    episodes: list[Episode] = Field(default_factory=list)


# --- conversations --------------------------------------------------------------------------------------------------


class Exchange(Record):
    """One user message and the assistant's answer."""

    exchange_number: int = Field(ge=1)
    user: str
    assistant: str


class EndReason(StrEnum):
    """Why a conversation ended."""

    TARGET_REACHED = "target_reached"
    USER_DONE = "user_done"
    BUDGET = "budget"
    ERROR = "error"


class Transcript(Record):
    """A complete conversation, with the data needed to reproduce it."""

    id: str
    persona: dict[str, Any] | None = None
    exchanges: list[Exchange] = Field(min_length=1)
    target_exchanges: int | None = None
    end_reason: EndReason | None = None
    created_at: str | None = None
    opening: str | None = Field(default=None, description="The assistant's message before the first exchange: context, which is not trained on.")
    system: str | None = Field(default=None, description="The short system prompt of the conversation.")
    provenance: dict[str, Any] = Field(
        default_factory=dict,
        description="How it was made. For an imported one, only the file's name and seed; what the file claims about itself is under `claimed`.",
    )


# --- assessments ----------------------------------------------------------------------------------------------------


class Answer(StrEnum):
    """A judge's answer on a criterion; ERROR if its reply is unusable."""

    YES = "YES"
    NO = "NO"
    NA = "NA"
    ERROR = "ERROR"


class Lapse(Record):
    """A fault of the assistant against a criterion, as a judge lists it."""

    exchange: int
    what: str
    weight: Literal["light", "grave"]


class Opinion(Record):
    """One of several answers that a verdict was decided from: a repeated answer on a failed gate, or the answer of one judge of a panel."""

    judge: str
    answer: Answer
    reasoning: str
    cited: list[int] = Field(default_factory=list)


class Verdict(Record):
    """The decision on one criterion: a judge's answer, or the result of several answers."""

    criterion: str
    answer: Answer
    reasoning: str
    cited: list[int] = Field(default_factory=list, description="Numbers of the exchanges that the reasoning refers to.")
    lapses: list[Lapse] = Field(default_factory=list, description="Faults against the criterion, if the judge was asked to list them.")
    stated: Answer | None = Field(default=None, description="The judge's own answer, if its lapses imply a different one.")
    opinions: list[Opinion] = Field(default_factory=list, description="The answers that it was decided from, if there were several.")


class Outcome(StrEnum):
    """The outcome of an assessment. Incomplete is neither a pass nor a failure: the transcript is judged again by the next run."""

    PASS = "pass"
    FAIL = "fail"
    INCOMPLETE = "incomplete"


class Score(Record):
    """The score that the rubric computes from a transcript's verdicts."""

    outcome: Outcome
    score: float | None = Field(description="Weighted mean of the categories, 0 to 1; None if nothing could be scored.")
    category_scores: dict[str, float]
    failed_checks: list[str]
    failed_gates: list[str]
    errors: int


class Assessment(Record):
    """The verdicts of one judge or panel on one transcript, with their score."""

    transcript_id: str
    judge: str = Field(description="provider/model; for a panel all of them, joined by ' + '.")
    rubric_hash: str
    verdicts: list[Verdict]
    score: Score
    caveat: str | None = Field(default=None, description="A limitation of the numbers that readers must know.")
    shared_family: str | None = Field(default=None, description="The model family of both a judge and the model that wrote the assistant's messages.")
    provenance: dict[str, Any] = Field(default_factory=dict)


class Judged(Record):
    """A transcript, its final assessment, and the assessment of each judge; with a single judge the two are the same."""

    transcript: Transcript
    final: Assessment
    by_judge: dict[str, Assessment]


class Shard(Record):
    """Marks a run as a part of another run, the parent. Its costs are on the parent's bill and within the parent's budget.

    Args:
        run: name of the parent run.
        part: fingerprint of the part's task. The name of the run alone is ambiguous: the same command may be split differently at the same time.
    """

    run: str
    part: str

    @property
    def result(self) -> str:
        """The file below the data root in which the part writes the name of its batch."""
        return f"batches/shards/{self.run}-{self.part}"


# --- references between stages: small, so that an orchestrator can keep them ------------------------------------------


class Reference(Record):
    """A result of a stage and its path below the data root."""

    path: str


class TranscriptRef(Reference):
    """A stored transcript."""

    id: str
    exchanges: int


class AssessmentRef(Reference):
    """A stored assessment with its outcome."""

    transcript: TranscriptRef
    outcome: Outcome
    score: float | None
    by_judge: dict[str, str] = Field(default_factory=dict, description="The path of each judge's own assessment; empty if it is that of the run's only judge.")


RepoKind = Literal["dataset", "model"]


class Publication(Record):
    """The repository to publish to, and how.

    Args:
        private: whether the repository is hidden from others.
        license: the license that its card names.
    """

    repo: str
    kind: RepoKind
    private: bool
    license: str


class Commit(Record):
    """A version of a repository on a hub."""

    oid: str = Field(description="Hash of the commit, which pins it.")
    url: str = Field(description="Address of the commit's page.")


class DatasetRef(Reference):
    """A commit of a dataset on a hub, with the path of the run's own copy."""

    repo: str
    commit: str
    url: str
    examples: int
    validation_examples: int
    transcripts: int


class ModelRef(Reference):
    """A model, an adapter or GGUF files, in a folder or a repository. The path is that of the file in which the job wrote its figures."""

    name: str
    repo: str | None = None
    commit: str | None = None
    url: str = ""
    folder: str | None = Field(default=None, description="Folder of the model's files, if it is not below the data root: a folder that the settings name.")

    @property
    def on_hub(self) -> bool:
        """Whether a job on another machine can download it."""
        return self.url.startswith("http")


class EvaluationRef(Reference):
    """The file with the figures of an evaluation, and its main figures as text."""

    summary: dict[str, str]


class LeftOut(Record):
    """An item that a batch does not contain, and why."""

    name: str
    reason: str


class TranscriptBatch(Record):
    """The input of the assessment: transcripts from rehearsal or from a folder."""

    domain: DomainName
    transcripts: list[TranscriptRef]
    left_out: list[LeftOut]


class AssessmentBatch(Record):
    """The output of the assessment and the input of the dataset."""

    domain: DomainName
    judges: list[str]
    assessments: list[AssessmentRef]
    left_out: list[LeftOut]


class Result(Record):
    """A figure of the evaluation for the metadata of a model card, which the Hub shows next to the card.

    Args:
        metric: kind of the figure, such as `mean_score`.
        name: name of the figure for readers.
        dataset: name of the dataset that it was measured on, for readers.
        dataset_type: identifier of the same dataset.
    """

    metric: str
    name: str
    value: FiniteFloat
    dataset: str
    dataset_type: str

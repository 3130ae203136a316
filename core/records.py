"""The nouns of the product: what is made, stored and handed from stage to stage."""

from datetime import date
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat

from core.quantities import Exchanges, Positive, Seed

DOMAIN = r"[a-z][a-z0-9-]{0,40}"
DomainName = Annotated[str, Field(pattern=f"^{DOMAIN}$")]
"""Of a domain, which names folders and pages."""
Slug = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=60)]
"""A few words as a part of a file's name."""
Side = Literal["user", "assistant"]
RoleName = Literal["user_simulator", "assistant", "judge", "repairer", "designer"]
LimitKind = Literal["requests", "input_tokens", "output_tokens", "tokens"]
FIRST_YEAR, LAST_YEAR = 1900, 2999
"""In which a conversation may begin; the calendar ends some thousand years later."""


def _is_day(text: str) -> str:
    if not FIRST_YEAR <= date.fromisoformat(text).year <= LAST_YEAR:
        raise ValueError(f"allowed are days from {FIRST_YEAR} to {LAST_YEAR}")
    return text


class Record(BaseModel):
    """Frozen, with no field but those declared, and every number finite.

    An error does not repeat what was given, which may be a file that nobody was to see.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, defer_build=True)


class ModelChoice(Record):
    """Which model is asked, as plain data: all that shapes its answers, and no key."""

    reference: str = Field(description="provider/model")
    options: dict[str, bool | int | float | str] = Field(default_factory=dict, description="Of the provider's block.")
    block: str | None = Field(default=None, description="Name of the saved block that holds the key.")


# --- personas -------------------------------------------------------------------------------------------------------


class Topic(Record):
    """One of the things that a persona talks about."""

    category: str
    subtopic: str
    description: str
    weight: Positive = 1.0
    arrives: int = Field(default=1, description="Number of the message from which on it is on the persona's mind.")
    settles: int | None = Field(default=None, description="Number of the message in which it is settled.")
    returns: int | None = Field(default=None, description="Number of the message in which it comes back.")


class Flaw(Record):
    """A human flaw that shows in a share of a persona's messages."""

    name: str
    category: str
    level: Literal["primary", "secondary"]
    description: str
    notes: str = ""


BeatPart = Literal["builds", "arrives", "plays", "after"]


class Beat(Record):
    """What one message of an episode shows."""

    exchange_number: int
    part: BeatPart
    direction: str


class Episode(Record):
    """An edge case that a persona meets, with the messages that it takes."""

    name: str
    variant: str
    beats: list[Beat]


class LifeEvent(Record):
    """Something that happened between a message and the one before it."""

    exchange_number: int
    text: str


class Persona(Record):
    """A simulated user, a function of the pack and the seed."""

    id: str
    seed: Seed
    name: str
    topics: list[Topic]
    flaws: list[Flaw]
    trajectory: str
    dimensions: dict[str, str] = Field(description="The value drawn for each dimension of the taxonomy.")
    exchanges: Exchanges = Field(description="How many exchanges the conversation is to have.")
    begins: Annotated[str, AfterValidator(_is_day)] | None = Field(default=None, description="Day of the first message, as in 2026-04-14.")
    life: dict[str, str] = Field(default_factory=dict, description="What the persona lives on and where, by the names of `life.yaml`.")
    country: str | None = Field(default=None, description="Name of a country of `life.yaml`, where the assistant knows it.")
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
    """A whole conversation, with what is needed to make it again."""

    id: str
    persona: dict[str, Any] | None = None
    exchanges: list[Exchange] = Field(min_length=1)
    target_exchanges: int | None = None
    end_reason: EndReason | None = None
    created_at: str | None = None
    opening: str | None = Field(default=None, description="What the assistant said before the first exchange: context, which is not learnt.")
    system: str | None = Field(default=None, description="The short system prompt that it was held with.")
    provenance: dict[str, Any] = Field(
        default_factory=dict,
        description="How it was made. Of one from elsewhere only its file's name and seed; what the file says of itself is under `claimed`.",
    )


# --- assessments ----------------------------------------------------------------------------------------------------


class Answer(StrEnum):
    """What a judge says of a criterion; ERROR when its answer cannot be used."""

    YES = "YES"
    NO = "NO"
    NA = "NA"
    ERROR = "ERROR"


class Lapse(Record):
    """Something that a criterion counts against the assistant, as a judge lists it."""

    exchange: int
    what: str
    weight: Literal["light", "grave"]


class Opinion(Record):
    """One of several answers that a verdict was decided from: of a failed gate that was asked again, or of a panel's judge."""

    judge: str
    answer: Answer
    reasoning: str
    cited: list[int] = Field(default_factory=list)


class Verdict(Record):
    """What is held of one criterion: a judge's answer, or what was decided from several."""

    criterion: str
    answer: Answer
    reasoning: str
    cited: list[int] = Field(default_factory=list, description="Numbers of the exchanges that the reasoning rests on.")
    lapses: list[Lapse] = Field(default_factory=list, description="What speaks against it, where the judge was asked to list it.")
    stated: Answer | None = Field(default=None, description="The judge's own answer, where another one follows from its lapses.")
    opinions: list[Opinion] = Field(default_factory=list, description="The answers that it was decided from, where there were several.")


class Outcome(StrEnum):
    """What follows from an assessment. Incomplete is neither a pass nor a failure: it is judged again next time."""

    PASS = "pass"
    FAIL = "fail"
    INCOMPLETE = "incomplete"


class Score(Record):
    """What the rubric makes of a transcript's verdicts."""

    outcome: Outcome
    score: float | None = Field(description="Weighted mean of the categories, 0 to 1; none where nothing could be scored.")
    category_scores: dict[str, float]
    failed_checks: list[str]
    failed_gates: list[str]
    errors: int


class Assessment(Record):
    """The verdicts of one judge, or of a panel, on one transcript and their score."""

    transcript_id: str
    judge: str = Field(description="provider/model; of a panel all of them, joined by ' + '.")
    rubric_hash: str
    verdicts: list[Verdict]
    score: Score
    caveat: str | None = Field(default=None, description="Why the numbers must not be taken for more than they are.")
    shared_family: str | None = Field(default=None, description="The family that a judge and the writer of the assistant's messages are both of.")
    provenance: dict[str, Any] = Field(default_factory=dict)


class Judged(Record):
    """A transcript, what was decided of it, and what each judge said: of a single judge the two are the same."""

    transcript: Transcript
    final: Assessment
    by_judge: dict[str, Assessment]


class Shard(Record):
    """That a run is a part of another, whose bill it is on and whose budget it keeps.

    Args:
        run: name of the other run.
        part: fingerprint of what is asked of it, since the same command may be spread otherwise at the same time.
    """

    run: str
    part: str

    @property
    def result(self) -> str:
        """The file below the data root in which the part writes the name of its batch."""
        return f"batches/shards/{self.run}-{self.part}"


# --- references between stages: small, so that an orchestrator can keep them ------------------------------------------


class Reference(Record):
    """Something that was made and where it is, by name below the data root."""

    path: str


class TranscriptRef(Reference):
    """A transcript."""

    id: str
    exchanges: int


class AssessmentRef(Reference):
    """An assessment and what came of it."""

    transcript: TranscriptRef
    outcome: Outcome
    score: float | None
    by_judge: dict[str, str] = Field(
        default_factory=dict, description="Where the judge is no single one of the run's: the path of each judge's own assessment."
    )


RepoKind = Literal["dataset", "model"]


class Publication(Record):
    """What is to be published, and where.

    Args:
        private: whether others must not see it.
        license: as its card will name it.
    """

    repo: str
    kind: RepoKind
    private: bool
    license: str


class Commit(Record):
    """A version of a repository on a hub."""

    oid: str = Field(description="Its hash, by which it is pinned.")
    url: str = Field(description="Where a person can look at it.")


class DatasetRef(Reference):
    """A commit of a dataset on a hub, beside the run's own copy of it."""

    repo: str
    commit: str
    url: str
    examples: int
    validation_examples: int
    transcripts: int


class ModelRef(Reference):
    """A folder with a model, an adapter or GGUF files, or what is known of one in a repository, beside the file in which its job wrote the figures."""

    name: str
    repo: str | None = None
    commit: str | None = None
    url: str = ""
    folder: str | None = Field(default=None, description="Where the model's files are, if not below the data root: a folder that the settings name.")

    @property
    def on_hub(self) -> bool:
        """Whether a job elsewhere can reach it."""
        return self.url.startswith("http")


class EvaluationRef(Reference):
    """The figures of an evaluation as a file, and those that it ends with in words."""

    summary: dict[str, str]


class LeftOut(Record):
    """An item that a batch leaves out."""

    name: str
    reason: str


class TranscriptBatch(Record):
    """What rehearsal, or the reading of a folder, hands to the assessment."""

    domain: DomainName
    transcripts: list[TranscriptRef]
    left_out: list[LeftOut]


class AssessmentBatch(Record):
    """What the assessment hands to the dataset."""

    domain: DomainName
    judges: list[str]
    assessments: list[AssessmentRef]
    left_out: list[LeftOut]


class Result(Record):
    """A figure of the evaluation for the card's metadata, which the Hub shows beside it.

    Args:
        metric: its kind, such as `mean_score`; name: as people read it.
        dataset: what it was measured on, as people read it; dataset_type: the same as an identifier.
    """

    metric: str
    name: str
    value: FiniteFloat
    dataset: str
    dataset_type: str

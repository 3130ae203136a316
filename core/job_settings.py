"""Settings of training and export: the base, the arguments of the job scripts, where jobs run, and what they may cost."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.model_settings import Amount, Count, Seconds
from core.yaml_files import Strict

Share = Annotated[float, Field(ge=0, le=1)]

Argument = bool | int | float | str | list[str]
"""Value of a job script's argument: `--name value`; true is `--name` alone, false nothing, a list several values."""

Quantisation = Literal["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]

REPO = r"^[\w.-]+/([\w.-]|\{domain\})+$"


class Jobs(Strict):
    """Where training and export run, and what is borne and paid there.

    Args:
        where: `local`: processes of this machine; `hf`: Hugging Face Jobs, paid by the minute; or the name of a saved block.
        namespace: whose account pays; by default the one that export.repo is in.
        approve: `ask`: before a job is paid for, the flow waits for a person in the Prefect UI; `never`: what fits the budget is submitted.
        approve_seconds: after which an unanswered question ends the run.
        usd: of all jobs of one run, those that failed included.
        margin: how much longer than estimated a job may take before it is stopped.
        least_seconds: that a job is given at least.
        image: the container in which `uv run` starts the script.
        poll_seconds: between two looks at a job.
        queue_seconds: that a job may wait for its machine before it is cancelled.
        silent_seconds: without a line in the log after which a job is said to be silent.
        outage_seconds: that the service may be out of reach before the watch is given up; the job goes on.
    """

    where: str
    namespace: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    approve: Literal["ask", "never"]
    approve_seconds: Seconds
    usd: Amount
    margin: Annotated[float, Field(ge=0)]
    least_seconds: Seconds
    image: str
    poll_seconds: Seconds
    queue_seconds: Seconds
    silent_seconds: Seconds
    outage_seconds: Seconds


class ExportSettings(Strict):
    """Where adapters and GGUF files are published.

    Args:
        hub: `local`, `hf`, or the name of a saved block.
        repo: begins the repositories' names, in which `{domain}` stands for that; `-adapter`, `-gguf` and `-base-gguf` follow.
        private: of a repository that is made.
    """

    hub: str
    repo: Annotated[str, Field(pattern=REPO)]
    private: bool

    def named(self, domain: str, part: str) -> str:
        """Return the name of a repository."""
        return f"{self.repo.replace('{domain}', domain)}-{part}"


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


class HubBase(Strict):
    """A base model on the Hugging Face Hub.

    Args:
        repo: its name there.
        revision: branch, tag or commit; a branch is resolved to its commit once, before anything is paid.
        license: for the model cards, as the Hub names it.
    """

    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    revision: str
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]


class Flavors(Strict):
    """Which hardware the jobs are given (config/hardware.yaml).

    Args:
        train: for the training, with a GPU.
        convert: for merging, conversion and checks, by its RAM.
    """

    train: str
    convert: str


class Training(Strict):
    """`config/training/<model>.yaml`.

    Args:
        tiny_base, base: how the base is made, or where it is: one of the two.
        flavors: hardware of paid jobs.
        efficiency: share of a GPU's arithmetic that the training of this model uses, where it is not that of config/hardware.yaml.
        chat_template: a file beside this one; by default the base's own.
        train, convert: arguments of deployments/jobs/train_sft.py and convert_gguf.py.
        quantisations: GGUF files to make; the first is the one that is evaluated.
    """

    tiny_base: TinyBase | None = None
    base: HubBase | None = None
    flavors: Flavors | None = None
    efficiency: Annotated[float, Field(gt=0, le=1)] | None = None
    chat_template: str | None = None
    train: dict[str, Argument]
    convert: dict[str, Argument]
    quantisations: Annotated[list[Quantisation], Field(min_length=1)]

    @model_validator(mode="after")
    def _one_base(self) -> "Training":
        if (self.tiny_base is None) == (self.base is None):
            raise ValueError("give either base (a model on the Hub) or tiny_base (one that is made here)")
        if "max-length" not in self.train:
            raise ValueError("train needs max-length, the tokens of the longest example: nothing is cut without being told")
        return self

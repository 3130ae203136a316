"""Settings of training and export: the base, the arguments of the job scripts, where jobs run, and what they may cost."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from core.quantities import Amount, Part, Ratio, Seconds
from core.settings.job_arguments import Argument, ConvertArguments, TrainArguments
from core.yaml_files import Strict, fitting

Quantisation = Literal["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]

IMAGE = r"^[\w./:-]+(@sha256:[0-9a-f]{64})?$"

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
        image: the container in which `uv run` starts the script; `name@sha256:…` pins it, where a tag can be moved.
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
    margin: Ratio
    least_seconds: Seconds
    image: Annotated[str, Field(pattern=IMAGE)]
    poll_seconds: Seconds
    queue_seconds: Seconds
    silent_seconds: Seconds
    outage_seconds: Seconds


class ExportSettings(Strict):
    """Where adapters and GGUF files are published.

    Args:
        hub: `local`, `hf`, or the name of a saved block.
        repo: begins the repositories' names, in which `{domain}` stands for that; `-adapter`, `-gguf` and `-base-gguf` follow.
        private: a repository that is made is private, and one that is public is refused; false: it may be public.
    """

    hub: str
    repo: Annotated[str, Field(pattern=REPO)]
    private: bool

    def named(self, domain: str, part: str) -> str:
        """Return the name of a repository."""
        return f"{self.repo.replace('{domain}', domain)}-{part}"


BaseKind = Literal["hub", "folder", "gguf", "wheel"]

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
WHEEL = re.compile(r"wheel:(?P<package>\w[\w.-]*)==(?P<version>\w[\w.+!-]*)/(?P<file>.+\.gguf)")

BASE_FORMS = (
    "a name on the Hub (Qwen/Qwen3-14B), a folder (/path, ./path or ~/path), a file that ends in .gguf, or a GGUF file in a wheel "
    "(wheel:package==version/path/in/the/wheel.gguf)"
)


class Base(Strict):
    """The base model: on the Hugging Face Hub, in a folder, in a GGUF file, or in a GGUF file within a wheel of the package registry.

    Args:
        model: a name on the Hub (`Qwen/Qwen3-14B`), a folder (`/path`, `./path`, `~/path`), a file that ends in `.gguf`, or
            `wheel:package==version/path/in/the/wheel.gguf`. A relative path begins at the folder of the settings file that names it.
        revision: of a model on the Hub: branch, tag or commit, by default `main`; a branch is resolved to its commit once, before anything is paid.
        license: for the model cards, as the Hub names it.
        origin: for the model cards, where the model came from: an address or a sentence. Only a model on the Hub needs none.
        sha256: of the GGUF file; another file is refused.
    """

    model: str
    revision: Annotated[str, Field(min_length=1)] | None = None
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]
    origin: Annotated[str, Field(min_length=1)] | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, given: Any) -> Any:
        if isinstance(given, dict) and "repo" in given:
            raise ValueError("has `repo`, which is called `model` now; rename it")
        return given

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Base":
        kind = self.kind
        if self.revision and kind != "hub":
            raise ValueError(f"has a revision, which only a model on the Hub has, and {self.model!r} is {KINDS[kind]}; remove revision")
        if self.sha256 and kind not in ("gguf", "wheel"):
            raise ValueError(f"has sha256, the checksum of a GGUF file, and {self.model!r} is {KINDS[kind]}; remove sha256")
        if not self.origin and kind != "hub":
            raise ValueError(f"needs origin, the address or sentence that says where {self.model!r} came from: it is {KINDS[kind]}, and the cards must tell")
        return self

    @property
    def kind(self) -> BaseKind:
        """Where the model is, by the form of its name."""
        if self.model.startswith("wheel:"):
            self.in_wheel()
            return "wheel"
        if self.model.endswith(".gguf"):
            return "gguf"
        if self.model in (".", "..") or self.model.startswith(("/", "./", "../", "~")):
            return "folder"
        if HUB_ID.fullmatch(self.model):
            return "hub"
        raise ValueError(f"names the model {self.model!r}. Allowed: {BASE_FORMS}")

    def in_wheel(self) -> tuple[str, str, str]:
        """Return package, version and the file's path in the wheel."""
        found = WHEEL.fullmatch(self.model)
        if found is None:
            raise ValueError(f"names the model {self.model!r}. Of a wheel give package, version and file: wheel:package==version/path/in/the/wheel.gguf")
        if {"", ".", ".."} & {*found["file"].split("/")} or "\\" in found["file"]:
            raise ValueError(f"names the file {found['file']!r}, which leads out of the wheel. Give its path within the wheel")
        return found["package"], found["version"], found["file"]

    def beside(self, folder: Path) -> "Base":
        """Return the same with an absolute path, if the model is a folder or file."""
        if self.kind not in ("folder", "gguf"):
            return self
        return self.model_copy(update={"model": os.path.normpath(folder.absolute() / Path(self.model).expanduser())})


KINDS: dict[BaseKind, str] = {"hub": "a model on the Hub", "folder": "a folder", "gguf": "a GGUF file", "wheel": "a file in a wheel"}


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
        flavors: hardware of paid jobs.
        efficiency: share of a GPU's arithmetic that the training of this model uses, where it is not that of config/hardware.yaml.
        chat_template: a file beside this one; by default the base's own.
        train, convert: arguments of deployments/jobs/built/train_sft.py and convert_gguf.py.
        quantisations: GGUF files to make; the first is the one that is evaluated.
    """

    base: Base
    flavors: Flavors | None = None
    efficiency: Part | None = None
    chat_template: str | None = None
    train: Annotated[dict[str, Argument], AfterValidator(lambda given: fitting(given, TrainArguments))]
    convert: Annotated[dict[str, Argument], AfterValidator(lambda given: fitting(given, ConvertArguments))]
    quantisations: Annotated[list[Quantisation], Field(min_length=1)]

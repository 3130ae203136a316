"""Typed settings of the pipeline, and the functions that read `config/pipeline.yaml` and `config/training/<model>.yaml`."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from core.errors import SettingsError, nearest
from core.paths import find_data, project_path
from core.quantities import Count, ExchangeRange, Exchanges, Seconds, Seed, Tokens, Within
from core.records import RoleName
from core.settings.arms import read_arm
from core.settings.assessment import AssessmentSettings, CalibrationSettings, GatherSettings
from core.settings.evaluation import EvaluationSettings
from core.settings.extending import read_extended
from core.settings.faults import Fault
from core.settings.jobs import KINDS, REPO, ExportSettings, Jobs, Training
from core.settings.keys import refuse_keys
from core.settings.models import Budget, Calls, ModelSettings
from core.settings.operations import DesignSettings, ImprovementSettings, NightlySettings, OptimiseSettings, PreferenceSettings, RepairSettings
from core.settings.provider_options import OPTIONS
from core.settings.trust import find_settings, is_trusted, trusted
from core.text_files import read_text
from core.yaml_files import Strict, check, fitting


class Roles(Strict):
    """Which model plays which role: `provider/model`, or the name of a saved block."""

    user_simulator: str
    """Plays the simulated users."""
    assistant: str
    """Demonstrates the part, with the pack's detailed guidance."""
    judges: Annotated[list[str], Field(min_length=1)]
    """One judge, or several as a panel."""
    evaluation_judges: Annotated[list[str], Field(min_length=1)] | None = None
    """Judges of the evaluation; default: `judges`. Choose models that neither chose nor wrote the
    training data."""
    repairer: str | None = None
    """Repairs transcripts that almost passed."""
    designer: str | None = None
    """Drafts and reviews domain packs; use the strongest model that you have."""

    @model_validator(mode="after")
    def _judges_differ(self) -> "Roles":
        for panel in (self.judges, self.evaluation_judges or []):
            if twice := sorted({name for name in panel if panel.count(name) > 1}):
                raise ValueError(
                    f"judges names {twice[0]} more than once; a panel consists of different models. To measure one judge's stability, use `repeat`"
                )
        return self

    def judges_of(self, flow: str) -> list[str]:
        """Return the judges of a flow; the evaluation may have its own."""
        return (self.evaluation_judges if flow == "evaluation" else None) or self.judges

    def bound(self, flow: str | None = None) -> dict[RoleName, list[str]]:
        """Return the models of each role, by the role's name.

        Args:
            flow: the flow whose judges are returned; None for the judges of all flows.
        """
        judges = self.judges_of(flow) if flow else list(dict.fromkeys([*self.judges, *self.judges_of("evaluation")]))
        bound: dict[RoleName, list[str]] = {"user_simulator": [self.user_simulator], "assistant": [self.assistant], "judge": judges}
        others: dict[RoleName, str | None] = {"repairer": self.repairer, "designer": self.designer}
        return bound | {role: [name] for role, name in others.items() if name}


class Generation(Strict):
    """Generation of conversations."""

    conversations: Count
    """Number of personas, each with one conversation."""
    first_seed: Seed = 0
    """Seed of the first persona; the others follow consecutively."""
    exchanges: ExchangeRange | None = None
    """Fewest and most exchanges; replaces the pack's length classes."""
    minimum_exchanges: Exchanges = 3
    """Fewest exchanges before the user may end the conversation, here and in the evaluation."""
    concurrency: Count
    """Parallel conversations."""
    max_tokens: Tokens
    """Maximum length of one message, including thinking."""
    most_tokens: Tokens = 150_000
    """Maximum length of a side's prompt and answer together; the conversation ends before it, or
    before the model's context is full."""
    guards: list[Fault]
    """Faults for which a message is rejected and requested again (core/rehearsal/guards.py).
    Malformed and empty messages are always rejected."""
    progress_seconds: Seconds = 15
    """Interval of progress reports."""

    @model_validator(mode="after")
    def _has_room(self) -> "Generation":
        if self.max_tokens >= self.most_tokens:
            raise ValueError(f"max_tokens is {self.max_tokens:,} and most_tokens {self.most_tokens:,}: the answer would leave no room for a prompt")
        return self


class Slicing(Strict):
    """How a transcript becomes training examples."""

    first: Exchanges
    """Exchanges in the first slice, and the fewest in any example."""
    gap: ExchangeRange
    """Fewest and most exchanges between two slices."""
    max_tokens: Tokens = 120_000
    """Maximum length of a slice; the earliest exchanges of a longer one are removed."""


class DatasetSettings(Strict):
    """The training set, and where it is published."""

    hub: str
    """`local`, `hf`, or the name of a saved block."""
    repo: Annotated[str, Field(pattern=REPO)]
    """Name of the repository, with `{domain}` as a placeholder."""
    private: bool
    """Whether a new repository is private and a public one is rejected."""
    provenance: bool = False
    """Whether the published columns name the transcript and slice of an example; the local copy
    always has them."""
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]
    """License and languages named in the card, in the Hub's spelling."""
    languages: Annotated[list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]], Field(min_length=1)]
    """License and languages named in the card, in the Hub's spelling."""
    consent: str = ""
    """A sentence for the card on the legal basis for using imported conversations; if it is empty,
    the card says so."""
    tokenizer: str
    """Tokenizer for counting lengths: `cl100k_base`, or `hf:` and a folder or repository."""
    slicing: Slicing
    validation_share: Within
    """Share of the transcripts used for validation."""
    recorded: bool = False
    """Whether the pipeline judges and trains on the pack's recorded conversations, if it has some,
    instead of the generated ones."""

    def of(self, domain: str) -> "DatasetSettings":
        """Return the settings with the domain's name filled in."""
        return self.model_copy(update={"repo": self.repo.replace("{domain}", domain)})


class Settings(Strict):
    """The contents of `config/pipeline.yaml`."""

    roles: Roles
    models: dict[str, ModelSettings] = Field(description="By `provider/model`, by the name of a saved block, or by a provider for all its models.")
    calls: Calls = Calls()
    budget: Budget
    generation: Generation
    assessment: AssessmentSettings
    calibration: CalibrationSettings = CalibrationSettings()
    gather: GatherSettings = GatherSettings()
    dataset: DatasetSettings
    training: str = Field(description="Name of a file in config/training, without `.yaml`.")
    jobs: Jobs
    export: ExportSettings
    evaluation: EvaluationSettings
    nightly: NightlySettings
    repair: RepairSettings
    preferences: PreferenceSettings = PreferenceSettings()
    design: DesignSettings
    optimise: OptimiseSettings = OptimiseSettings()
    improvement: ImprovementSettings = ImprovementSettings()

    @model_validator(mode="after")
    def _known_models(self) -> "Settings":
        for name, entry in self.models.items():
            provider = name.partition("/")[0]
            if provider not in OPTIONS:
                if "/" in name or (name not in self._names() and nearest(name, OPTIONS)):
                    raise ValueError(
                        f"models names {name!r}, whose provider is unknown.{nearest(name, OPTIONS)} Allowed: {', '.join(OPTIONS)}, or a saved block"
                    )
                continue
            try:
                fitting(entry.options, OPTIONS[provider])
            except ValueError as wrong:
                raise ValueError(f"models.{name}.options: {wrong}") from wrong
        return self

    def _names(self) -> set[str]:
        arms = [read_arm(*item).literal for item in self.evaluation.arms.items()]
        return {name for names in [*self.roles.bound().values(), filter(None, arms)] for name in names}

    def check_entries(self, others: Iterable[str] = ()) -> None:
        """Check that each model with an entry in `models` is used; otherwise a misspelt entry's limits and price would be ignored.

        Args:
            others: models that are used in addition to those of the roles and arms.

        Raises:
            SettingsError: a model is not used.
        """
        used = self._names() | set(others)
        for name in self.models:
            if name not in OPTIONS and name not in used:
                raise SettingsError(
                    f"models has an entry for {name!r}, which no role uses.{nearest(name, used)} Its limits and its price would be ignored. Correct the name, "
                    "or take the entry out."
                )

    @model_validator(mode="after")
    def _seeds_apart(self) -> "Settings":
        last = self.generation.first_seed + self.generation.conversations - 1
        if last >= self.evaluation.first_seed:
            raise ValueError(
                f"generation would use the seeds {self.generation.first_seed} to {last}, but those from {self.evaluation.first_seed} on are kept for "
                "the evaluation; lower generation.conversations or first_seed, or raise evaluation.first_seed"
            )
        return self

    @model_validator(mode="after")
    def _jobs_reach_what_they_need(self) -> "Settings":
        if self.jobs.where != "local" and "local" in (self.dataset.hub, self.export.hub):
            raise ValueError(
                f"jobs.where is {self.jobs.where!r}, but a job on another machine reads its dataset from the Hub and publishes its model there; set "
                "dataset.hub and export.hub to hf (or a saved block) too, or jobs.where to local"
            )
        return self


def load_settings(path: str = "config/pipeline.yaml", root: Path | None = None) -> Settings:
    """Read the pipeline's settings.

    A file may begin with `extends: FILE`, which names a file in the same folder or in config/. It then contains only the differences from that file.

    Args:
        path: the file; a relative path is resolved by `find_settings` unless `root` is given.
        root: folder that a relative path starts at, and that is trusted like the project; None for the usual search.

    Raises:
        SettingsError: the file is missing, outside the project (core/settings/trust.py), extends itself, contains a key, or is not valid.
    """
    file, roots = (root / path, [root]) if root else (find_settings(path), [])
    data = read_extended(file, roots)
    refuse_keys({f"{file}": data})
    return check(data, Settings, SettingsError, str(file))


def load_training(name: str, root: Path | None = None) -> Training:
    """Read the training settings of a model.

    A file may extend another one in the same folder. In the result, `chat_template` contains the template's text, and a relative path of the base is absolute.

    Args:
        name: name of a file in config/training without suffix, or a path that ends in `.yaml`.
        root: folder that replaces the project; None for the project.

    Raises:
        SettingsError: the file or its chat template is missing, outside the project or not valid.
    """
    roots, file = [root] if root else [], name if name.endswith(".yaml") else f"config/training/{name}.yaml"
    path = trusted(root / file if root else project_path(file) if file == name else find_data(file), *roots)
    training = check(read_extended(path, roots), Training, SettingsError, str(path))
    training = training.model_copy(update={"base": training.base.beside(path.parent)})
    if training.chat_template is None:
        return training
    template = path.parent / training.chat_template
    if not is_trusted(template, *roots):
        raise SettingsError(f"{path}: chat_template is {training.chat_template!r}, which is outside the project. Put it beside the settings.")
    return training.model_copy(update={"chat_template": read_text(template, SettingsError, "Name a file beside the settings in chat_template.")})


def check_jobs(settings: Settings, training: Training) -> None:
    """Check that jobs can run with the training settings at the place that the settings name.

    Raises:
        SettingsError: jobs run on another machine, and it cannot reach the base, or no machines are named.
    """
    if settings.jobs.where == "local":
        return
    if training.base.kind != "hub":
        raise SettingsError(
            f"jobs.where is {settings.jobs.where!r}, but the base of the training settings {settings.training!r} is {KINDS[training.base.kind]} "
            f"({training.base.model}), which a job on another machine cannot read. Push the model to the Hub and name it there, or set jobs.where to local."
        )
    if training.flavors is None:
        raise SettingsError(
            f"The training settings {settings.training!r} name no machines for paid jobs. Give flavors.train and flavors.convert (config/hardware.yaml)."
        )

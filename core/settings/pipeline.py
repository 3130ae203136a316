"""Typed settings: `config/pipeline.yaml` and `config/training/<model>.yaml`, every number a person might tune."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from core.errors import SettingsError, nearest
from core.paths import find_data, project_path
from core.quantities import Count, Differences, ExchangeRange, Exchanges, Ratios, Seconds, Seed, Shares, Tokens, Within
from core.records import RoleName
from core.settings.assessment import AssessmentSettings
from core.settings.dataset import AuditSettings, DuplicateSettings
from core.settings.evaluation import EvaluationSettings
from core.settings.faults import Fault
from core.settings.jobs import REPO, ExportSettings, Jobs, Training
from core.settings.keys import refuse_keys
from core.settings.models import Budget, Calls, ModelSettings
from core.settings.operations import CostSettings, DesignSettings, NightlySettings, RepairSettings
from core.settings.provider_options import OPTIONS
from core.settings.trust import find_settings, is_trusted, trusted
from core.text_files import read_text
from core.yaml_files import Strict, check, fitting, load_yaml, read_yaml

LONGEST_CHAIN = 8
"""Files that extend one another."""


class Roles(Strict):
    """Which model plays which role: `provider/model`, or the name of a saved block.

    Args:
        user_simulator: plays the users.
        assistant: plays the part that is to be learnt, with the pack's rich guidance.
        judges: several are a panel.
        repairer: mends transcripts that almost passed.
        designer: drafts and reviews domain packs; the strongest model that you have.
    """

    user_simulator: str
    assistant: str
    judges: Annotated[list[str], Field(min_length=1)]
    repairer: str | None = None
    designer: str | None = None

    @model_validator(mode="after")
    def _judges_differ(self) -> "Roles":
        if twice := sorted({name for name in self.judges if self.judges.count(name) > 1}):
            raise ValueError(f"judges names {twice[0]} more than once; a panel is of different models, and one judge's stability is what `repeat` measures")
        return self

    def bound(self) -> dict[RoleName, list[str]]:
        """Return the models of each role, by the role's name."""
        bound: dict[RoleName, list[str]] = {"user_simulator": [self.user_simulator], "assistant": [self.assistant], "judge": self.judges}
        others: dict[RoleName, str | None] = {"repairer": self.repairer, "designer": self.designer}
        return bound | {role: [name] for role, name in others.items() if name}


class Generation(Strict):
    """Rehearsal of new conversations.

    Args:
        conversations: how many personas are sampled.
        first_seed: the first persona's seed; the others follow.
        exchanges: lowest and highest number of exchanges, instead of the pack's length classes.
        minimum_exchanges: before this many the user does not take leave, here and in the evaluation.
        concurrency: conversations under way at once.
        max_tokens: room for one message.
        most_tokens: of a side's prompt and answer together; the conversation ends before that, or before the model's context is full.
        guards: faults for which a message is written again (core/rehearsal/guards.py); one without form or words always is.
        told_every_seconds: how often the progress is told.
    """

    conversations: Count
    first_seed: Seed
    exchanges: ExchangeRange | None = None
    minimum_exchanges: Exchanges
    concurrency: Count
    max_tokens: Tokens
    most_tokens: Tokens
    guards: list[Fault]
    told_every_seconds: Seconds

    @model_validator(mode="after")
    def _has_room(self) -> "Generation":
        if self.max_tokens >= self.most_tokens:
            raise ValueError(f"max_tokens is {self.max_tokens:,} and most_tokens {self.most_tokens:,}: a prompt would have no room beside its answer")
        return self


class Fidelity(Strict):
    """Between which values a batch's figures are in order (core/rehearsal/fidelity.py); the others are named in the report.

    Args:
        flaw_lift: how much oftener a flaw's words stand in messages that were to show it than in others, as a difference of shares.
        length_in_style: share of messages whose length suits the writing style.
        questions_answered: share of messages after a question that answer it directly; people often do not.
        question_endings: share of messages that end with a question.
        topics_per_message: mean number of the pack's subtopics that a message touches.
        topics_kept: share of a message's scheduled subtopics that it touches.
        distinct_openers: share of messages that begin like no earlier one of their conversation.
        messages_refused: share of messages that a guard refused.
        answer_words: with which a direct answer begins.
    """

    flaw_lift: Differences
    length_in_style: Shares
    questions_answered: Shares
    question_endings: Shares
    topics_per_message: Ratios
    topics_kept: Shares
    distinct_openers: Shares
    messages_refused: Shares
    answer_words: list[str]


class Slicing(Strict):
    """How a transcript becomes examples; the defaults are the design's.

    Args:
        first: exchanges in the first slice, and the fewest that make an example.
        gap: bounds of the number of exchanges between two slices.
        max_tokens: the earliest exchanges of a longer slice are left out until it fits.
        whole: whether the whole conversation is its only slice, so that each reply is learnt once.
    """

    first: Exchanges
    gap: ExchangeRange
    max_tokens: Tokens
    whole: bool = False


class DatasetSettings(Strict):
    """What is trained on, and where it is published.

    Args:
        hub: `local`, `hf`, or the name of a saved block.
        repo: the repository's name, in which `{domain}` stands for that.
        private: a repository that is made is private, and one that is public is refused; false: it may be public.
        provenance: whether the columns say which transcript and slice an example is of; the run's own copy always tells.
        license, languages: for the card, as the Hub names them.
        consent: a sentence for the card: on what the use of imported conversations rests, such as that everybody in them agreed; the card says if it is empty.
        tokenizer: by which lengths are counted: `cl100k_base`, or `hf:` and a folder or repository.
        validation_share: of the transcripts.
    """

    hub: str
    repo: Annotated[str, Field(pattern=REPO)]
    private: bool
    provenance: bool
    license: Annotated[str, Field(pattern=r"^[a-z0-9.+-]+$")]
    languages: Annotated[list[Annotated[str, Field(pattern=r"^[a-z]{2,3}$")]], Field(min_length=1)]
    consent: str = ""
    tokenizer: str
    slicing: Slicing
    validation_share: Within
    duplicates: DuplicateSettings
    audit: AuditSettings

    def of(self, domain: str) -> "DatasetSettings":
        """Return the settings with the domain's name filled in."""
        return self.model_copy(update={"repo": self.repo.replace("{domain}", domain)})


class Settings(Strict):
    """`config/pipeline.yaml`."""

    roles: Roles
    models: dict[str, ModelSettings] = Field(description="By `provider/model`, by a saved block's name, or by a provider alone for all its models.")
    calls: Calls
    budget: Budget
    generation: Generation
    fidelity: Fidelity
    assessment: AssessmentSettings
    dataset: DatasetSettings
    training: str = Field(description="Name of a file in config/training, without its ending.")
    jobs: Jobs
    export: ExportSettings
    evaluation: EvaluationSettings
    nightly: NightlySettings
    repair: RepairSettings
    design: DesignSettings
    costs: CostSettings

    @model_validator(mode="after")
    def _known_models(self) -> "Settings":
        for name, entry in self.models.items():
            provider = name.partition("/")[0]
            if provider not in OPTIONS:
                if "/" in name or (name not in self._names() and nearest(name, OPTIONS)):
                    raise ValueError(f"models names {name!r}, of no known provider.{nearest(name, OPTIONS)} Allowed: {', '.join(OPTIONS)}, or a saved block")
                continue
            try:
                fitting(entry.options, OPTIONS[provider])
            except ValueError as wrong:
                raise ValueError(f"models.{name}.options: {wrong}") from wrong
        return self

    def _names(self) -> set[str]:
        return {name for names in self.roles.bound().values() for name in names}

    def check_entries(self, others: Iterable[str] = ()) -> None:
        """See that each model that has an entry of its own is asked by somebody: a misspelt name has neither its limits nor its price.

        Args:
            others: models that are asked besides those of the roles.

        Raises:
            SettingsError: one is asked by nobody.
        """
        asked = self._names() | set(others)
        for name in self.models:
            if name not in OPTIONS and name not in asked:
                raise SettingsError(
                    f"models has an entry for {name!r}, which no role asks.{nearest(name, asked)} Its limits and its price would be ignored. Correct the name, "
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
                f"jobs.where is {self.jobs.where!r}, but a job elsewhere reads its dataset from the Hub and leaves its model there; set dataset.hub and "
                "export.hub to hf (or a saved block) too, or jobs.where to local"
            )
        return self


def load_settings(path: str = "config/pipeline.yaml", root: Path | None = None) -> Settings:
    """Read the pipeline's settings.

    A file that begins with `extends: <file beside it>` says only what is different from that one.

    Args:
        path: if it is relative, it is found as `find_settings` does.
        root: the folder that it is relative to in place of that, and that counts as the project.

    Raises:
        SettingsError: the file is missing, outside the project (core/settings/trust.py), extends itself, holds a key, or something in it is wrong.
    """
    file, roots = (root / path, [root]) if root else (find_settings(path), [])
    data = _layered(file, roots)
    refuse_keys({f"{file}": data})
    return check(data, Settings, SettingsError, str(file))


def _layered(path: Path, roots: list[Path], over: tuple[Path, ...] = ()) -> Any:
    data = read_yaml(trusted(path, *roots), SettingsError)
    if not isinstance(data, dict) or "extends" not in data:
        return data
    named, above = data.pop("extends"), (*over, path.resolve())
    if not isinstance(named, str) or not named:
        raise SettingsError(f"{path}: `extends` is {named!r:.80}. Allowed: the name of a settings file beside it.")
    base = trusted(path.parent / named, *roots)
    if base.resolve() in above:
        raise SettingsError(f"{path}: `extends` names {named!r}, which extends this file in turn or is it. Name a file that stands by itself.")
    if len(above) > LONGEST_CHAIN:
        raise SettingsError(f"{path} is the end of a chain of more than {LONGEST_CHAIN} files that extend one another. Write what differs into one of them.")
    return _merged(_layered(base, roots, above), data)


def _merged(base: Any, over: Any) -> Any:
    if not isinstance(base, dict) or not isinstance(over, dict):
        return over
    return base | {name: _merged(base.get(name), value) for name, value in over.items()}


def load_training(name: str, root: Path | None = None) -> Training:
    """Read the training settings of a model by its short name, or from a path that ends in `.yaml`.

    A chat template that is a file is replaced by its text, a base's relative path by the absolute one.

    Raises:
        SettingsError: the file or its chat template is missing or outside the project, or something in it is wrong.
    """
    roots, file = [root] if root else [], name if name.endswith(".yaml") else f"config/training/{name}.yaml"
    path = trusted(root / file if root else project_path(file) if file == name else find_data(file), *roots)
    training = load_yaml(path, Training, SettingsError)
    training = training.model_copy(update={"base": training.base.beside(path.parent)})
    if training.chat_template is None:
        return training
    template = path.parent / training.chat_template
    if not is_trusted(template, *roots):
        raise SettingsError(f"{path}: chat_template is {training.chat_template!r}, which is outside the project. Put it beside the settings.")
    return training.model_copy(update={"chat_template": read_text(template, SettingsError, "Name a file beside the settings in chat_template.")})

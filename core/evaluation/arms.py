"""The arms of an evaluation: by default the GGUF files of an export, and any other models that the user names."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import EvaluationError, PackError, SettingsError
from core.evaluation.facts import HeldOutLoss
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.packs.pack import Pack
from core.packs.prompts import check_prompt
from core.paths import project_path, user_path
from core.records import ModelChoice, Record
from core.settings.arms import ASSISTANT, BASE, EXPORTED, PREFERRED, SYSTEM, TEACHER, UNDER, UNDERSTUDY, ArmWords, as_written, read_arms
from core.settings.provider_options import FILES
from core.storage.store import Store
from core.text_files import read_text
from core.training.export_facts import ExportFacts, export_facts
from core.training.latest import Exported


class Arm(Record):
    """An arm: a model under a prompt.

    Args:
        choice: the model.
        heldout: loss of the model's file on the validation split.
        prompt: `system` or `assistant` of the pack, or the name of the user's prompt file.
        template: text of the user's prompt file; None for a prompt of the pack.
        as_written: whether the arm plays as the training data was written: with the pack's notes, and with unusable answers requested again.
    """

    name: str
    choice: ModelChoice
    heldout: HeldOutLoss
    prompt: str = SYSTEM
    template: str | None = None
    as_written: bool = False

    @property
    def file(self) -> str | None:
        """Path of the model's GGUF file; None if it is not a file."""
        provider, _, path = self.choice.reference.partition("/")
        return path if provider in FILES else None

    def instructions(self, pack: Pack, country: str | None) -> str:
        """Return the filled-in prompt.

        Args:
            country: country of the simulated user; None if it is not known.
        """
        if self.template is None:
            return pack.instructions(self.prompt, country)
        return pack.fill(check_prompt(Path(self.prompt), self.template, "assistant"), country)

    @property
    def shown(self) -> str:
        """Name in reports: the model, without a file's folder, and the prompt if it is not `system`."""
        provider, _, path = self.choice.reference.partition("/")
        return (f"{provider}/{path.rpartition('/')[2]}" if self.file else self.choice.reference) + self.under

    @property
    def identity(self) -> str:
        """Key of the arm in one data root: equal for equal arms."""
        return (self.file or self.choice.reference) + self.under

    @property
    def under(self) -> str:
        """The prompt as a suffix of the name; empty for `system`, the prompt of the training. A file's suffix has the fingerprint of its content."""
        if self.template is not None:
            return f"{UNDER}{self.prompt} ({fingerprint(self.template)})"
        notes = " with its notes" if self.as_written else ""
        return "" if self.prompt == SYSTEM else f"{UNDER}{self.prompt}.md{notes}"


@dataclass(frozen=True)
class Wanted:
    """A requested arm, before its model's block is read.

    Args:
        reference: reference of the model.
        heldout: as in `Arm`.
        prompt: `system`, `assistant` or the path of a prompt file.
        path: the prompt file; None for a prompt of the pack.
        as_written: as in `Arm`.
    """

    reference: str
    heldout: HeldOutLoss
    prompt: str
    path: Path | None
    as_written: bool

    def arm(self, name: str, choice: ModelChoice) -> Arm:
        """Return the arm with the given model.

        Raises:
            PackError: the prompt file cannot be read, or uses an input that it does not get.
        """
        template = read_text(self.path, PackError, f"Write it, or name {SYSTEM} or {ASSISTANT}.") if self.path else None
        if self.path and template is not None:
            check_prompt(self.path, template, "assistant")
        prompt = self.path.name if self.path else self.prompt
        return Arm(name=name, choice=choice, heldout=self.heldout, prompt=prompt, template=template, as_written=self.as_written)


def wanted_arms(run: Run, exported: Exported | None, named: Mapping[str, str]) -> dict[str, Wanted]:
    """Return the arms of the settings and of the command, the base first.

    Args:
        exported: export whose GGUF files are the arms `base`, `understudy` and, after preference training, `preferred`, unless `named` or the settings name
            other models for these arms. None if there is no export.
        named: the command's arms by name, each as `MODEL` or `MODEL under PROMPT`; they replace arms of the settings with the same name.

    Raises:
        SettingsError: an arm has another form.
        EvaluationError: the base or another arm is absent, or the exported files cannot be compared.
    """
    asked = read_arms(named)
    configured = read_arms(run.settings.evaluation.arms) | asked
    needed = exported and not all(name in configured and configured[name].literal for name in (BASE, UNDERSTUDY))
    files = files_of(run.store, exported) if exported and needed else {}
    arms = {name: ArmWords(name, SYSTEM) for name in files} | configured
    if BASE not in arms or len(arms) < 2:
        raise _nothing_to_compare(run, [*files, *asked])
    order = sorted(arms, key=lambda name: (name != BASE, name != UNDERSTUDY, name != PREFERRED, name))
    unknown = HeldOutLoss(loss=None, reason="only a file of an export has one")

    def wanted(name: str) -> Wanted:
        words, source = arms[name], _source(name, arms)
        if source == TEACHER:
            reference = run.settings.roles.assistant
        elif source in EXPORTED:
            if source not in files:
                raise _nothing_to_compare(run, [*files, *asked])
            reference = f"{run.settings.evaluation.serve}/{files[source][0]}"
        else:
            reference = source
        heldout = files[source][1] if source in files else unknown
        path = None if words.prompt in (SYSTEM, ASSISTANT) else (user_path if name in asked else project_path)(words.prompt)
        return Wanted(reference, heldout, words.prompt, path, as_written(words))

    return {name: wanted(name) for name in order}


def _source(name: str, arms: Mapping[str, ArmWords]) -> str:
    """Return an arm's model: a reference, `teacher`, or the name of an exported model.

    A name such as `base` refers to the arm of that name, which may have another model than the exported one.
    """
    seen, word = {name}, arms[name].model
    while word in EXPORTED and word in arms and word not in seen:
        seen.add(word)
        word = arms[word].model
    return word


def _nothing_to_compare(run: Run, names: Sequence[str]) -> EvaluationError:
    return EvaluationError(
        f"Nothing to compare: {', '.join(names) or 'no arm'} is given, and no export of {run.pack.name} exists here. Run the export flow first "
        "(understudy export), or name the models: arms={'base': 'provider/model', 'understudy': 'provider/model'}."
    )


def check_apart(run: Run, arms: Sequence[Arm]) -> None:
    """Check that the arms differ from one another and can play at once.

    Raises:
        EvaluationError: two arms are the same model under the same prompt.
        SettingsError: several models of llama-cpp, which holds one in memory, would play at once.
    """
    settings = run.settings.evaluation
    names: dict[str, str] = {}
    for arm in arms:
        text = check_prompt(Path(arm.prompt), arm.template, "assistant").text if arm.template else run.pack.prompts[arm.prompt].text
        key = json.dumps([model_key(arm.choice), text, arm.as_written])
        if key in names:
            raise EvaluationError(
                f"{names[key]} and {arm.name} are the same model ({arm.choice.reference}) under the same prompt. Name another model or prompt, or take one "
                "of them out (ARMS, evaluation.arms)."
            )
        names[key] = arm.name
    in_process = {model_key(arm.choice): arm.name for arm in arms if arm.choice.reference.startswith("llama-cpp/")}
    if settings.arms_at_once > 1 and len(in_process) > 1:
        raise SettingsError(
            f"evaluation.arms_at_once is {settings.arms_at_once}, but {' and '.join(in_process.values())} play in this process, which holds one model. Set it "
            "to 1, or evaluation.serve to llama-server."
        )


def model_key(choice: ModelChoice) -> str:
    """Return a key that is equal for equal models."""
    return json.dumps(choice.model_dump(), sort_keys=True)


def identities(arms: Sequence[Arm]) -> dict[str, str]:
    """Return the identity of each arm, by name."""
    return {arm.name: arm.identity for arm in arms}


def by_model(arms: Sequence[Arm]) -> list[list[Arm]]:
    """Return the arms grouped by model: arms of one model share its file, its server, and its answers without a system prompt."""
    groups: dict[str, list[Arm]] = {}
    for arm in arms:
        groups.setdefault(model_key(arm.choice), []).append(arm)
    return list(groups.values())


def prompted(arms: Sequence[Arm]) -> list[str]:
    """Return the names of the arms that are the base under another prompt, which needs no training."""
    return [arm.name for group in by_model(arms) for arm in group if group[0].name == BASE and arm.name != BASE]


def files_of(store: Store, exported: Exported) -> dict[str, tuple[str, HeldOutLoss]]:
    """Return the GGUF files of an export that can be compared, each with its loss, by arm.

    Raises:
        EvaluationError: the models have different bases, or their files different quantisations.
    """
    models = {BASE: exported.base, UNDERSTUDY: exported.understudy} | ({PREFERRED: exported.preferred} if exported.preferred else {})
    records = {name: store.load_json(f"{model.path}/export.json") for name, model in models.items()}
    facts = {name: export_facts(record) for name, record in records.items()}
    origins = {name: (record.get("base"), record.get("base_revision")) for name, record in records.items()}
    if other := next((name for name in models if origins[name] != origins[BASE]), None):
        raise EvaluationError(
            f"The {other} was trained from {origins[other][0]}, and the base's files are of {origins[BASE][0]}. A difference between them would not be "
            "due to the training. Export both from the same base (understudy export)."
        )
    kinds = {name: facts[name].main.removeprefix(f"{model.name}-") for name, model in models.items()}
    if other := next((name for name in models if kinds[name] != kinds[BASE]), None):
        raise EvaluationError(f"The base's file is {kinds[BASE]} and the {other}'s {kinds[other]}. Export both with the same quantisations.")
    return {name: (f"{model.path}/{facts[name].main}", _heldout(facts[name])) for name, model in models.items()}


def _heldout(facts: ExportFacts) -> HeldOutLoss:
    loss = next((file.heldout_loss for file in facts.files if file.name == facts.main), None)
    return HeldOutLoss(loss=loss, on=facts.heldout, reason=None if loss is not None else "its export measured none")

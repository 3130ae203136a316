"""The arms of an evaluation: by default the GGUF files of an export, and any models that are named."""

import json
import re
from collections.abc import Mapping, Sequence

from core.errors import EvaluationError, SettingsError
from core.evaluation.facts import HeldOutLoss
from core.llm.run import Run
from core.records import ModelChoice, Record
from core.settings.evaluation import EvaluationSettings
from core.storage.store import Store
from core.training.facts import ExportFacts, export_facts
from core.training.latest import Exported

BASE, UNDERSTUDY = "base", "understudy"

LOCAL_FILES = ("llama-cpp", "llama-server")
"""Providers whose models are GGUF files of this machine."""


class Arm(Record):
    """An arm: the model that plays it, and the loss of its file on what nothing was trained on."""

    name: str
    choice: ModelChoice
    heldout: HeldOutLoss

    @property
    def file(self) -> str | None:
        """Path of its GGUF, if that is what it is."""
        provider, _, path = self.choice.reference.partition("/")
        return path if provider in LOCAL_FILES else None

    @property
    def shown(self) -> str:
        """What reports call its model: a path of this machine says nothing to others."""
        provider, _, path = self.choice.reference.partition("/")
        return f"{provider}/{path.rpartition('/')[2]}" if self.file else self.choice.reference


def references(run: Run, exported: Exported | None, named: Mapping[str, str]) -> dict[str, tuple[str, HeldOutLoss]]:
    """Return the arms' models, the base's first, and the loss of each on what nothing was trained on.

    Args:
        exported: whose GGUF files are the arms `base` and `understudy`, unless other models are named for them.
        named: models by the arm's name, as `provider/model` or as the name of a saved block.

    Raises:
        SettingsError: an arm's name of another form.
        EvaluationError: there is no base or no understudy, or the two files cannot be compared.
    """
    for name in named:
        if not re.fullmatch(r"[A-Za-z0-9][\w. -]{0,39}", name):
            raise SettingsError(f"An arm is called {name!r}. Allowed: up to 40 letters, digits, blanks, dots and dashes, as in {{'opus': 'anthropic/…'}}.")
    files = files_of(run.store, exported) if exported and not {BASE, UNDERSTUDY} <= named.keys() else {}
    references = {name: f"{run.settings.evaluation.serve}/{path}" for name, (path, _) in files.items()} | dict(named)
    if BASE not in references or len(references) < 2:
        raise EvaluationError(
            f"Nothing to compare: {', '.join(references) or 'no arm'} is given and nothing of {run.pack.name} was exported here. Run the export flow first "
            "(make export), or name the models: arms={'base': 'provider/model', 'understudy': 'provider/model'}."
        )
    order = sorted(references, key=lambda name: (name != BASE, name != UNDERSTUDY, name))
    unknown = HeldOutLoss(loss=None, reason="only a file of an export has one")
    return {name: (references[name], unknown if name in named else files[name][1]) for name in order}


def check_apart(settings: EvaluationSettings, arms: Sequence[Arm]) -> None:
    """Refuse arms that are the same, or that do not fit into memory."""
    known = [json.dumps(arm.choice.model_dump(), sort_keys=True) for arm in arms]
    for place, choice in enumerate(known):
        if choice in known[:place]:
            raise EvaluationError(f"{arms[known.index(choice)].name} and {arms[place].name} are the same model ({arms[place].choice.reference}). Name another.")
    here = [arm.name for arm in arms if arm.choice.reference.startswith("llama-cpp/")]
    if settings.arms_at_once > 1 and len(here) > 1:
        raise SettingsError(
            f"evaluation.arms_at_once is {settings.arms_at_once}, but {' and '.join(here)} play in this process, which holds one model. Set it "
            "to 1, or evaluation.serve to llama-server."
        )


def files_of(store: Store, exported: Exported) -> dict[str, tuple[str, HeldOutLoss]]:
    """Return the files of an export that are compared, with the loss of each: of the same base and of the same quantisation."""
    models = {BASE: exported.base, UNDERSTUDY: exported.understudy}
    records = {name: store.load_json(f"{model.path}/export.json") for name, model in models.items()}
    facts = {name: export_facts(record) for name, record in records.items()}
    origins = {name: (record.get("base"), record.get("base_revision")) for name, record in records.items()}
    if origins[BASE] != origins[UNDERSTUDY]:
        raise EvaluationError(
            f"The understudy was trained from {origins[UNDERSTUDY][0]}, and the base's files are of {origins[BASE][0]}. A difference between them would not be "
            "that of the training. Export both from the same base (make export)."
        )
    kinds = {name: facts[name].main.removeprefix(f"{model.name}-") for name, model in models.items()}
    if kinds[BASE] != kinds[UNDERSTUDY]:
        raise EvaluationError(f"The base's file is {kinds[BASE]} and the understudy's {kinds[UNDERSTUDY]}. Export both with the same quantisations.")
    return {name: (f"{model.path}/{facts[name].main}", _heldout(facts[name])) for name, model in models.items()}


def _heldout(facts: ExportFacts) -> HeldOutLoss:
    loss = next((file.heldout_loss for file in facts.files if file.name == facts.main), None)
    return HeldOutLoss(loss=loss, on=facts.heldout, reason=None if loss is not None else "its export measured none")

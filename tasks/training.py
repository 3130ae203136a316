"""The base model, and the adapters trained on it."""

import asyncio
import re
from pathlib import Path

from prefect.logging import get_run_logger

from core.errors import HubError
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import DatasetRef, ModelRef
from core.settings.jobs import Base, Training
from core.storage.file_facts import is_complete
from core.training.bases import base_file, check_files, folder_hash
from core.training.estimate import load_of, load_of_pairs
from core.training.finished import find_finished_job
from core.training.hardware import Flavor, load_hardware
from core.training.job_spec import JobSpec
from core.training.plan import JobPlan, plan_pairs, plan_training
from core.training.shapes import shape
from core.training.specs import UNPACKED, pairs_spec, training_spec
from tasks.jobs import make, run_script, script_hash
from tasks.paid_jobs import agree
from tasks.policy import cached_task, existing, run_cached
from tasks.published import base_hub


async def base_model(run: Run, training: Training) -> ModelRef:
    """Return the base model: a commit on the Hub, a folder, or the folder into which a GGUF file was unpacked.

    Raises:
        SettingsError, HubError, StoreError, JobError: the base is not available, or differs from the settings.
    """
    base = training.base
    check_files(base)
    if base.kind == "hub":
        hub = await base_hub(run)
        commit = await asyncio.to_thread(hub.commit_of, base.model, "model", base.revision or "main")
        if commit is None:
            raise HubError(
                f"The Hub has no model {base.model} at {base.revision or 'main'}, or this token cannot see it. Correct base.model and base.revision in "
                f"the training settings; a folder is written ./{base.model}."
            )
        return await run_cached(find_base, run, base.model, commit)
    if base.kind == "folder":
        return await run_cached(take_folder, run, base)
    return await run_cached(unpack_base, run, base, script_hash("unpack_gguf.py"))


@cached_task("take-folder", "look at {base.model}")
async def take_folder(run: Run, base: Base) -> ModelRef:
    """Return a base that is a folder, named by the hash of its files, and store a copy of its configuration."""
    folder, store = Path(base.model), run.store
    path = f"models/bases/{await asyncio.to_thread(folder_hash, folder)}"
    store.write(f"{path}/config.json", (folder / "config.json").read_text(encoding="utf-8"))
    get_run_logger().info("The base is the folder %s.", folder)
    return ModelRef(path=path, name=folder.name, folder=str(folder))


@cached_task("unpack-base", "unpack {base.model}")
async def unpack_base(run: Run, base: Base, script: str) -> ModelRef:
    """Fetch a GGUF file and convert it into a folder that can be trained.

    Args:
        run: the run.
        base: the base in the training settings.
        script: hash of the job script.
    """
    store = run.store
    file, sha256 = await base_file(base)
    package = dict(zip(("package", "package-version"), base.in_wheel(), strict=False)) if base.kind == "wheel" else {}
    path = f"models/bases/{re.sub(r'[^A-Za-z0-9_.]+', '-', file.stem)}-{fingerprint([file.name, sha256, package, script])}"
    unpacked = ModelRef(path=path, name=file.stem)
    if is_complete(store, path, UNPACKED):
        return existing(unpacked)
    facts = await run_script(store, "unpack_gguf.py", path, UNPACKED, {"gguf": str(file), **package})
    get_run_logger().info("The base is %s, unpacked: %s weights.", file.name, f"{facts['parameters']:,}")
    return unpacked


@cached_task("find-base", "find {name}")
async def find_base(run: Run, name: str, commit: str) -> ModelRef:
    """Return a base on the Hub, and store a copy of its configuration.

    Args:
        run: the run.
        name: id of the model on the Hub.
        commit: the commit to use.
    """
    hub = await base_hub(run)
    path = f"models/bases/{fingerprint([name, commit])}"
    base = ModelRef(path=path, name=name.rpartition("/")[2], repo=name, commit=commit, url=hub.page(name, "model", commit))
    if run.store.exists(f"{path}/config.json"):
        return existing(base)
    if await asyncio.to_thread(hub.fetch, name, "model", commit, "config.json", run.store.local(f"{path}/config.json").parent) is None:
        raise HubError(f"{name} at {commit[:12]} has no config.json, so transformers cannot load it. Correct base.model in the training settings.")
    get_run_logger().info("The base is %s at %s.", name, commit[:12])
    return base


async def agree_to_training(run: Run, dataset: DatasetRef, base: ModelRef, training: Training, place: str) -> None:
    """Plan a training that costs money, check the budget and, if the settings want it, ask a person.

    Args:
        run: the run.
        dataset: the dataset.
        base: the base model.
        training: the training settings.
        place: where paid jobs leave their results; empty if jobs run here.

    Raises:
        SettingsError: the job fits no machine.
        BudgetError: the job does not fit the budget.
        JobError: a person declined.
    """
    settings, assumptions = run.settings, load_hardware().estimate

    def plan(offered: dict[str, Flavor], spent: float) -> JobPlan:
        return plan_training(
            f"Training on {dataset.repo}", shape(run.store, base), training, load_of(run.store, dataset, training), offered, assumptions, settings.jobs, spent
        )

    await agree(run, _spec(run, dataset, base, training, script_hash("train_sft.py"), place), plan)


@cached_task("train", "train on {dataset.repo}")
async def train(run: Run, dataset: DatasetRef, base: ModelRef, training: Training, script: str, place: str) -> ModelRef:
    """Train an adapter on a commit of a dataset.

    Args:
        run: the run.
        dataset: the dataset.
        base: the base model.
        training: the training settings.
        script: hash of the job script.
        place: where paid jobs leave their results; empty if jobs run here.
    """
    spec = _spec(run, dataset, base, training, script, place)
    if finished := find_finished_job(run.store, spec):
        return existing(finished.model(spec, f"adapter-{spec.name}"))
    result = await make(run, spec)
    facts = result.facts
    get_run_logger().info("Trained: validation loss %.2f before, %.2f after.", facts["validation_loss_first"], facts["validation_loss_last"])
    return result.model(spec, f"adapter-{spec.name}")


async def agree_to_pairs(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, training: Training, place: str) -> None:
    """Plan a preference training as `agree_to_training` plans a training; `adapter` is the adapter that it continues."""
    settings, assumptions = run.settings, load_hardware().estimate

    def plan(offered: dict[str, Flavor], spent: float) -> JobPlan:
        what, load = f"Preference training on {dataset.repo}", load_of_pairs(run.store, dataset)
        return plan_pairs(what, shape(run.store, base), training, load, offered, assumptions, settings.jobs, spent)

    await agree(run, _pairs_spec(run, dataset, base, adapter, training, script_hash("train_pairs.py"), place), plan)


@cached_task("train-pairs", "train on the pairs of {dataset.repo}")
async def train_pairs(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, training: Training, script: str, place: str) -> ModelRef:
    """Continue the training of an adapter on the pairs of a dataset.

    Args:
        run: the run.
        dataset: the dataset.
        base: the base model.
        adapter: the adapter that is continued.
        training: the training settings.
        script: hash of the job script.
        place: where paid jobs leave their results; empty if jobs run here.
    """
    spec = _pairs_spec(run, dataset, base, adapter, training, script, place)
    if finished := find_finished_job(run.store, spec):
        return existing(finished.model(spec, f"preferred-{spec.name}"))
    result = await make(run, spec)
    facts = result.facts
    get_run_logger().info(
        "Preferred: %.0f %% of the held-out pairs; loss on held-out conversations %s before, %s after.",
        *(100 * facts["reward_accuracy"], facts["before"]["heldout_loss"], facts["after"]["heldout_loss"]),
    )
    return result.model(spec, f"preferred-{spec.name}")


def _pairs_spec(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, training: Training, script: str, place: str) -> JobSpec:
    return pairs_spec(run.store, dataset, base, adapter, training, script, run.settings.export, run.pack.name, place)


def _spec(run: Run, dataset: DatasetRef, base: ModelRef, training: Training, script: str, place: str) -> JobSpec:
    return training_spec(run.store, dataset, base, training, script, run.settings.export, run.pack.name, place)

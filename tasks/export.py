"""Merging, conversion to GGUF and quantisation: one task for each model."""

import importlib.util

from prefect.logging import get_run_logger

from blocks.llama_runtime import llama_arguments, read_runtime
from core.llm.run import Run
from core.records import DatasetRef, ModelRef, Reference
from core.settings.jobs import Training
from core.storage.file_facts import is_complete
from core.training.finished import find_finished_job
from core.training.hardware import Flavor, load_hardware
from core.training.job_spec import JobSpec
from core.training.plan import JobPlan, plan_conversion
from core.training.shapes import shape
from core.training.specs import export_spec, preflight_spec
from tasks.jobs import make, make_here, script_hash
from tasks.paid_jobs import agree
from tasks.policy import cached_task, existing


async def agree_to_export(run: Run, arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, place: str) -> None:
    """Plan an export that costs money, check the budget and, if the settings want it, ask a person.

    Args:
        run: the run.
        arm: `base`, `understudy` or `preferred`.
        base: the base model.
        adapter: the adapter that is merged into the base; None for the base itself.
        dataset: the dataset that the result is checked on.
        training: the training settings.
        place: where paid jobs leave their results; empty if jobs run here.

    Raises:
        SettingsError: the job fits no machine.
        BudgetError: the job does not fit the budget.
        JobError: a person declined.
    """
    settings, assumptions = run.settings, load_hardware().estimate

    def plan(offered: dict[str, Flavor], spent: float) -> JobPlan:
        return plan_conversion(f"Export of the {arm}", shape(run.store, base), training, offered, assumptions, settings.jobs, spent)

    await agree(run, _spec(run, arm, base, adapter, dataset, training, script_hash("convert_gguf.py"), place), plan)


@cached_task("check-base", "check that llama.cpp reads {base.name}")
async def check_base(run: Run, base: ModelRef, training: Training, script: str) -> Reference:
    """Check that llama.cpp reads the base's template and tokenizer as the training does, before the training is paid for.

    Args:
        run: the run.
        base: the base model.
        training: the training settings.
        script: hash of the job script.
    """
    spec = preflight_spec(run.store, base, training, script, run.pack, llama_arguments())
    if importlib.util.find_spec("transformers") is None or read_runtime() is None:
        get_run_logger().warning("Template and tokenizer of %s are not checked before the training: that needs torch and llama.cpp (make setup).", base.name)
        run.store.write_json(f"{spec.folder}/unchecked.json", {"base": base.name})
    elif is_complete(run.store, spec.folder, spec.finished):
        return existing(Reference(path=spec.folder))
    else:
        await make_here(run, spec)
    return Reference(path=spec.folder)


@cached_task("export", "export the {arm}")
async def export_gguf(
    run: Run, arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, script: str, place: str
) -> ModelRef:
    """Convert the base, with or without an adapter merged into it, to quantised GGUF files, and verify them.

    Args:
        run: the run.
        arm: `base`, `understudy` or `preferred`; the names of the files begin with it.
        base: the base model.
        adapter: the adapter; None exports the base itself, which is an arm of the evaluation too.
        dataset: each quantised file is compared with the 16-bit file on its validation examples.
        training: the training settings.
        script: hash of the job script.
        place: where paid jobs leave their results; empty if jobs run here.
    """
    spec = _spec(run, arm, base, adapter, dataset, training, script, place)
    if finished := find_finished_job(run.store, spec):
        return existing(finished.model(spec, arm))
    return (await make(run, spec)).model(spec, arm)


def _spec(run: Run, arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, script: str, place: str) -> JobSpec:
    return export_spec(run.store, arm, base, adapter, dataset, training, script, run.settings.export, run.pack, place, llama_arguments())

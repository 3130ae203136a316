"""Merging, conversion to GGUF and quantisation: one task a model."""

import importlib.util

from prefect import task
from prefect.logging import get_run_logger

from blocks.llama_runtime import read_runtime
from core.records import DatasetRef, ModelRef, Reference
from core.settings.jobs import Training
from core.storage.store import open_store
from core.training.hardware import Flavor, load_hardware
from core.training.job_spec import Order
from core.training.plan import Plan, plan_conversion
from tasks.jobs import make, make_here, script_hash
from tasks.orders import export_order, preflight_order
from tasks.paid_jobs import agree
from tasks.policy import CACHED, guarded
from tasks.run import current_run
from tasks.training import shape


async def agree_to_export(arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, place: str) -> None:
    """Plan an export that costs money, check the budget and, if the settings want it, ask a person.

    Args:
        place: where paid jobs leave their results.

    Raises:
        SettingsError, BudgetError, JobError: it is not to be.
    """
    settings, known = current_run().settings, load_hardware().estimate

    def plan(offered: dict[str, Flavor], spent: float) -> Plan:
        return plan_conversion(f"Export of the {arm}", shape(base), training, offered, known, settings.jobs, spent)

    await agree(_order(arm, base, adapter, dataset, training, script_hash("convert_gguf.py"), place), plan)


@guarded
@task(name="check-base", task_run_name="check that llama.cpp reads {base.name}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def check_base(base: ModelRef, training: Training, domain: str, pack_hash: str, script: str) -> Reference:
    """Prove that llama.cpp reads the base's template and tokenizer as they are trained, before the training is paid for.

    Args:
        pack_hash: the system prompt is rendered by the template.
        script: hash of the job script.
    """
    order = preflight_order(base, training, script, current_run().pack)
    if importlib.util.find_spec("transformers") is None or read_runtime() is None:
        get_run_logger().warning("Template and tokenizer of %s are not checked before the training: that needs torch and llama.cpp (make setup).", base.name)
        open_store().write_json(f"{order.folder}/unchecked.json", {"base": base.name})
    else:
        await make_here(order)
    return Reference(path=order.folder)


@guarded
@task(name="export", task_run_name="export the {arm}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def export_gguf(
    arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, domain: str, pack_hash: str, script: str, place: str
) -> ModelRef:
    """Convert the base, with an adapter merged into it or without, and prove the result.

    Args:
        arm: `base` or `understudy`; begins the names of the files.
        adapter: none exports the base itself, the other arm of the evaluation.
        dataset: on its validation examples each quantisation is compared with 16 bits.
        pack_hash: the system prompt goes into the Modelfile.
        script: hash of the job script.
        place: where paid jobs leave their results.
    """
    order = _order(arm, base, adapter, dataset, training, script, place)
    result = await make(order)
    return result.model(order, arm)


def _order(arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, script: str, place: str) -> Order:
    run = current_run()
    return export_order(arm, base, adapter, dataset, training, script, run.settings.export, run.pack, place)

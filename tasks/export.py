"""Merging, conversion to GGUF and quantisation: one task a model."""

import importlib.util

from prefect.logging import get_run_logger

from blocks.llama_runtime import read_runtime
from core.records import DatasetRef, ModelRef, Reference
from core.settings.jobs import Training
from core.storage.file_facts import is_whole
from core.storage.store import open_store
from core.training.hardware import Flavor, load_hardware
from core.training.job_spec import Order
from core.training.plan import Plan, plan_conversion
from tasks.jobs import made_before, make, make_here, script_hash
from tasks.orders import export_order, preflight_order
from tasks.paid_jobs import agree
from tasks.policy import cached_task, existing
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


@cached_task("check-base", "check that llama.cpp reads {base.name}")
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
    elif is_whole(open_store(), order.folder, order.finished):
        return existing(Reference(path=order.folder))
    else:
        await make_here(order)
    return Reference(path=order.folder)


@cached_task("export", "export the {arm}")
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
    if known := made_before(order):
        return existing(known.model(order, arm))
    return (await make(order)).model(order, arm)


def _order(arm: str, base: ModelRef, adapter: ModelRef | None, dataset: DatasetRef, training: Training, script: str, place: str) -> Order:
    run = current_run()
    return export_order(arm, base, adapter, dataset, training, script, run.settings.export, run.pack, place)

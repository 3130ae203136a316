"""The base model and the adapter trained on it: one task each."""

import asyncio
import json

from prefect import task
from prefect.logging import get_run_logger

from blocks.hf_hub import HfHub
from blocks.hub import load_hub
from core.errors import HubError, SettingsError
from core.fingerprint import fingerprint
from core.hardware import Flavor, load_hardware
from core.job_plan import Plan, plan_training
from core.job_settings import HubBase, Training
from core.jobs import Order
from core.pack import load_pack
from core.records import DatasetRef, ModelRef
from core.settings import Generation
from core.store import open_store
from core.tiny_base import dull_conversations, topic_texts
from core.training_estimate import Load, Shape, shape_of
from tasks.jobs import make, run_script, script_hash
from tasks.orders import training_order
from tasks.paid_jobs import agree
from tasks.policy import CACHED, ensured
from tasks.run import Run, current_run


async def base_model(run: Run, training: Training) -> ModelRef:
    """Return the base: made here, or a commit on the Hub."""
    if training.base:
        return await ensured(find_base, ModelRef, training.base)
    return await ensured(make_base, ModelRef, run.pack.name, run.pack.hash, training, run.settings.generation, script_hash("make_tiny_base.py"))


@task(name="make-base", task_run_name="make the tiny base", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def make_base(domain: str, pack_hash: str, training: Training, generation: Generation, script: str) -> ModelRef:
    """Make the demo's base: a tiny model of a real architecture, pre-trained for a moment on dull conversations."""
    store, tiny = open_store(), training.tiny_base
    pack = load_pack(domain)
    if pack.phrases is None or tiny is None:
        raise SettingsError(f"The tiny base cannot be made: config/domains/{domain}/scripted.yaml does not exist. Write it or name other training settings.")
    chats, texts = await dull_conversations(pack, tiny, generation), topic_texts(pack.phrases, tiny)
    name = fingerprint([chats, texts, tiny.arguments, script])
    sources = {
        "conversations": str(store.local(store.write(f"models/base/{name}.jsonl", chats))),
        "text": str(store.local(store.write(f"models/base/{name}.txt", texts))),
    }
    await run_script("make_tiny_base.py", f"models/base/{name}", "metrics.json", {**sources, **tiny.arguments})
    return ModelRef(path=f"models/base/{name}", name=f"tiny-{name}")


@task(name="find-base", task_run_name="find {base.repo}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def find_base(base: HubBase) -> ModelRef:
    """Pin the base to the commit that its branch has today, and keep its configuration."""
    hub = await load_hub(current_run().settings.export.hub)
    if not isinstance(hub, HfHub):
        hub = HfHub()
    commit = await asyncio.to_thread(hub.commit_of, base.repo, "model", base.revision)
    if commit is None:
        raise HubError(
            f"The Hub has no {base.repo} at {base.revision}, or does not show it to this token. Mend base.repo and base.revision in the training settings."
        )
    path = f"models/bases/{fingerprint([base.repo, commit])}"
    if await asyncio.to_thread(hub.fetch, base.repo, "model", commit, "config.json", open_store().local(f"{path}/config.json").parent) is None:
        raise HubError(f"{base.repo} at {commit[:12]} has no config.json: it is no model that transformers can load. Mend base.repo in the training settings.")
    get_run_logger().info("The base is %s at %s.", base.repo, commit[:12])
    return ModelRef(path=path, name=base.repo.rpartition("/")[2], repo=base.repo, commit=commit, url=hub.page(base.repo, "model", commit))


async def agree_to_training(dataset: DatasetRef, base: ModelRef, training: Training) -> None:
    """Plan a training that costs money, check the budget and, if the settings want it, ask a person.

    Raises:
        SettingsError, BudgetError, JobError: it is not to be.
    """
    settings, known = current_run().settings, load_hardware().estimate

    def plan(offered: dict[str, Flavor], spent: float) -> Plan:
        return plan_training(f"Training on {dataset.repo}", shape(base), training, _load(dataset), offered, known, settings.jobs, spent)

    await agree(_order(dataset, base, training, script_hash("train_sft.py")), plan)


@task(name="train", task_run_name="train on {dataset.repo}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def train(dataset: DatasetRef, base: ModelRef, training: Training, script: str) -> ModelRef:
    """Train an adapter on a commit of a dataset."""
    order = _order(dataset, base, training, script)
    result = await make(order)
    facts = result.facts
    get_run_logger().info("Trained: validation loss %.2f before, %.2f after.", facts["validation_loss_first"], facts["validation_loss_last"])
    return result.model(order, f"adapter-{order.name}")


def shape(base: ModelRef) -> Shape:
    """Return a base's shape."""
    return shape_of(json.loads(open_store().read(f"{base.path}/config.json")), base.repo or base.name)


def _order(dataset: DatasetRef, base: ModelRef, training: Training, script: str) -> Order:
    run = current_run()
    return training_order(dataset, base, training, script, run.settings.export, run.pack.name)


def _load(dataset: DatasetRef) -> Load:
    """Return how much there is to learn, by the dataset's own count of tokens."""
    counted = json.loads(open_store().read(f"{dataset.path}/manifest.json"))["statistics"]
    tokens = {split: counted[split]["examples"] * counted[split]["mean"] for split in ("train", "validation")}
    return Load(tokens["train"], tokens["validation"], max(counted[split]["max"] for split in tokens))

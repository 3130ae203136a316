"""The base model and the adapter trained on it: one task each."""

from prefect import task
from prefect.logging import get_run_logger

from core.errors import SettingsError
from core.fingerprint import fingerprint
from core.pack import load_pack
from core.records import DatasetRef, ModelRef
from core.settings import Generation, Training
from core.store import open_store
from core.tiny_base import dull_conversations, topic_texts
from tasks.jobs import run_job
from tasks.policy import CACHED


@task(name="make-base", task_run_name="make the tiny base", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def make_base(domain: str, pack_hash: str, training: Training, generation: Generation, script: str) -> ModelRef:
    """Make the demo's base: a tiny model of a real architecture, pre-trained for a moment on dull conversations."""
    store = open_store()
    pack = load_pack(domain)
    if pack.phrases is None:
        raise SettingsError(f"The tiny base cannot be made: config/domains/{domain}/scripted.yaml does not exist. Write it or name other training settings.")
    chats, texts = await dull_conversations(pack, training.tiny_base, generation), topic_texts(pack.phrases, training.tiny_base)
    name = fingerprint([chats, texts, training.tiny_base.arguments, script])
    sources = {
        "conversations": str(store.local(store.write(f"models/base/{name}.jsonl", chats))),
        "text": str(store.local(store.write(f"models/base/{name}.txt", texts))),
    }
    await run_job("make_tiny_base.py", f"models/base/{name}", "metrics.json", {**sources, **training.tiny_base.arguments})
    return ModelRef(path=f"models/base/{name}", name=f"tiny-{name}")


@task(name="train", task_run_name="train on {dataset.repo}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def train(dataset: DatasetRef, base: ModelRef, training: Training, script: str) -> ModelRef:
    """Train an adapter on a commit of a dataset."""
    store = open_store()
    name = fingerprint([dataset.commit, base.path, training.train, script])
    facts = await run_job(
        "train_sft.py",
        f"models/adapters/{name}",
        "metrics.json",
        {
            "train": str(store.local(f"{dataset.path}/train.parquet")),
            "validation": str(store.local(f"{dataset.path}/validation.parquet")),
            "base": str(store.local(base.path)),
            **training.train,
        },
    )
    get_run_logger().info("Trained: validation loss %.2f before, %.2f after.", facts["validation_loss_first"], facts["validation_loss_last"])
    return ModelRef(path=f"models/adapters/{name}", name=f"adapter-{name}")

"""Remembers the result of preference training by the model that it continued."""

from core.fingerprint import fingerprint
from core.records import DatasetRef, ModelRef
from core.settings.jobs import Training
from core.storage.store import Store


def has_pairs(store: Store, dataset: DatasetRef, training: Training) -> bool:
    """Return whether a preference training follows: the settings have `pairs`, and the dataset contains pairs."""
    return training.pairs is not None and store.exists(f"{dataset.path}/pairs/train.parquet")


def keep_preferred(store: Store, model: ModelRef, preferred: ModelRef) -> ModelRef:
    """Store the result of preference training for an adapter, or its GGUF files for those of the adapter, and return it."""
    store.write_json(_name(model), preferred)
    return preferred


def preferred_of(store: Store, model: ModelRef, training: Training) -> ModelRef | None:
    """Return the result of preference training for a model; None if there is none or the settings have no `pairs`."""
    name = _name(model)
    return store.load(name, ModelRef) if training.pairs is not None and store.exists(name) else None


def _name(model: ModelRef) -> str:
    return f"models/preferred-of/{fingerprint(model.path)}.json"

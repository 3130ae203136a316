"""What preference training made of a model, beside it: found by the model that it continues."""

from core.fingerprint import fingerprint
from core.records import DatasetRef, ModelRef
from core.settings.jobs import Training
from core.storage.store import Store


def has_pairs(store: Store, dataset: DatasetRef, training: Training) -> bool:
    """Return whether preference training follows: the settings have `pairs`, and the dataset has some."""
    return training.pairs is not None and store.exists(f"{dataset.path}/pairs/train.parquet")


def keep_preferred(store: Store, model: ModelRef, preferred: ModelRef) -> ModelRef:
    """Remember what preference training made of an adapter, or the GGUF files of that beside those of the adapter."""
    store.write_json(_name(model), preferred)
    return preferred


def preferred_of(store: Store, model: ModelRef, training: Training) -> ModelRef | None:
    """Return what preference training made of a model, where the settings have `pairs`."""
    name = _name(model)
    return store.load(name, ModelRef) if training.pairs is not None and store.exists(name) else None


def _name(model: ModelRef) -> str:
    return f"models/preferred-of/{fingerprint(model.path)}.json"

"""Remembers a domain's latest dataset, training and export, so that a single stage can run without naming them."""

from core.errors import DatasetError, EvaluationError, JobError
from core.records import DatasetRef, ModelRef, Record
from core.storage.store import Store


class Trained(Record):
    """A training, as an export needs it."""

    base: ModelRef
    adapter: ModelRef
    dataset: DatasetRef


class Exported(Record):
    """An export, as an evaluation needs it: the folders of GGUF files, and the dataset that the understudy was trained on.

    Args:
        preferred: the understudy after preference training; None if there was none.
    """

    base: ModelRef
    understudy: ModelRef
    dataset: DatasetRef
    preferred: ModelRef | None = None


def latest_dataset(store: Store, domain: str) -> DatasetRef:
    """Return the domain's latest dataset.

    Raises:
        DatasetError: there is none.
    """
    name = f"datasets/latest-{domain}.json"
    if not store.exists(name):
        raise DatasetError(f"No dataset of {domain} in {store.root}. Run the dataset flow first (understudy dataset), or name one.")
    return store.load(name, DatasetRef)


def keep_models(store: Store, domain: str, base: ModelRef, adapter: ModelRef, dataset: DatasetRef) -> None:
    """Store a training as the domain's latest."""
    store.write_json(f"models/latest-{domain}.json", Trained(base=base, adapter=adapter, dataset=dataset))


def latest_models(
    store: Store, domain: str, base: ModelRef | None, adapter: ModelRef | None, dataset: DatasetRef | None
) -> tuple[ModelRef, ModelRef, DatasetRef]:
    """Return the given models and dataset, or those of the domain's latest training if none is given.

    Raises:
        JobError: only some of them are given, or there is no training.
    """
    if base and adapter and dataset:
        return base, adapter, dataset
    if base or adapter or dataset:
        raise JobError("Give base, adapter and dataset together, as the training flow and the dataset flow return them, or none of them.")
    name = f"models/latest-{domain}.json"
    if not store.exists(name):
        raise JobError(f"No adapter of {domain} in {store.root}. Run the training flow first (understudy train), or name base, adapter and dataset.")
    trained = store.load(name, Trained)
    return trained.base, trained.adapter, trained.dataset


def latest_training(store: Store, domain: str, dataset: DatasetRef) -> Trained | None:
    """Return the domain's latest training if it used this dataset; otherwise None."""
    name = f"models/latest-{domain}.json"
    trained = store.load(name, Trained) if store.exists(name) else None
    return trained if trained and trained.dataset.path == dataset.path else None


def put_back(store: Store, domain: str, exported: Exported, trained: Trained | None) -> None:
    """Make an earlier understudy and its dataset the domain's latest again, and its training too if it is given."""
    store.write_json(f"datasets/latest-{domain}.json", exported.dataset)
    keep_exports(store, domain, exported.base, exported.understudy, exported.dataset)
    if trained:
        keep_models(store, domain, trained.base, trained.adapter, trained.dataset)


def keep_exports(store: Store, domain: str, base: ModelRef, understudy: ModelRef, dataset: DatasetRef) -> tuple[ModelRef, ModelRef]:
    """Store an export as the domain's latest, and return its models."""
    store.write_json(f"models/latest-export-{domain}.json", Exported(base=base, understudy=understudy, dataset=dataset))
    return base, understudy


def latest_exports(store: Store, domain: str, base: ModelRef | None, understudy: ModelRef | None, dataset: DatasetRef | None) -> Exported | None:
    """Return the given models and dataset, or those of the domain's latest export if none is given; None if there is no export.

    Raises:
        EvaluationError: only some of them are given.
    """
    if base and understudy and dataset:
        return Exported(base=base, understudy=understudy, dataset=dataset)
    if base or understudy or dataset:
        raise EvaluationError("Give base, understudy and dataset together, as the export flow and the dataset flow return them, or none of them.")
    name = f"models/latest-export-{domain}.json"
    return store.load(name, Exported) if store.exists(name) else None

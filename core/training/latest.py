"""What a domain's last dataset and training were, so that a stage can be run alone without naming them."""

from core.errors import DatasetError, EvaluationError, JobError
from core.records import DatasetRef, ModelRef, Record
from core.storage.store import Store


class Trained(Record):
    """What an export needs to know of a training."""

    base: ModelRef
    adapter: ModelRef
    dataset: DatasetRef


class Exported(Record):
    """What an evaluation needs to know of an export: folders of GGUF files, and what the understudy was trained on.

    Args:
        preferred: the understudy after preference training, where there is one.
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
    """Remember a training as the domain's latest."""
    store.write_json(f"models/latest-{domain}.json", Trained(base=base, adapter=adapter, dataset=dataset))


def latest_models(
    store: Store, domain: str, base: ModelRef | None, adapter: ModelRef | None, dataset: DatasetRef | None
) -> tuple[ModelRef, ModelRef, DatasetRef]:
    """Return what is given, or without any of it the domain's latest training.

    Raises:
        JobError: a part is given and another is not, or there is no training.
    """
    if base and adapter and dataset:
        return base, adapter, dataset
    if base or adapter or dataset:
        raise JobError("Give base, adapter and dataset together, as the training flow and the dataset flow return them, or none of them.")
    name = f"models/latest-{domain}.json"
    if not store.exists(name):
        raise JobError(f"No adapter of {domain} in {store.root}. Run the training flow first (understudy train), or name base, adapter and dataset.")
    found = store.load(name, Trained)
    return found.base, found.adapter, found.dataset


def latest_training(store: Store, domain: str, dataset: DatasetRef) -> Trained | None:
    """Return the domain's latest training, if it is the one on this dataset."""
    name = f"models/latest-{domain}.json"
    found = store.load(name, Trained) if store.exists(name) else None
    return found if found and found.dataset.path == dataset.path else None


def put_back(store: Store, domain: str, exported: Exported, trained: Trained | None) -> None:
    """Make an earlier understudy the domain's latest again, with its dataset and, where it is known, its training."""
    store.write_json(f"datasets/latest-{domain}.json", exported.dataset)
    keep_exports(store, domain, exported.base, exported.understudy, exported.dataset)
    if trained:
        keep_models(store, domain, trained.base, trained.adapter, trained.dataset)


def keep_exports(store: Store, domain: str, base: ModelRef, understudy: ModelRef, dataset: DatasetRef) -> tuple[ModelRef, ModelRef]:
    """Remember GGUF files as the domain's latest."""
    store.write_json(f"models/latest-export-{domain}.json", Exported(base=base, understudy=understudy, dataset=dataset))
    return base, understudy


def latest_exports(store: Store, domain: str, base: ModelRef | None, understudy: ModelRef | None, dataset: DatasetRef | None) -> Exported | None:
    """Return what is given, or without any of it the domain's latest export; none if there is none.

    Raises:
        EvaluationError: a part is given and another is not.
    """
    if base and understudy and dataset:
        return Exported(base=base, understudy=understudy, dataset=dataset)
    if base or understudy or dataset:
        raise EvaluationError("Give base, understudy and dataset together, as the export flow and the dataset flow return them, or none of them.")
    name = f"models/latest-export-{domain}.json"
    return store.load(name, Exported) if store.exists(name) else None

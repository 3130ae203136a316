"""The facts of a model's card, read from the files of its training, its export and its dataset in the data root."""

from typing import Any

from core.llm.run import Run
from core.records import DatasetRef, ModelRef
from core.reports.card_facts import CardFacts, Source
from core.settings.jobs import Base
from core.settings.pipeline import load_training
from core.storage.store import Store
from core.training.export_facts import ExportFacts, export_facts
from core.training.facts import PairFacts, TrainingFacts, pair_facts, training_facts
from core.training.job_spec import JOB_FILE
from core.training.specs import UNPACKED


def card_facts(run: Run, dataset: DatasetRef | None, base: ModelRef, training: TrainingFacts | None, repo: str, title: str) -> CardFacts:
    """Return the facts of a model's card.

    Args:
        dataset: the training set; None for a base that was only converted.
        base: the base model.
        training: facts of the training; None for a base.
        repo: name of the repository.
        title: title of the card.
    """
    base_settings, published = load_training(run.settings.training).base, run.settings.export.hub != "local"
    return CardFacts(
        title=title,
        domain=run.pack.name,
        repo=repo if published else None,
        base=_base_source(run.store, base, base_settings),
        dataset=_dataset_source(dataset) if dataset else None,
        training=training,
        license=base_settings.license,
        languages=run.settings.dataset.languages,
        intended_use=run.pack.intended_use,
        notice=run.pack.notice,
        system=run.pack.system(),
        caveats=_caveats(run.store, dataset) if dataset else [],
    )


def training_of(store: Store, adapter: ModelRef) -> TrainingFacts:
    """Return the facts of an adapter's training."""
    return training_facts(store.load_json(f"{adapter.path}/metrics.json"), **_paid(store, adapter))


def pairs_of(store: Store, adapter: ModelRef) -> PairFacts:
    """Return the facts of an adapter's preference training."""
    return pair_facts(store.load_json(f"{adapter.path}/metrics.json"), **_paid(store, adapter))


def _paid(store: Store, model: ModelRef) -> dict[str, Any]:
    """Return the hardware and the price of the paid job that made a model; an empty dict if no job was paid for."""
    name = f"{model.path}/{JOB_FILE}"
    record = store.load_json(name) if store.exists(name) else {}
    return {key: record[key] for key in ("hardware", "usd") if key in record}


def export_of(run: Run, gguf: ModelRef) -> ExportFacts:
    """Return the facts of the export of GGUF files."""
    return export_facts(run.store.load_json(f"{gguf.path}/export.json"), **_paid(run.store, gguf))


def source_of(model: ModelRef) -> Source:
    """Return a model as the source of another."""
    return Source(name=model.name, repo=model.repo if model.on_hub else None, commit=model.commit if model.on_hub else None, url=model.url)


def _base_source(store: Store, model: ModelRef, base: Base) -> Source:
    """Return the source of a base, from the settings and, for a GGUF file, from the record of its unpacking."""
    name = f"{model.path}/{UNPACKED}"
    record = store.load_json(name) if store.exists(name) else {}
    package = f"{record['package']} {record['package_version']}" if record.get("package") else None
    origin = {"license": base.license, "origin": base.origin or "", "file": record.get("file"), "sha256": record.get("sha256"), "package": package}
    return source_of(model).model_copy(update=origin)


def _dataset_source(dataset: DatasetRef) -> Source:
    return Source(name=dataset.repo, repo=dataset.repo if dataset.url.startswith("http") else None, commit=dataset.commit, url=dataset.url)


def _caveats(store: Store, dataset: DatasetRef) -> list[str]:
    """Return the caveats of a dataset's transcripts and verdicts."""
    return store.load_json(f"{dataset.path}/manifest.json").get("caveats", [])

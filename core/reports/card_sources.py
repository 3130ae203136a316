"""What a model's card says: facts collected from what its training, its export and its dataset left in the data root."""

from typing import Any

from core.llm.run import Run
from core.records import DatasetRef, ModelRef
from core.settings.jobs import Base
from core.settings.pipeline import load_training
from core.storage.store import Store
from core.training.facts import CardFacts, ExportFacts, PairFacts, Source, TrainingFacts, export_facts, pair_facts, training_facts
from core.training.job_spec import JOB_FILE
from core.training.specs import UNPACKED


def card_facts(run: Run, dataset: DatasetRef | None, base: ModelRef, training: TrainingFacts | None, repo: str, title: str) -> CardFacts:
    """Return what the cards of a model say."""
    numbers, published = load_training(run.settings.training), run.settings.export.hub != "local"
    return CardFacts(
        title=title,
        domain=run.pack.name,
        repo=repo if published else None,
        base=_base_source(run.store, base, numbers.base),
        dataset=_dataset_source(dataset) if dataset else None,
        training=training,
        license=numbers.base.license,
        languages=run.settings.dataset.languages,
        intended_use=run.pack.intended_use,
        notice=run.pack.notice,
        system=run.pack.system(),
        caveats=_caveats(run.store, dataset) if dataset else [],
    )


def training_of(store: Store, adapter: ModelRef) -> TrainingFacts:
    """Return what is known of an adapter's training."""
    return training_facts(store.load_json(f"{adapter.path}/metrics.json"), **_paid(store, adapter))


def pairs_of(store: Store, adapter: ModelRef) -> PairFacts:
    """Return what is known of an adapter's preference training."""
    return pair_facts(store.load_json(f"{adapter.path}/metrics.json"), **_paid(store, adapter))


def _paid(store: Store, model: ModelRef) -> dict[str, Any]:
    """Return the machine that made a model and what it cost, where it was paid for."""
    name = f"{model.path}/{JOB_FILE}"
    record = store.load_json(name) if store.exists(name) else {}
    return {known: record[known] for known in ("hardware", "usd") if known in record}


def export_of(run: Run, gguf: ModelRef) -> ExportFacts:
    """Return what is known of GGUF files."""
    return export_facts(run.store.load_json(f"{gguf.path}/export.json"), **_paid(run.store, gguf))


def source_of(model: ModelRef) -> Source:
    """Return a model as another's origin."""
    return Source(name=model.name, repo=model.repo if model.on_hub else None, commit=model.commit if model.on_hub else None, url=model.url)


def _base_source(store: Store, model: ModelRef, base: Base) -> Source:
    """Return where a base came from: what the settings say, and of a GGUF file what was written down when it was unpacked."""
    name = f"{model.path}/{UNPACKED}"
    read = store.load_json(name) if store.exists(name) else {}
    package = f"{read['package']} {read['package_version']}" if read.get("package") else None
    origin = {"license": base.license, "origin": base.origin or "", "file": read.get("file"), "sha256": read.get("sha256"), "package": package}
    return source_of(model).model_copy(update=origin)


def _dataset_source(dataset: DatasetRef) -> Source:
    return Source(name=dataset.repo, repo=dataset.repo if dataset.url.startswith("http") else None, commit=dataset.commit, url=dataset.url)


def _caveats(store: Store, dataset: DatasetRef) -> list[str]:
    """Return what the dataset's transcripts or verdicts must not be taken for."""
    return store.load_json(f"{dataset.path}/manifest.json").get("caveats", [])

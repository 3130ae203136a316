"""Publishing models: the card and the loss curve beside what a job made, and all of it where jobs run here."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from core.escaping import Markdown
from core.fingerprint import fingerprint
from core.records import DatasetRef, ModelRef, Result
from core.reports.card_facts import CardFacts, ExportFacts, Source, TrainingFacts, export_facts, training_facts
from core.reports.model_card import CURVE, adapter_card, gguf_card, with_evaluation
from core.settings.jobs import Base, ExportSettings
from core.settings.pipeline import load_training
from core.storage.store import open_store
from core.training.curve import curve_sentence, curve_svg, curve_table
from tasks.artifacts import publish_link, publish_report
from tasks.latest import keep_models
from tasks.orders import UNPACKED
from tasks.paid_jobs import HUB_FILE, JOB_FILE
from tasks.policy import cached_task, existing, run_cached
from tasks.published import check_made
from tasks.run import Run

UNWANTED = (HUB_FILE, JOB_FILE, "training_args.bin", "README.md")
"""Files of a job that are not published: ours to know, a pickle, and another's card."""


async def publish_adapter(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef) -> ModelRef:
    """Publish an adapter with its card, show its loss curve in the Prefect UI, and remember it as the domain's latest."""
    facts = _training(adapter)
    curve = f"{curve_sentence(facts.loss)}\n\n{curve_table(facts.loss)}"
    await publish_report(Markdown(curve), key=f"loss-{run.pack.name}", description=f"Loss of {adapter.name}")
    card = adapter_card(_card(run, dataset, base, facts, run.settings.export.named(run.pack.name, "adapter"), f"{run.pack.name}, adapter"))
    published = await _published(run, adapter, run.settings.export.named(run.pack.name, "adapter"), card, curve_svg(facts.loss))
    keep_models(run.pack.name, base, published, dataset)
    return published


async def publish_gguf(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, gguf: ModelRef) -> ModelRef:
    """Publish the understudy's GGUF files with their card."""
    store, repo, export = open_store(), run.settings.export.named(run.pack.name, "gguf"), _export(run, gguf)
    facts = _card(run, dataset, base, _training(adapter), repo, run.pack.name)
    card = gguf_card(facts, export, _source(adapter))
    if not store.exists(_card_of(gguf)) or store.read(_card_of(gguf)) != card:
        store.write(_card_of(gguf), card)
    return await _published(run, gguf, repo, card)


async def publish_base_gguf(run: Run, base: ModelRef, gguf: ModelRef) -> ModelRef:
    """Give the base's GGUF files that a job pushed their card, with the base's licence; those that were made here are not published."""
    if not gguf.on_hub:
        return gguf
    repo = run.settings.export.named(run.pack.name, "base-gguf")
    return await _published(run, gguf, repo, gguf_card(_card(run, None, base, None, repo, f"{run.pack.name}, base"), _export(run, gguf)))


async def publish_results(run: Run, gguf: ModelRef, section: str, results: Sequence[Result]) -> None:
    """Put an evaluation into the card of the GGUF files that were evaluated, where they were published with one."""
    store = open_store()
    if store.exists(_card_of(gguf)):
        card = with_evaluation(store.read(_card_of(gguf)), section, results)
        await _published(run, gguf, run.settings.export.named(run.pack.name, "gguf"), card)


async def _published(run: Run, model: ModelRef, repo: str, card: str, curve: str | None = None) -> ModelRef:
    """Return a model as it is on the hub of the settings with this card."""
    await check_made(run, model)
    return await run_cached(push_model, model, repo, card, curve, run.settings.export)


@cached_task("push-model", "push {repo}")
async def push_model(model: ModelRef, repo: str, card: str, curve: str | None, settings: ExportSettings) -> ModelRef:
    """Push a model's card, and the model itself unless its job has done that; nothing where the tag there points to these very files."""
    store, hub = open_store(), await load_hub(settings.hub)
    files: dict[str, Path | bytes] = {} if model.on_hub else {name: store.local(f"{model.path}/{name}") for name in _names(model.path)}
    files |= {"README.md": card.encode(), **({CURVE: curve.encode()} if curve else {})}
    # a tag for each card: one that moved would have the card before the evaluation pushed again by every export
    tag = f"card-{model.path.rpartition('-')[2].rpartition('/')[2]}-{fingerprint([card, curve])}"
    if known := hub.find(repo, "model", files, tag):
        return existing(model.model_copy(update={"repo": repo, "commit": known.oid, "url": known.url}))
    commit = hub.push(repo, "model", files, f"Card of {model.name}" if model.on_hub else model.name, tag, settings.private)
    get_run_logger().info("Published %s at %s.", repo, commit.oid[:12])
    if commit.url.startswith("http"):
        await publish_link(commit.url, "model", repo, f"{repo} at {commit.oid[:12]}")
    return model.model_copy(update={"repo": repo, "commit": commit.oid, "url": commit.url})


def _card_of(gguf: ModelRef) -> str:
    return f"models/cards/{gguf.path.rpartition('/')[2]}.md"


def _names(path: str) -> list[str]:
    names = (name.rpartition("/")[2] for name in open_store().names(path))
    return [name for name in names if name not in UNWANTED and not name.startswith(".")]


def _training(adapter: ModelRef) -> TrainingFacts:
    return training_facts(open_store().read_json(f"{adapter.path}/metrics.json"), **_paid(adapter))


def _paid(model: ModelRef) -> dict[str, Any]:
    """Return the machine that made a model and what it cost, where it was paid for."""
    store, name = open_store(), f"{model.path}/{JOB_FILE}"
    told = store.read_json(name) if store.exists(name) else {}
    return {known: told[known] for known in ("hardware", "usd") if known in told}


def _export(run: Run, gguf: ModelRef) -> ExportFacts:
    length = load_training(run.settings.training).train["max-length"]
    return export_facts(open_store().read_json(f"{gguf.path}/export.json"), int(length) if isinstance(length, int) else None, **_paid(gguf))


def _card(run: Run, dataset: DatasetRef | None, base: ModelRef, training: TrainingFacts | None, repo: str, title: str) -> CardFacts:
    numbers, published = load_training(run.settings.training), run.settings.export.hub != "local"
    return CardFacts(
        title=title,
        domain=run.pack.name,
        repo=repo if published else None,
        base=_base_source(base, numbers.base),
        dataset=_dataset_source(dataset) if dataset else None,
        training=training,
        license=numbers.base.license,
        languages=run.settings.dataset.languages,
        intended_use=run.pack.intended_use,
        notice=run.pack.notice,
        system=run.pack.prompts["system"].render(),
        caveats=_caveats(dataset) if dataset else [],
    )


def _dataset_source(dataset: DatasetRef) -> Source:
    return Source(name=dataset.repo, repo=dataset.repo if dataset.url.startswith("http") else None, commit=dataset.commit, url=dataset.url)


def _source(model: ModelRef) -> Source:
    return Source(name=model.name, repo=model.repo if model.on_hub else None, commit=model.commit if model.on_hub else None, url=model.url)


def _base_source(model: ModelRef, base: Base) -> Source:
    """Return where a base came from: what the settings say, and of a GGUF file what was written down when it was unpacked."""
    store, name = open_store(), f"{model.path}/{UNPACKED}"
    read = store.read_json(name) if store.exists(name) else {}
    package = f"{read['package']} {read['package_version']}" if read.get("package") else None
    told = {"license": base.license, "origin": base.origin or "", "file": read.get("file"), "sha256": read.get("sha256"), "package": package}
    return _source(model).model_copy(update=told)


def _caveats(dataset: DatasetRef) -> list[str]:
    """Return what the dataset's transcripts or verdicts must not be taken for."""
    return open_store().read_json(f"{dataset.path}/manifest.json").get("caveats", [])

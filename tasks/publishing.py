"""Publishing models: the files, the card and the loss curve. A paid job has published its files already; then only card and curve are added."""

from collections.abc import Sequence
from pathlib import Path

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from core.escaping import Markdown
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import DatasetRef, ModelRef, Result
from core.reports.card_sources import card_facts, export_of, pairs_of, source_of, training_of
from core.reports.model_card import CURVE, adapter_card, gguf_card, with_evaluation
from core.settings.jobs import ExportSettings
from core.storage.store import Store
from core.training.curve import curve_sentence, curve_svg, curve_table
from core.training.job_spec import HUB_FILE, JOB_FILE
from core.training.latest import keep_models
from core.training.preferred import keep_preferred
from tasks.artifacts import publish_link, publish_report
from tasks.policy import cached_task, existing, run_cached
from tasks.published import check_made

UNWANTED = (HUB_FILE, JOB_FILE, "training_args.bin", "README.md")
"""Files of a job's result that are not published: records for this machine, a pickle, and the training library's card."""


async def publish_adapter(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef) -> ModelRef:
    """Publish an adapter with its card, show its loss curve in the Prefect UI, and remember it as the domain's latest."""
    facts = training_of(run.store, adapter)
    curve = f"{curve_sentence(facts.loss)}\n\n{curve_table(facts.loss)}"
    await publish_report(Markdown(curve), key=f"loss-{run.pack.name}", description=f"Loss of {adapter.name}")
    card = adapter_card(card_facts(run, dataset, base, facts, run.settings.export.named(run.pack.name, "adapter"), f"{run.pack.name}, adapter"))
    published = await _published(run, adapter, run.settings.export.named(run.pack.name, "adapter"), card, curve_svg(facts.loss))
    keep_models(run.store, run.pack.name, base, published, dataset)
    return published


async def publish_preferred(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, preferred: ModelRef) -> ModelRef:
    """Publish an adapter of preference training with its card, and remember it under the adapter that it continues."""
    pairs = pairs_of(run.store, preferred)
    repo = run.settings.export.named(run.pack.name, "preferred-adapter")
    facts = card_facts(run, dataset, base, training_of(run.store, adapter), repo, f"{run.pack.name}, adapter after preference training")
    card = adapter_card(facts.model_copy(update={"pairs": pairs}))
    published = await _published(run, preferred, repo, card, curve_svg(training_of(run.store, adapter).loss))
    return keep_preferred(run.store, adapter, published)


async def publish_gguf(run: Run, dataset: DatasetRef, base: ModelRef, adapter: ModelRef, gguf: ModelRef, preferred: ModelRef | None = None) -> ModelRef:
    """Publish the understudy's GGUF files with their card.

    Args:
        run: the run.
        dataset: the training set.
        base: the base model.
        adapter: the trained adapter.
        gguf: the folder of GGUF files.
        preferred: the adapter of preference training, if this one was merged; otherwise None.
    """
    store, export = run.store, export_of(run, gguf)
    repo = run.settings.export.named(run.pack.name, "preferred-gguf" if preferred else "gguf")
    facts = card_facts(run, dataset, base, training_of(run.store, adapter), repo, run.pack.name)
    facts = facts.model_copy(update={"pairs": pairs_of(run.store, preferred) if preferred else None})
    card = gguf_card(facts, export, source_of(preferred or adapter))
    if not store.exists(_card_of(gguf)) or store.read(_card_of(gguf)) != card:
        store.write(_card_of(gguf), card)
    return await _published(run, gguf, repo, card)


async def publish_base_gguf(run: Run, base: ModelRef, gguf: ModelRef) -> ModelRef:
    """Add a card, with the base's licence, to the base's GGUF files that a paid job published; files made on this machine are not published."""
    if not gguf.on_hub:
        return gguf
    repo = run.settings.export.named(run.pack.name, "base-gguf")
    return await _published(run, gguf, repo, gguf_card(card_facts(run, None, base, None, repo, f"{run.pack.name}, base"), export_of(run, gguf)))


async def publish_results(run: Run, gguf: ModelRef, part: str, section: str, results: Sequence[Result]) -> None:
    """Add an evaluation to the card of the evaluated GGUF files, if they were published with one.

    Args:
        run: the run.
        gguf: the evaluated files.
        part: last part of the name of their repository.
        section: the section of the card, as Markdown.
        results: the figures, for the card's metadata.
    """
    store = run.store
    if store.exists(_card_of(gguf)):
        card = with_evaluation(store.read(_card_of(gguf)), section, results)
        await _published(run, gguf, run.settings.export.named(run.pack.name, part), card)


async def _published(run: Run, model: ModelRef, repo: str, card: str, curve: str | None = None) -> ModelRef:
    """Push a model with its card to the hub of the settings; return it with repository and commit."""
    await check_made(run, model)
    return await run_cached(push_model, run, model, repo, card, curve, run.settings.export)


@cached_task("push-model", "push {repo}")
async def push_model(run: Run, model: ModelRef, repo: str, card: str, curve: str | None, settings: ExportSettings) -> ModelRef:
    """Push a model's card, and the model itself unless its job has pushed it. Nothing is pushed if the tag on the hub points to the same files."""
    store, hub = run.store, await load_hub(settings.hub)
    files: dict[str, Path | bytes] = {} if model.on_hub else {name: store.local(f"{model.path}/{name}") for name in _names(store, model.path)}
    files |= {"README.md": card.encode(), **({CURVE: curve.encode()} if curve else {})}
    # one tag for each card: with a tag that moved, every export would push the card without the evaluation again
    tag = f"card-{model.path.rpartition('-')[2].rpartition('/')[2]}-{fingerprint([card, curve])}"
    if pushed_before := hub.find(repo, "model", files, tag):
        return existing(model.model_copy(update={"repo": repo, "commit": pushed_before.oid, "url": pushed_before.url}))
    commit = hub.push(repo, "model", files, f"Card of {model.name}" if model.on_hub else model.name, tag, settings.private)
    get_run_logger().info("Published %s at %s.", repo, commit.oid[:12])
    if commit.url.startswith("http"):
        await publish_link(commit.url, "model", repo, f"{repo} at {commit.oid[:12]}")
    return model.model_copy(update={"repo": repo, "commit": commit.oid, "url": commit.url})


def _card_of(gguf: ModelRef) -> str:
    return f"models/cards/{gguf.path.rpartition('/')[2]}.md"


def _names(store: Store, path: str) -> list[str]:
    names = (name.rpartition("/")[2] for name in store.names(path))
    return [name for name in names if name not in UNWANTED and not name.startswith(".")]

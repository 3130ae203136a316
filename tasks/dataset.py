"""From assessments to a published dataset: one task makes the examples, one pushes them."""

from prefect.logging import get_run_logger

from blocks.access import check_publications
from blocks.hub import load_hub
from blocks.tokens import load_tokenizer
from core.dataset.build import (
    BuiltDataset,
    DatasetPlan,
    build,
    existing_dataset,
    finish,
    plan_dataset,
    select,
)
from core.dataset.example_files import split_files
from core.dataset.pairs import PAIR_FILES
from core.escaping import Markdown
from core.imports.foreign_files import shown
from core.llm.run import Run
from core.records import DatasetRef, Publication
from core.reports.render import dataset_card, markdown
from core.settings.pipeline import DatasetSettings
from tasks.artifacts import publish_link, publish_report
from tasks.policy import cached_task, existing

NAMED = 1000
"""Most left-out items that are named in the Prefect UI, which has no pages."""


async def prepare_dataset(run: Run, assessed: str | None, checkpoints: str | None, transcripts: str | None) -> DatasetPlan:
    """Return a dataset's sources, and check that it can be pushed.

    Raises:
        DatasetError: its sources do not fit together. HubError, SettingsError: it cannot be pushed.
    """
    warn = get_run_logger().warning
    plan = plan_dataset(run.store, run.pack, assessed, checkpoints, transcripts, run.settings, warn)
    settings = plan.settings
    wanted = Publication(repo=settings.repo, kind="dataset", private=settings.private, license=settings.license)
    await check_publications(settings.hub, [wanted])
    return plan


@cached_task("build-dataset", "build {plan.settings.repo}")
async def build_dataset(run: Run, plan: DatasetPlan) -> BuiltDataset:
    """Gather the passing transcripts, drop near-duplicates, audit, slice and split by transcript."""
    store, pack, logger = run.store, run.pack, get_run_logger()
    chosen = select(store, pack, plan, load_tokenizer(plan.settings.tokenizer), logger.warning)
    if known := existing_dataset(store, chosen.folder):
        return existing(known)
    written, facts = build(store, pack, plan, chosen)
    built = finish(store, chosen, written, facts, dataset_card(facts))
    if warnings := facts["out_of_range"]:
        what = "The audit of what passed found %d things out of range; the card of the dataset has all. The first: %s"
        logger.warning(what, len(warnings), warnings[0])
    for warning in facts["cut"]:
        logger.warning("%s", warning)
    logger.info(
        "%d examples for training and %d for validation of %d transcripts: %s/%s",
        *(built.examples, built.validation_examples, built.transcripts, store.root, built.path),
    )
    if made := facts["pairs"]:
        dropped = ", ".join(f"{count} {reason}" for reason, count in made["dropped"].items() if count)
        logger.info("Pairs: %d for training and %d for validation%s.", made["train"], made["validation"], f"; left out: {dropped}" if dropped else "")
    return built


@cached_task("push-dataset", "push {settings.repo}")
async def push_dataset(run: Run, built: BuiltDataset, settings: DatasetSettings) -> DatasetRef:
    """Push a dataset to the hub of the settings, unless its tag there points to the same files."""
    store, hub = run.store, await load_hub(settings.hub)
    names = [*split_files(), *(name for name in PAIR_FILES if store.exists(f"{built.path}/{name}")), "README.md"]
    paths = {name: f"{built.path}/{name}" for name in names}
    files = {name: store.local(path) if store.is_local else store.read_bytes(path) for name, path in paths.items()}
    tag = f"run-{built.path.rsplit('/', maxsplit=1)[-1]}"
    what = f"{built.examples} examples of {built.transcripts} transcripts"
    known = hub.find(settings.repo, "dataset", files, tag)
    commit = known or hub.push(settings.repo, "dataset", files, what, tag, settings.private)
    ref = DatasetRef(repo=settings.repo, commit=commit.oid, url=commit.url, **built.model_dump())
    if known:
        return existing(ref)
    get_run_logger().info("Pushed to %s at %s (%s).", settings.repo, commit.oid[:12], tag)
    if commit.url.startswith("http"):
        text = f"{settings.repo} at {commit.oid[:12]}"
        await publish_link(commit.url, "dataset", settings.repo, text)
    return ref


async def publish_dataset(run: Run, dataset: DatasetRef) -> DatasetRef:
    """Publish the card in the Prefect UI, and what was left out by name; the names stay here and are not pushed."""
    store, logger = run.store, get_run_logger()
    manifest = store.load_json(f"{dataset.path}/manifest.json")
    left_out = [(str(entry["id"]), f"{entry['reason']} ({entry['source']})") for entry in manifest["left_out"]]
    left_out += manifest.get("not_read", {}).items()
    for line in shown([f"Left out: {name}: {reason}" for name, reason in left_out]):
        logger.info("%s", line)
    card = store.read(f"{dataset.path}/README.md").split("\n---\n", maxsplit=1)[-1]
    named = markdown("left_out", items=left_out[:NAMED], more=max(0, len(left_out) - NAMED))
    text = Markdown(f"{card}\n{named}")
    store.write(f"{dataset.path}/report.md", text)
    what = f"{dataset.repo} at {dataset.commit[:12]}"
    await publish_report(text, key=f"dataset-{run.pack.name}", description=what)
    store.write_json(f"datasets/latest-{run.pack.name}.json", dataset)
    return dataset

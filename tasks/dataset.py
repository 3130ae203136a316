"""From assessments to a published dataset: one task builds the examples, another pushes them."""

from prefect.logging import get_run_logger

from blocks.access import check_publications
from blocks.hub import load_hub
from blocks.tokens import load_tokenizer
from core.dataset.build import BuiltDataset, build, existing_dataset, finish, select
from core.dataset.example_files import split_files
from core.dataset.pairs import PAIR_FILES
from core.dataset.plan import DatasetPlan, plan_dataset
from core.escaping import Markdown
from core.imports.foreign_files import shown
from core.llm.run import Run
from core.records import DatasetRef, Publication
from core.reports.render import dataset_card, markdown
from core.settings.pipeline import DatasetSettings
from tasks.artifacts import publish_link, publish_report
from tasks.policy import cached_task, existing

MAX_NAMED = 1000
"""Maximum number of left-out items that are listed in the Prefect UI, which shows a report as one page."""


async def prepare_dataset(run: Run, assessed: str | None, checkpoints: str | None, transcripts: str | None) -> DatasetPlan:
    """Return a dataset's sources, and check that it can be pushed.

    Args:
        run: the run.
        assessed: batches of assessments, separated by commas; None, without checkpoints, for all by the current rubric.
        checkpoints: assessments of other tools: files or folders, separated by commas; None for none.
        transcripts: folder with the transcripts of the checkpoints; None for none.

    Raises:
        DatasetError: the sources do not fit together.
        HubError, SettingsError: the dataset cannot be pushed.
    """
    warn = get_run_logger().warning
    plan = plan_dataset(run.store, run.pack, assessed, checkpoints, transcripts, run.settings, warn)
    settings = plan.settings
    publication = Publication(repo=settings.repo, kind="dataset", private=settings.private, license=settings.license)
    await check_publications(settings.hub, [publication])
    return plan


@cached_task("build-dataset", "build {plan.settings.repo}")
async def build_dataset(run: Run, plan: DatasetPlan) -> BuiltDataset:
    """Gather the passing transcripts, drop near-duplicates, audit the rest, cut it into examples, and split these by transcript."""
    store, pack, logger = run.store, run.pack, get_run_logger()
    chosen = select(store, pack, plan, load_tokenizer(plan.settings.tokenizer), logger.warning)
    if stored := existing_dataset(store, chosen.folder):
        return existing(stored)
    written, facts = build(store, pack, plan, chosen)
    built = finish(store, chosen, written, facts, dataset_card(facts))
    if warnings := facts["out_of_range"]:
        what = "The audit of the transcripts that passed found %d figures out of range; the card of the dataset lists them. The first: %s"
        logger.warning(what, len(warnings), warnings[0])
    for warning in facts["cut"]:
        logger.warning("%s", warning)
    logger.info(
        "%d examples for training and %d for validation, from %d transcripts: %s/%s",
        *(built.examples, built.validation_examples, built.transcripts, store.root, built.path),
    )
    if pairs := facts["pairs"]:
        dropped = ", ".join(f"{count} {reason}" for reason, count in pairs["dropped"].items())
        logger.info("Pairs: %d for training and %d for validation%s.", pairs["train"], pairs["validation"], f"; left out: {dropped}" if dropped else "")
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
    pushed_before = hub.find(settings.repo, "dataset", files, tag)
    commit = pushed_before or hub.push(settings.repo, "dataset", files, what, tag, settings.private)
    ref = DatasetRef(repo=settings.repo, commit=commit.oid, url=commit.url, **built.model_dump())
    if pushed_before:
        return existing(ref)
    get_run_logger().info("Pushed to %s at %s (%s).", settings.repo, commit.oid[:12], tag)
    if commit.url.startswith("http"):
        text = f"{settings.repo} at {commit.oid[:12]}"
        await publish_link(commit.url, "dataset", settings.repo, text)
    return ref


async def publish_dataset(run: Run, dataset: DatasetRef) -> DatasetRef:
    """Publish in the Prefect UI the card and the names of the items that were left out, which are not pushed to the hub."""
    store, logger = run.store, get_run_logger()
    manifest = store.load_json(f"{dataset.path}/manifest.json")
    left_out = [(str(entry["id"]), f"{entry['reason']} ({entry['source']})") for entry in manifest["left_out"]]
    left_out += manifest.get("not_read", {}).items()
    for line in shown([f"Left out: {name}: {reason}" for name, reason in left_out]):
        logger.info("%s", line)
    card = store.read(f"{dataset.path}/README.md").split("\n---\n", maxsplit=1)[-1]
    listing = markdown("left_out", items=left_out[:MAX_NAMED], more=max(0, len(left_out) - MAX_NAMED))
    text = Markdown(f"{card}\n{listing}")
    store.write(f"{dataset.path}/report.md", text)
    what = f"{dataset.repo} at {dataset.commit[:12]}"
    await publish_report(text, key=f"dataset-{run.pack.name}", description=what)
    store.write_json(f"datasets/latest-{run.pack.name}.json", dataset)
    return dataset

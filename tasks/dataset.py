"""From what was judged to a published dataset: one task makes the examples, one pushes them."""

from collections import Counter
from collections.abc import Iterator
from statistics import mean
from typing import Any

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from core.dataset.audit import Audit, audit
from core.dataset.example_files import SPLITS, Written, statistics, write_examples
from core.dataset.gathering import Candidate, Gathered, bound_mended, check_enough, check_not_evaluated, gather, judges_of
from core.dataset.near_duplicates import LIKENESS, near_duplicates
from core.dataset.slicing import split_off
from core.errors import DatasetError
from core.escaping import Markdown
from core.fingerprint import fingerprint
from core.imports.foreign_files import shown
from core.packs.pack import Pack, load_pack
from core.records import Assessment, DatasetRef, Publication, Record, Reference, Transcript
from core.rehearsal.personas import sample_batch
from core.reports.render import dataset_card, markdown
from core.settings.pipeline import DatasetSettings, Settings, load_training
from core.storage.file_facts import damaged_files, file_facts
from core.storage.store import Store, open_store
from tasks.access import check_publications
from tasks.artifacts import publish_link, publish_report
from tasks.gathering import batches_of, candidates, check_sources, content_of
from tasks.importing import NOT_STATED
from tasks.policy import cached_task, existing
from tasks.tokens import load_tokenizer

FILES = [*(f"{split}.parquet" for split in SPLITS), "rows.jsonl", "README.md"]
"""Of a dataset, beside the manifest, which is written last."""

NAMED = 1000
"""What was left out is named up to this number in the Prefect UI, which shows a page at once."""


class DatasetPlan(Record):
    """All that a dataset is made of.

    Args:
        assessed: batches of assessments; checkpoints and transcripts: judged elsewhere; files: hash of what these hold.
        evaluation: first seed and number of the personas that the evaluation will play, and their exchanges.
        training_length: tokens after which the training cuts an example.
        mended: whether mended transcripts are trained on, and at most which share of all.
    """

    domain: str
    pack_hash: str
    intended_use: str
    assessed: list[str]
    checkpoints: str | None
    transcripts: str | None
    files: str
    settings: DatasetSettings
    evaluation: tuple[int, int, int]
    training_length: int | None
    mended: tuple[bool, float] = (True, 1.0)


class BuiltDataset(Reference):
    """A folder with `train.parquet`, `validation.parquet`, `rows.jsonl`, `manifest.json` and the card."""

    examples: int
    validation_examples: int
    transcripts: int


def plan_dataset(domain: str, assessed: str | None, checkpoints: str | None, transcripts: str | None, settings: Settings) -> DatasetPlan:
    """Say what a dataset is made of: the batches that are named, or the checkpoints, or all batches of the domain by its present rubric."""
    check_sources(checkpoints, transcripts)
    pack = load_pack(domain)
    named = [name.strip() for name in assessed.split(",")] if assessed else []
    length = load_training(settings.training).train.get("max-length")
    batches = named or ([] if checkpoints else batches_of(pack))
    return DatasetPlan(
        domain=domain,
        pack_hash=pack.hash,
        intended_use=pack.intended_use,
        assessed=batches,
        checkpoints=checkpoints,
        transcripts=transcripts,
        files=content_of(checkpoints, transcripts, batches),
        settings=settings.dataset.of(domain),
        evaluation=(settings.evaluation.first_seed, settings.evaluation.personas, settings.evaluation.exchanges),
        training_length=length if isinstance(length, int) else None,
        mended=(settings.repair.in_dataset, settings.repair.dataset_share),
    )


@cached_task("build-dataset", "build {plan.settings.repo}")
async def build_dataset(plan: DatasetPlan) -> BuiltDataset:
    """Gather what passed, leave near-duplicates out, audit it, slice it and split it by transcript."""
    pack, store, settings = load_pack(plan.domain), open_store(), plan.settings
    not_read: dict[str, str] = {}
    gathered = gather(candidates(plan.assessed, plan.checkpoints, plan.transcripts, pack, not_read))
    _refuse_evaluated(gathered, pack, plan.evaluation)
    gathered = bound_mended(_without_duplicates(gathered, settings), *plan.mended)
    check_enough(len(gathered.passing), len(gathered.passing) + len(gathered.left_out))
    tokenizer, system = load_tokenizer(settings.tokenizer), pack.prompts["system"].render()
    words = [fingerprint(item) for item in _read(gathered)]  # a file may have been edited under its name
    folder = f"datasets/{fingerprint([plan, gathered.manifest(), words, tokenizer.version])}"
    if known := _built(store, folder):
        return existing(known)
    kept = [item.id for item in gathered.passing]
    audited = audit(_read(gathered), pack)
    apart = split_off(_long_enough(gathered, settings), settings.validation_share)
    written = write_examples(store, folder, _read(gathered), system, settings.slicing, tokenizer, apart, settings.provenance)
    facts = _facts(plan, pack, gathered, audited, written)
    store.write(f"{folder}/README.md", dataset_card(facts))
    store.write_json(
        f"{folder}/manifest.json",
        {
            **gathered.manifest(),
            "not_read": not_read,
            **_sliced(written),
            "statistics": facts["statistics"],
            "warnings": facts["warnings"],
            "caveats": facts["caveats"],
            "files": file_facts(store, folder, FILES),
        },
    )
    logger = get_run_logger()
    if audited.warnings:
        what = "The audit of what passed found %d things out of range; the card of the dataset has all. The first: %s"
        logger.warning(what, len(audited.warnings), audited.warnings[0])
    for warning in facts["cut"]:
        logger.warning("%s", warning)
    counts = {split: len(tokens) for split, tokens in written.tokens.items()}
    logger.info("%d examples for training and %d for validation of %d transcripts: %s/%s", *counts.values(), len(kept), store.root, folder)
    return BuiltDataset(path=folder, examples=counts["train"], validation_examples=counts["validation"], transcripts=len(kept))


def _built(store: Store, folder: str) -> BuiltDataset | None:
    """Return a dataset that was built before, if all its files are as they were."""
    name = f"{folder}/manifest.json"
    manifest = store.read_json(name) if store.exists(name) else {}
    if not manifest.get("files") or damaged_files(store, folder, manifest["files"]):
        return None
    counts = {split: found["examples"] for split, found in manifest["statistics"].items()}
    return BuiltDataset(path=folder, examples=counts["train"], validation_examples=counts["validation"], transcripts=manifest["count"])


@cached_task("push-dataset", "push {settings.repo}")
async def push_dataset(built: BuiltDataset, settings: DatasetSettings) -> DatasetRef:
    """Push a dataset to the hub of the settings, unless its tag there points to these very files."""
    store, hub = open_store(), await load_hub(settings.hub)
    names = [*(f"{split}.parquet" for split in SPLITS), "README.md"]
    files = {name: store.local(f"{built.path}/{name}") if store.is_local else store.read_bytes(f"{built.path}/{name}") for name in names}
    tag = f"run-{built.path.rsplit('/', maxsplit=1)[-1]}"
    if known := hub.find(settings.repo, "dataset", files, tag):
        return existing(DatasetRef(repo=settings.repo, commit=known.oid, url=known.url, **built.model_dump()))
    commit = hub.push(settings.repo, "dataset", files, f"{built.examples} examples of {built.transcripts} transcripts", tag, settings.private)
    get_run_logger().info("Pushed to %s at %s (%s).", settings.repo, commit.oid[:12], tag)
    if commit.url.startswith("http"):
        await publish_link(commit.url, "dataset", settings.repo, f"{settings.repo} at {commit.oid[:12]}")
    return DatasetRef(repo=settings.repo, commit=commit.oid, url=commit.url, **built.model_dump())


async def check_hub(settings: DatasetSettings) -> None:
    """See, before any work is done, that the dataset can be pushed.

    Raises:
        HubError, SettingsError: it cannot, and why.
    """
    await check_publications(settings.hub, [Publication(repo=settings.repo, kind="dataset", private=settings.private, license=settings.license)])


async def publish_dataset(dataset: DatasetRef, domain: str) -> None:
    """Publish the card in the Prefect UI, and what was left out by name; the names stay here and are not pushed."""
    store, logger = open_store(), get_run_logger()
    manifest = store.read_json(f"{dataset.path}/manifest.json")
    left_out = [(str(entry["id"]), f"{entry['reason']} ({entry['source']})") for entry in manifest["left_out"]]
    left_out += manifest.get("not_read", {}).items()
    for line in shown([f"Left out: {name}: {reason}" for name, reason in left_out]):
        logger.info("%s", line)
    card = store.read(f"{dataset.path}/README.md").split("\n---\n", maxsplit=1)[-1]
    text = Markdown(f"{card}\n{markdown('left_out', items=left_out[:NAMED], more=max(0, len(left_out) - NAMED))}")
    store.write(f"{dataset.path}/report.md", text)
    await publish_report(text, key=f"dataset-{domain}", description=f"{dataset.repo} at {dataset.commit[:12]}")


def training_seeds(dataset: DatasetRef) -> list[int]:
    """Return the persona seeds of the transcripts that a dataset was made from, where they are known."""
    store = open_store()
    manifest = store.read_json(f"{dataset.path}/manifest.json")
    seeds = [store.record(entry["source_file"], Transcript).provenance.get("seed") for entry in manifest["transcripts"]]
    return sorted(seed for seed in seeds if isinstance(seed, int))


def _read(gathered: Gathered) -> Iterator[Transcript]:
    """Read the transcripts that are trained on, one after the other."""
    return (_transcript(item) for item in gathered.passing)


def _transcript(item: Candidate) -> Transcript:
    return open_store().record(str(item.path), Transcript)


def _refuse_evaluated(gathered: Gathered, pack: Pack, evaluation: tuple[int, int, int]) -> None:
    first, count, exchanges = evaluation
    check_not_evaluated(_read(gathered), sample_batch(pack, first, count, (exchanges, exchanges)), first)


def _without_duplicates(gathered: Gathered, settings: DatasetSettings) -> Gathered:
    found = near_duplicates((_transcript(item), item.score or 0.0) for item in gathered.passing)
    kept = gathered.without({item.dropped: f"near-duplicate of {item.kept} ({item.share:.0%} of the shorter one's exchanges)" for item in found})
    if found:
        get_run_logger().info("Left out %d near-duplicates.", len(found))
        check_enough(len(kept.passing), len(gathered.passing))
    return kept


def _long_enough(gathered: Gathered, settings: DatasetSettings) -> list[str]:
    found = [item.id for item in _read(gathered) if len(item.exchanges) >= settings.slicing.first]
    if len(found) < 2:
        raise DatasetError(
            f"{len(found)} of {len(gathered.passing)} transcripts have at least {settings.slicing.first} exchanges; at least 2 are needed. "
            "Lower dataset.slicing.first."
        )
    return found


def _sliced(written: Written) -> dict[str, Any]:
    report = written.report
    return {"shortened": report.shortened, "skipped": report.skipped, "too_short": report.too_short, "transcripts_with_examples": dict(written.transcripts)}


def _facts(plan: DatasetPlan, pack: Pack, gathered: Gathered, audited: Audit, written: Written) -> dict[str, Any]:
    """Return what the card says."""
    lengths = {split: statistics(tokens, plan.training_length) for split, tokens in written.tokens.items()}
    scores = [item.score for item in gathered.passing if item.score is not None]
    reasons = Counter(entry["reason"].partition(":")[0].partition(" of ")[0] for entry in gathered.left_out)
    longer = lengths["train"]["longer"]
    cut = (
        [f"{longer} of {lengths['train']['examples']} training examples are longer than the training length of {plan.training_length:,} tokens."]
        if longer
        else []
    )
    writers, imported, unstated, caveats = _origins(gathered)
    return {
        "title": plan.settings.repo.rsplit("/", maxsplit=1)[-1],
        "domain": plan.domain,
        "pack_hash": plan.pack_hash,
        "intended_use": plan.intended_use,
        "license": plan.settings.license,
        "languages": plan.settings.languages,
        "size": _size(sum(part["examples"] for part in lengths.values())),
        "transcripts": len(gathered.passing),
        "mended": sum(item.mended is not None for item in gathered.passing),
        "judged": len(gathered.passing) + len(gathered.left_out),
        "left_out": dict(reasons.most_common()),
        "statistics": lengths,
        "tokenizer": plan.settings.tokenizer,
        "shortened": len(written.report.shortened),
        "skipped": len(written.report.skipped),
        "too_short": len(written.report.too_short),
        "writers": writers,
        "imported": imported,
        "consent": plan.settings.consent,
        "unstated": unstated,
        "judges": judges_of(gathered),
        "rubric_hashes": sorted({item.rubric_hash for item in gathered.passing}),
        "pass_at": pack.rubric.numbers.pass_at,
        "mean_score": mean(scores) if scores else None,
        "slicing": plan.settings.slicing,
        "duplicates": LIKENESS,
        "audit": audited,
        "warnings": [*audited.warnings, *cut],
        "cut": cut,
        "caveats": caveats,
    }


def _origins(gathered: Gathered) -> tuple[dict[str, int], int, int, list[str]]:
    """Return which models wrote the conversations, how many were imported, of how many of these no consent was stated, and what must be known.

    Only what was rehearsed here has a record of how it was made; what an imported file says of itself is a claim, and is not repeated.
    """
    store, imported, unstated = open_store(), 0, 0
    writers, caveats, shared, stated = Counter[str](), set[str](), Counter[str](), Counter[str]()
    for item, transcript in zip(gathered.passing, _read(gathered), strict=True):
        told = transcript.provenance
        if "pack_hash" in told:
            writers[" and ".join(str(told[side]) for side in ("user_simulator", "assistant") if told.get(side))] += 1
        else:
            stated.update([_terms(told["terms"])] if "terms" in told else [])
            unstated += told.get("terms", {}).get("consent", NOT_STATED) == NOT_STATED
            imported, writers["not known: imported from files"] = imported + 1, writers["not known: imported from files"] + 1
        assessment = store.record(item.assessment, Assessment) if item.assessment.endswith(".json") else None
        caveats.update(str(caveat) for caveat in (told.get("caveat"), assessment.caveat if assessment else None) if caveat)
        shared.update([assessment.shared_family] if assessment and assessment.shared_family else [])
    own = [
        f"In {count} transcripts a judge is of the family of models that wrote the answers ({name}); such judges favour their own."
        for name, count in shared.items()
    ]
    own += [f"Stated when {count} of the conversations were imported: {terms}" for terms, count in stated.most_common()]
    return dict(writers.most_common(5)), imported, unstated, [*sorted(caveats), *own]


def _terms(terms: dict[str, Any]) -> str:
    replaced = " Personal data in them were replaced by a program, which does not find all." if terms["replaced"] is not None else ""
    return f"from {terms['origin']}, licence: {terms['licence']}, consent: {terms['consent']}.{replaced}"


def _size(examples: int) -> str:
    return next((name for bound, name in ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K")) if examples < bound), "100K<n<1M")

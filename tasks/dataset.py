"""From assessments to a pushed dataset: one task, cached by everything that goes into it."""

import json
from statistics import mean
from typing import Any

from prefect import task
from prefect.logging import get_run_logger

from blocks.local_hub import LocalHub
from core.dataset import card, describe_rows, gather, make_examples
from core.pack import load_pack
from core.records import Assessment, AssessmentBatch, AssessmentRef, DatasetRef, Transcript
from core.settings import DatasetSettings
from core.slicing import Example, SliceReport
from core.store import open_store
from tasks.policy import CACHED
from tasks.tokens import count_tokens


@task(name="build-dataset", task_run_name="build {settings.repo}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def build_dataset(batch_path: str, pack_hash: str, settings: DatasetSettings) -> DatasetRef:
    """Gather what passed, slice it, split it by transcript and push it with its card and its manifest."""
    store = open_store()
    batch = AssessmentBatch.model_validate_json(store.read(batch_path))
    pack = load_pack(batch.domain)
    passing, manifest = gather(batch.assessments)
    transcripts = [Transcript.model_validate_json(store.read(item.transcript.path)) for item in passing]
    splits, report = make_examples(transcripts, pack.prompts["system"].render(), settings.slicing, settings.validation_share, count_tokens)
    facts = _facts(batch, passing, transcripts, splits, report, pack_hash, pack.rubric.hash)
    folder, commit = LocalHub().push_dataset(
        settings.repo,
        {name: [{"messages": example.messages} for example in rows] for name, rows in splits.items()},
        card(settings.repo, facts),
        tag=f"examples-{facts['examples']}-{batch_path.rsplit('-', 1)[-1].removesuffix('.json')}",
    )
    store.write_json(
        f"datasets/{commit}/manifest.json",
        {**manifest, "left_out_of_batch": [item.model_dump() for item in batch.left_out], **describe_rows(splits, report)},
    )
    get_run_logger().info(
        "Pushed %d training and %d validation examples to %s (%s).", facts["examples"], facts["validation_examples"], settings.repo, commit[:7]
    )
    return DatasetRef(
        path=folder,
        repo=settings.repo,
        commit=commit,
        examples=facts["examples"],
        validation_examples=facts["validation_examples"],
        transcripts=len(transcripts),
    )


def training_seeds(dataset: DatasetRef) -> list[int]:
    """Return the persona seeds of the transcripts that a dataset was made from, where they are known."""
    store = open_store()
    manifest = json.loads(store.read(f"datasets/{dataset.commit}/manifest.json"))
    seeds = [Transcript.model_validate_json(store.read(entry["source_file"])).provenance.get("seed") for entry in manifest["transcripts"]]
    return sorted(seed for seed in seeds if isinstance(seed, int))


def _facts(
    batch: AssessmentBatch,
    passing: list[AssessmentRef],
    transcripts: list[Transcript],
    splits: dict[str, list[Example]],
    report: SliceReport,
    pack_hash: str,
    rubric_hash: str,
) -> dict[str, Any]:
    tokens = [example.tokens for rows in splits.values() for example in rows]
    assessments = [Assessment.model_validate_json(open_store().read(item.path)) for item in passing]
    caveats = {item.provenance.get("caveat") for item in transcripts} | {item.caveat for item in assessments}
    if own := [item for item in assessments if item.shared_family]:
        caveats.add(
            f"In {len(own)} transcripts a judge is of the family of models that wrote the answers ({own[0].shared_family}); such judges favour their own."
        )
    return {
        "domain": batch.domain,
        "examples": len(splits["train"]),
        "validation_examples": len(splits["validation"]),
        "transcripts": len(transcripts),
        "assessed": len(batch.assessments),
        "pack_hash": pack_hash,
        "rubric_hash": rubric_hash,
        "judge": ", ".join(batch.judges),
        "models": sorted({str(item.provenance.get("assistant") or item.provenance.get("source", "unknown")) for item in transcripts})[:5],
        "tokens": {"min": min(tokens), "max": max(tokens), "mean": round(mean(tokens))},
        "shortened": len(report.shortened),
        "skipped": len(report.skipped),
        "caveats": sorted(caveat for caveat in caveats if caveat),
    }

"""Gathering what passed and writing it as parquet, the same bytes for the same input."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from core.errors import DatasetError
from core.records import AssessmentRef, Outcome, Transcript
from core.settings import Slicing
from core.slicing import Count, Example, SliceReport, slices, split_off


def gather(assessed: Sequence[AssessmentRef]) -> tuple[list[AssessmentRef], dict[str, Any]]:
    """Choose the passing transcripts, sorted by id; the first verdict on an id wins.

    Returns:
        The passing ones, and a manifest: `count`, `transcripts` (id, score, source file) and `left_out` with the reason for each.

    Raises:
        DatasetError: fewer than two transcripts passed, so that there is none left for training once one is kept for validation.
    """
    first: dict[str, AssessmentRef] = {}
    left_out: list[dict[str, str]] = []
    for item in assessed:
        if item.transcript.id in first:
            left_out.append({"id": item.transcript.id, "reason": "duplicate id"})
        else:
            first[item.transcript.id] = item
    passing = sorted((item for item in first.values() if item.outcome is Outcome.PASS), key=lambda item: item.transcript.id)
    left_out += [{"id": item.transcript.id, "reason": item.outcome.value} for item in first.values() if item.outcome is not Outcome.PASS]
    if len(passing) < 2:
        raise DatasetError(
            f"Too few transcripts passed: {len(passing)} of {len(first)}; at least 2 are needed, one to train on and one to validate with. "
            "Rehearse more conversations, or look at the failed checks in the run's report."
        )
    manifest = {
        "count": len(passing),
        "transcripts": [{"id": item.transcript.id, "score": item.score, "source_file": item.transcript.path, "assessment": item.path} for item in passing],
        "left_out": sorted(left_out, key=lambda entry: (entry["id"], entry["reason"])),
    }
    return passing, manifest


def make_examples(
    transcripts: Sequence[Transcript], system: str, slicing: Slicing, validation_share: float, count: Count
) -> tuple[dict[str, list[Example]], SliceReport]:
    """Slice transcripts and split the examples by transcript.

    Args:
        system: the short system prompt that is trained in.
        validation_share: of the transcripts, about.
        count: tokens of a text.

    Returns:
        The examples of `train` and `validation`, and what was shortened, skipped or too short.

    Raises:
        DatasetError: one side of the split has no example.
    """
    report = SliceReport()
    examples = list(slices(transcripts, system, slicing, count, report))
    long_enough = [item.id for item in transcripts if item.id not in report.too_short]
    kept_apart = split_off(long_enough, validation_share) if long_enough else set[str]()
    splits = {
        "train": [example for example in examples if example.transcript_id not in kept_apart],
        "validation": [example for example in examples if example.transcript_id in kept_apart],
    }
    for name, rows in splits.items():
        if not rows:
            raise DatasetError(
                f"No {name} example: {len(report.too_short)} transcripts are shorter than dataset.slicing.first and {len(report.skipped)} slices do not fit "
                "dataset.slicing.max_tokens. Lower the one or raise the other."
            )
    return splits, report


def describe_rows(splits: Mapping[str, Sequence[Example]], report: SliceReport) -> dict[str, Any]:
    """Return where each row comes from, and what happened to the slices, as plain data for the manifest."""
    rows = [
        {**{name: value for name, value in asdict(row).items() if name != "messages"}, "split": split, "row": number}
        for split, examples in splits.items()
        for number, row in enumerate(examples)
    ]
    return {"rows": rows, "shortened": report.shortened, "skipped": report.skipped, "too_short": report.too_short}


def card(repo: str, facts: dict[str, Any]) -> str:
    """Return the dataset's card, a README with Hub metadata.

    Args:
        facts: `domain`, `examples`, `validation_examples`, `transcripts`, `assessed`, `pack_hash`, `rubric_hash`, `judge`, `models`, `tokens`,
            `shortened`, `skipped`, and `caveats`.
    """
    caveats = "\n".join(f"- {caveat}" for caveat in facts["caveats"]) or "- none recorded"
    return f"""---
language: [en]
task_categories: [text-generation]
tags: [understudy, synthetic, {facts["domain"]}]
configs:
- config_name: default
  data_files:
  - {{split: train, path: train.parquet}}
  - {{split: validation, path: validation.parquet}}
---

# {repo.rsplit("/", maxsplit=1)[-1]}

Conversations rehearsed between two models, judged, and sliced into training examples by Understudy.

| | |
|---|---|
| domain | {facts["domain"]} (pack {facts["pack_hash"]}) |
| transcripts | {facts["transcripts"]} passed of {facts["assessed"]} assessed |
| examples | {facts["examples"]} for training, {facts["validation_examples"]} for validation, split by transcript |
| tokens an example (cl100k) | {facts["tokens"]["min"]} to {facts["tokens"]["max"]}, mean {facts["tokens"]["mean"]} |
| shortened / skipped slices | {facts["shortened"]} / {facts["skipped"]} |
| rubric | {facts["rubric_hash"]} |
| judge | {facts["judge"]} |
| conversations by | {", ".join(facts["models"])} |

## Read before use

{caveats}
- The conversations are synthetic. Nobody in them is real.
"""

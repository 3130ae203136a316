"""Gathering what passed and writing it as parquet, the same bytes for the same input."""

from collections.abc import Sequence
from typing import Any

from core.errors import DatasetError
from core.records import AssessmentRef, Outcome
from core.slicing import Example, SliceReport


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


def check_enough(train: Sequence[Example], validation: Sequence[Example], report: SliceReport) -> None:
    """Raise `DatasetError` if one side of the split has no example."""
    for name, rows in (("training", train), ("validation", validation)):
        if not rows:
            raise DatasetError(
                f"No {name} example: {len(report.too_short)} transcripts are shorter than dataset.slicing.first and {len(report.skipped)} slices do not fit "
                "dataset.slicing.max_tokens. Lower the one or raise the other."
            )


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

"""Golden conversations made from a person's labels; the second reader is another person or the judge."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.escaping import yaml_text
from core.fingerprint import fingerprint, seed_of
from core.judging.golden import GoldenFile, golden_fault
from core.judging.review_sheet import Labels
from core.judging.scoring import applicable
from core.packs.rubric import Rubric
from core.records import Answer, Judged, Verdict
from core.storage.whole_files import replace_file

OWN = "own-golden"
"""Folder below the data root with the golden conversations made from labels, by domain."""
HELD_OUT = 3
"""One conversation in three is held out."""


def golden_files(
    labels: Labels, judged: Sequence[Judged], rubric: Rubric, batch: str, second: Mapping[str, Labels] | None = None
) -> tuple[dict[str, GoldenFile], dict[str, str]]:
    """Return golden files by name, and the reasons why other labelled transcripts cannot become one, by transcript.

    Args:
        judged: the batch whose transcripts were labelled.
        batch: its name.
        second: a second person's labels, by the person's name. For a transcript that they label completely they replace the judge's verdicts as the second
            reader's; where the judge alone disagrees, that then counts against the judge.
    """
    files, skipped = dict[str, GoldenFile](), dict[str, str]()
    for item in judged:
        name = item.transcript.id
        if name not in labels.answers:
            continue
        readers = {person: own.answers[name] for person, own in (second or {}).items() if _is_complete(own, item, rubric)}
        why = _unfit(item, labels, rubric, judge=not readers)
        if not why:
            file = _file(item, labels, batch, readers)
            why = golden_fault(file, rubric)
            if not why:
                files[_file_name(name)] = file
        if why:
            skipped[name] = why
    return files, skipped


def keep_golden(files: Mapping[str, GoldenFile], folder: Path) -> list[str]:
    """Write golden files into a folder; return the names of those that existed already, which are left unchanged."""
    folder.mkdir(parents=True, exist_ok=True)
    existing = [name for name in files if (folder / f"{name}.yaml").exists()]
    for name, file in files.items():
        if name not in existing:
            replace_file(folder / f"{name}.yaml", yaml_text(file.model_dump(mode="json")).encode())
    return existing


def _is_complete(labels: Labels, item: Judged, rubric: Rubric) -> bool:
    answers = labels.answers.get(item.transcript.id, {})
    return all(criterion.id in answers for criterion in applicable(rubric, len(item.transcript.exchanges)))


def _unfit(item: Judged, labels: Labels, rubric: Rubric, judge: bool) -> str | None:
    due = [criterion.id for criterion in applicable(rubric, len(item.transcript.exchanges))]
    answers = {verdict.criterion: verdict.answer for verdict in item.final.verdicts}
    if unlabelled := [name for name in due if name not in labels.answers[item.transcript.id]]:
        return f"it has no label for {', '.join(unlabelled)}"
    if judge and (unusable := [name for name in due if answers.get(name, Answer.ERROR) is Answer.ERROR]):
        return f"the judge has no usable answer to {', '.join(unusable)}"
    return "it begins with a message of the assistant, which a golden conversation cannot" if item.transcript.opening else None


def _file(item: Judged, labels: Labels, batch: str, readers: Mapping[str, Mapping[str, Answer]]) -> GoldenFile:
    transcript = item.transcript
    note, reasons = labels.notes.get(transcript.id, ""), labels.reasons.get(transcript.id, {})
    person = {name: answer.value for name, answer in labels.answers[transcript.id].items()}
    verdicts = {verdict.criterion: verdict for verdict in item.final.verdicts}
    named = next(iter(readers), item.final.judge)
    other = {name: (readers[named][name] if readers else verdicts[name].answer).value for name in person}
    by = f"labelled by a person and by {named}" if readers else f"labelled by a person, and judged by {named}"
    return GoldenFile.model_validate(
        {
            "title": transcript.id,
            "provenance": f"from a review of {batch}: {by}",
            "held_out": seed_of("held out", transcript.id) % HELD_OUT == 0,
            "exchanges": [{"user": exchange.user, "assistant": exchange.assistant} for exchange in transcript.exchanges],
            "verdicts": {name: _verdict(answer, verdicts.get(name), reasons.get(name, ""), note, len(transcript.exchanges)) for name, answer in person.items()},
            "labels": {"person": person, named: other},
            "disputed": [name for name in person if person[name] != other[name]],
        }
    )


def _verdict(answer: str, judged: Verdict | None, reason: str, note: str, length: int) -> dict[str, object]:
    """Return the person's answer, and for a NO its reason: the person's, else the judge's if it answered NO too, else the person's note."""
    if answer != Answer.NO:
        return {"answer": answer}
    agreed = judged if judged and judged.answer is Answer.NO else None
    why = reason or (agreed.reasoning.strip() if agreed else "") or note or "The person answered NO and wrote no reason."
    return {"answer": answer, "reason": why, "exchanges": (agreed.cited if agreed else []) or list(range(1, length + 1))}


def _file_name(name: str) -> str:
    """Return a file name for a transcript's id."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    return plain if plain == name else f"{plain}-{fingerprint(name)[:6]}".strip("-")

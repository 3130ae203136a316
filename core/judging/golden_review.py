"""Golden conversations from people's own labels: a person's beside those of a second person, or beside the judge's verdicts."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from core.escaping import yaml_text
from core.fingerprint import fingerprint, seed_of
from core.judging.golden import GoldenFile, wrong_with
from core.judging.review_sheet import Labels
from core.judging.scoring import applicable
from core.packs.pack import Rubric
from core.records import Answer, Judged, Verdict
from core.storage.whole_files import replace_file

OWN = "own-golden"
"""Below the data root: golden conversations of a person's own, by domain."""
HELD_OUT = 3
"""One conversation in three is held out."""


def golden_files(
    labels: Labels, judged: Sequence[Judged], rubric: Rubric, batch: str, second: Mapping[str, Labels] | None = None
) -> tuple[dict[str, GoldenFile], dict[str, str]]:
    """Return golden files by name, and by transcript why others cannot be any.

    Args:
        judged: the batch that the labels are of; `batch` is its name.
        second: by name, a second person's labels, which stand for the judge's where they are whole: what the judge alone disputes is then in its figures.
    """
    files, skipped = dict[str, GoldenFile](), dict[str, str]()
    for item in judged:
        name = item.transcript.id
        if name not in labels.answers:
            continue
        readers = {person: own.answers[name] for person, own in (second or {}).items() if _whole(own, item, rubric)}
        why = _unfit(item, labels, rubric, judge=not readers)
        if not why:
            file = _file(item, labels, batch, readers)
            why = wrong_with(file, rubric)
            if not why:
                files[_file_name(name)] = file
        if why:
            skipped[name] = why
    return files, skipped


def keep_golden(files: Mapping[str, GoldenFile], folder: Path) -> list[str]:
    """Write golden files into a folder, and return which were there already; those are kept as they are."""
    folder.mkdir(parents=True, exist_ok=True)
    there = [name for name in files if (folder / f"{name}.yaml").exists()]
    for name, file in files.items():
        if name not in there:
            replace_file(folder / f"{name}.yaml", yaml_text(file.model_dump(mode="json")).encode())
    return there


def _whole(labels: Labels, item: Judged, rubric: Rubric) -> bool:
    given = labels.answers.get(item.transcript.id, {})
    return all(criterion.id in given for criterion in applicable(rubric, len(item.transcript.exchanges)))


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
            "exchanges": [{"user": said.user, "assistant": said.assistant} for said in transcript.exchanges],
            "verdicts": {name: _verdict(answer, verdicts.get(name), reasons.get(name, ""), note, len(transcript.exchanges)) for name, answer in person.items()},
            "labels": {"person": person, named: other},
            "disputed": [name for name in person if person[name] != other[name]],
        }
    )


def _verdict(answer: str, judged: Verdict | None, reason: str, note: str, length: int) -> dict[str, object]:
    """Return the person's answer with the person's reason; without one, the judge's where both fail the criterion, and the person's note elsewhere."""
    if answer != Answer.NO:
        return {"answer": answer}
    agreed = judged if judged and judged.answer is Answer.NO else None
    said = reason or (agreed.reasoning.strip() if agreed else "") or note or "The person answered NO and wrote no reason."
    return {"answer": answer, "reason": said, "exchanges": (agreed.cited if agreed else []) or list(range(1, length + 1))}


def _file_name(name: str) -> str:
    """Return a transcript's name as a file's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    return plain if plain == name else f"{plain}-{fingerprint(name)[:6]}".strip("-")

"""Golden conversations from a person's own reviews: the person's labels beside the judge's verdicts."""

import re
from collections.abc import Sequence

from core.fingerprint import fingerprint, seed_of
from core.judging.golden import GoldenFile, wrong_with
from core.judging.review_sheet import Labels
from core.judging.scoring import applicable
from core.packs.pack import Rubric
from core.records import Answer, Judged, Verdict

OWN = "own-golden"
"""Below the data root: golden conversations of a person's own, by domain."""
HELD_OUT = 3
"""One conversation in three is held out."""


def golden_files(labels: Labels, judged: Sequence[Judged], rubric: Rubric, batch: str) -> tuple[dict[str, GoldenFile], dict[str, str]]:
    """Return golden files by name, and by transcript why others cannot be any.

    Args:
        judged: the batch that the labels are of; `batch` is its name.
    """
    files, skipped = dict[str, GoldenFile](), dict[str, str]()
    for item in judged:
        name = item.transcript.id
        if name not in labels.answers:
            continue
        why = _unfit(item, labels, rubric)
        if not why:
            file = _file(item, labels, batch)
            why = wrong_with(file, rubric)
            if not why:
                files[_file_name(name)] = file
        if why:
            skipped[name] = why
    return files, skipped


def _unfit(item: Judged, labels: Labels, rubric: Rubric) -> str | None:
    due = [criterion.id for criterion in applicable(rubric, len(item.transcript.exchanges))]
    answers = {verdict.criterion: verdict.answer for verdict in item.final.verdicts}
    if unlabelled := [name for name in due if name not in labels.answers[item.transcript.id]]:
        return f"it has no label for {', '.join(unlabelled)}"
    if unusable := [name for name in due if answers.get(name, Answer.ERROR) is Answer.ERROR]:
        return f"the judge has no usable answer to {', '.join(unusable)}"
    return "it begins with a message of the assistant, which a golden conversation cannot" if item.transcript.opening else None


def _file(item: Judged, labels: Labels, batch: str) -> GoldenFile:
    transcript, note = item.transcript, labels.notes.get(item.transcript.id, "")
    person = {name: answer.value for name, answer in labels.answers[transcript.id].items()}
    verdicts = {verdict.criterion: verdict for verdict in item.final.verdicts}
    judge = {name: verdicts[name].answer.value for name in person}
    return GoldenFile.model_validate(
        {
            "title": transcript.id,
            "provenance": f"from a review of {batch}: labelled by a person, and judged by {item.final.judge}",
            "held_out": seed_of("held out", transcript.id) % HELD_OUT == 0,
            "exchanges": [{"user": said.user, "assistant": said.assistant} for said in transcript.exchanges],
            "verdicts": {name: _verdict(answer, verdicts[name], note, len(transcript.exchanges)) for name, answer in person.items()},
            "labels": {"person": person, item.final.judge: judge},
            "disputed": [name for name in person if person[name] != judge[name]],
        }
    )


def _verdict(answer: str, judged: Verdict, note: str, length: int) -> dict[str, object]:
    """Return the person's answer, with the judge's reason where both fail the criterion and the person's note elsewhere."""
    if answer != Answer.NO:
        return {"answer": answer}
    agreed = judged.answer is Answer.NO
    reason = (judged.reasoning.strip() if agreed else "") or note or "The person answered NO and wrote no reason."
    return {"answer": answer, "reason": reason, "exchanges": (judged.cited if agreed else []) or list(range(1, length + 1))}


def _file_name(name: str) -> str:
    """Return a transcript's name as a file's."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-")[:80]
    return plain if plain == name else f"{plain}-{fingerprint(name)[:6]}".strip("-")

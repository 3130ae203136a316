"""`understudy import`: conversations in other formats, written as transcripts, with a table of what was read and what was left out."""

import re
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from core.errors import TranscriptError
from core.fingerprint import fingerprint
from core.imports.scrubbing import ScrubReport
from core.imports.scrubbing import scrub as scrub_transcript
from core.imports.stored import IMPORTED, NOT_STATED
from core.imports.transcript_files import FoundTranscripts, find_transcripts
from core.paths import user_path
from core.records import Transcript
from core.storage.store import open_store
from core.terminal import show


def bring_in(source: str, scrub: bool = False, licence: str = "", consent: str = "") -> int:
    """Convert conversations that you have into transcripts below the data root; your files are not changed.

    A table shows what was read, what was joined or dropped within conversations, and what was left out and why.

    Args:
        source: a folder, a file, or a dataset repository of the Hugging Face Hub.
        scrub: replace names, e-mail addresses, telephone numbers, addresses, dates of birth, ids and account numbers. Some are missed.
        licence: licence of the conversations, for the dataset's card; without it, the command asks.
        consent: what the speakers have agreed to, for the dataset's card; without it, the command asks.

    Returns:
        The exit code.
    """
    finder = _finder() if scrub else None
    with ExitStack() as stack:
        folder, origin = _fetched(source, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        reading = find_transcripts(folder)
    licence, consent = licence or _ask("Under which licence may the conversations be used?"), consent or _ask("What have the people in them consented to?")
    report, transcripts = ScrubReport(), list(reading.transcripts.values())
    if finder:
        transcripts = [scrub_transcript(item, finder, report) for item in transcripts]
    terms = {"origin": origin, "licence": licence, "consent": consent, "replaced": dict(report.replaced) if finder else None}
    place = _write(transcripts, reading, terms)
    for line in reading.notices():
        show(line, error=True)
    show(*_table(reading, transcripts, report if finder else None, terms), "")
    show(f"Written to {open_store().root}/{place}. Judge them: understudy assess {open_store().root}/{place}")
    if not finder:
        show("If real people speak in them, run this again with --scrub and read a sample: what it misses will be learnt and published.")
    return 0


def _finder() -> Any:
    from blocks.personal_data import load_finder

    return load_finder()


def _fetched(source: str, temporary: Path) -> tuple[Path, str]:
    """Return the path of a source and its name; a repository is fetched into the temporary folder."""
    path = user_path(source)
    if path.exists():
        return path, path.name
    from blocks.hub_conversations import fetch_conversations, repository_of

    if (repository := repository_of(source)) is None:
        raise TranscriptError(f"{path} does not exist. Give a folder, a file, or a dataset repository of the Hub (hf://datasets/owner/name).")
    repo, revision = repository
    return temporary, f"{repo}@{fetch_conversations(repo, revision, temporary)[:12]}"


def _ask(question: str) -> str:
    """Return a person's answer to a question; without a terminal, or with an empty answer, NOT_STATED."""
    return (input(f"{question} (Enter: {NOT_STATED}) ").strip() if sys.stdin.isatty() else "") or NOT_STATED


def _write(transcripts: list[Transcript], reading: FoundTranscripts, terms: dict[str, Any]) -> str:
    """Write the transcripts and a record of their origin, licence and consent; return the name of the folder."""
    store = open_store()
    stem = re.sub(r"[^a-z0-9]+", "-", str(terms["origin"]).lower()).strip("-")[:40] or "conversations"
    place = f"{IMPORTED}/{stem}-{fingerprint([[item.model_dump() for item in transcripts], terms])}"
    for item in transcripts:
        store.write_json(f"{place}/{fingerprint(item.id)}.json", item)
    read = {"files": reading.files, "left_out": reading.left_out, "notes": dict(reading.notes), "unread": dict(reading.unread)}
    store.write_json(f"{place}.json", {"terms": terms, "transcripts": len(transcripts), **read})
    return place


def _table(reading: FoundTranscripts, transcripts: list[Transcript], report: ScrubReport | None, terms: dict[str, Any]) -> list[str]:
    rows = [("files read", reading.files), ("conversations", len(transcripts)), ("exchanges", sum(len(item.exchanges) for item in transcripts))]
    rows += [(f"  {note}", count) for note, count in reading.notes.most_common()]
    rows += [("left out", len(reading.left_out))]
    rows += [(f"  {reason}", count) for reason, count in Counter(map(_kind, reading.left_out.values())).most_common()]
    rows += [("files of types that are not read", reading.unread.total())] if reading.unread else []
    if report:
        rows += [("personal data replaced", report.replaced.total())]
        rows += [(f"  {kind} ({report.values[kind]} different)", count) for kind, count in report.replaced.most_common()]
    stated = [f"licence: {terms['licence']}", f"consent: {terms['consent']}"]
    return [*(f"{count:>9,}  {what}" for what, count in rows), *stated]


def _kind(reason: str) -> str:
    """Return a reason without its details (numbers, quotations, brackets), so that equal reasons can be counted."""
    return re.sub(r"\(.*\)|'[^']*'|\d[\d,]*", "…", reason.partition(". ")[0]).rstrip(".")[:100]

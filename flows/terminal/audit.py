"""The audit of a folder of conversations, with the measures that a dataset's card shows."""

from pathlib import Path

from core.dataset.corpus import corpus_facts
from core.errors import TranscriptError
from core.imports.message_shapes import KEPT_SYSTEM
from core.imports.transcript_files import find_transcripts
from core.packs.pack import load_pack, recorded_conversations
from core.paths import user_path
from core.reports.render import corpus_page
from core.storage.whole_files import write_page
from core.terminal import Answer, show


def audit(transcripts: str | None = None, domain: str = "therapeutic-coaching", to: Path | None = None) -> Answer:
    """Measure a folder of conversations as a set: near-duplicates, openers, phrases, figures of speech, echo, coverage of the pack.

    Args:
        transcripts: folder of transcripts; default: the pack's recorded conversations, whose page is a card for the Hub.
        domain: name of a domain pack.
        to: file for the page.

    Raises:
        TranscriptError: the folder does not exist or holds no conversation.
    """
    pack, own = load_pack(domain), recorded_conversations(domain)
    folder = user_path(transcripts) if transcripts else own
    if folder is None:
        raise TranscriptError(f"The pack {domain!r} has no recorded conversations. Name a folder of transcripts.")
    recorded = own is not None and folder.resolve() == own.resolve()
    reading = find_transcripts(folder)
    if recorded:
        del reading.notes[KEPT_SYSTEM]
        del reading.unread[".md"]  # the card of these conversations
    for line in reading.notices():
        show(line, error=True)
    facts = corpus_facts(list(reading.transcripts.values()), pack)
    page = corpus_page(facts, pack, recorded)
    if to is not None:
        write_page(user_path(to), page)
    data = {name: value for name, value in facts.items() if name != "likeness"}
    return Answer(f"{page}\nWritten: {to}" if to is not None else page, data | {"page": page})

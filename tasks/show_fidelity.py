"""`make fidelity`: how much of the personas shows in a folder of transcripts."""

import sys
from pathlib import Path

from core.errors import SettingsError
from core.imports.transcript_files import find_transcripts
from core.packs.pack import load_pack
from core.paths import user_path
from core.records import Transcript
from core.rehearsal.fidelity import measure_fidelity
from core.reports.render import fidelity_markdown
from core.settings.pipeline import load_settings
from core.storage.store import open_store
from core.terminal import show, show_text
from tasks.command_words import in_one_sentence, read_words


def main(words: list[str]) -> int:
    """Print the figures as Markdown; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "transcripts": "", "settings": "config/pipeline.yaml"})))


def _show(given: dict[str, str]) -> int:
    if not given["transcripts"]:
        raise SettingsError("No folder of transcripts was given. Say make fidelity TRANSCRIPTS=folder.")
    folder = user_path(given["transcripts"])
    found = find_transcripts(folder)
    transcripts = [_own(folder / place) or transcript for place, transcript in found.transcripts.items()]
    report = measure_fidelity(load_pack(given["domain"]), transcripts, load_settings(given["settings"]).fidelity)
    show_text(fidelity_markdown(report))
    for line in found.told():
        show(line, error=True)
    return 0


def _own(path: Path) -> Transcript | None:
    """Read a transcript that was rehearsed here, whose steering is known; none where it is from elsewhere."""
    store = open_store()
    rehearsed = store.is_local and path.is_file() and path.resolve().is_relative_to(store.local("transcripts").resolve())
    return Transcript.model_validate_json(path.read_text(encoding="utf-8")) if rehearsed else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Commands over folders of strangers: names of files, keys, ids and texts come out as text, in lines that cannot be taken for the command's own."""

import json
import re
from pathlib import Path

import pytest

from core.imports.transcript_files import find_transcripts
from tasks import show_domain, show_fidelity, show_recorded, show_rescored, show_slices
from tasks.importing import bring_in
from tests.core.hostile import ALL, CONTROL, HOSTILE

NAMED = [re.sub(r"[/\x00]", "", text)[:60] for text in HOSTILE]
FORGED = re.compile(r"^(?:12:00|forged|Error: forged|\d+ of \d+ as recorded, 7)", re.MULTILINE)


def file_name(text: str) -> str:
    return text.encode("utf-8", "surrogateescape")[:180].decode("utf-8", "ignore")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Conversations, broken files, a checkpoint and recorded assessments, each with hostile names, keys and words."""
    monkeypatch.setenv("UNDERSTUDY_DATA", str(tmp_path / "data"))
    talks, lines, recorded = tmp_path / "talks", tmp_path / "checkpoints", tmp_path / "recorded"
    for place in (talks, lines, recorded):
        place.mkdir()
    for number, text in enumerate(NAMED):
        said = [{"user": f"{text} {number} {turn}", "assistant": ALL} for turn in range(6)]
        persona = {"name": text, "flaws": [{"name": text}], "topics": [{"subtopic": text}], "writing_style": text, text: text}
        whole = {"exchanges": said, "persona": persona, "provenance": {"caveat": text, text: text}}
        (talks / f"{number}{file_name(text)}.json").write_text(json.dumps(whole), encoding="utf-8")
        (talks / f"broken{number}{file_name(text)}.json").write_text(json.dumps({text: [{text: text}]}), encoding="utf-8")
        (talks / f"cut{number}{file_name(text)}.json").write_text(f'{{"{number}', encoding="utf-8")
        (talks / f"x{number}.{file_name(text)[:20]}").write_text("x", encoding="utf-8")
        line = {"id": text, "pass": True, "score": 1.0, "threshold": 0.8, "category_scores": {text: 1.0}, "answers": {text: "YES", "MT1": "YES"}, "judge": text}
        (lines / f"{number}{file_name(text)}.jsonl").write_text(f"{json.dumps(line)}\n{json.dumps({text: text})}\n{{cut\n", encoding="utf-8")
        for arm in ("base", "understudy"):
            name = f"{arm}_seed{9000 + number}_run1"
            given = line | {"id": name, "answers": {"C1": "YES"}, "reasonings": {"C1": text}}
            (recorded / f"{name}.json").write_text(json.dumps(given), encoding="utf-8")
            spoilt = {"id": name, "exchanges": [{"user": text, "assistant": text}]} if number % 2 else {text: text}
            (talks / f"{name}.json").write_text(json.dumps(spoilt), encoding="utf-8")
    return tmp_path


COMMANDS = {
    "fidelity": lambda at: show_fidelity.main([f"transcripts={at}/talks"]),
    "slices": lambda at: show_slices.main([f"transcripts={at}/talks"]),
    "rescore": lambda at: show_rescored.main([f"checkpoints={at}/checkpoints"]),
    "rescore of a name": lambda at: show_rescored.main([f"checkpoints={at}/{ALL[:300]}"]),
    "recorded": lambda at: show_recorded.main([f"dir={at}/recorded", f"transcripts={at}/talks"]),
    "recorded of broken": lambda at: show_recorded.main([f"dir={at}/checkpoints"]),
    "an unknown word": lambda at: show_fidelity.main([ALL]),
    "an unknown domain": lambda at: show_domain.main([f"domain={ALL}"]),
    "import": lambda at: bring_in(f"{at}/talks", HOSTILE[17], HOSTILE[18], scrubbed=False),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_terminal_shows_what_strangers_wrote_and_obeys_none_of_it(folder, capfd, name):
    COMMANDS[name](folder)
    told = capfd.readouterr()
    assert told.out or told.err
    assert not CONTROL.search(told.out + told.err)
    assert not FORGED.search(told.out + told.err)


def test_the_folder_is_hostile_in_what_is_read_and_in_what_is_left_out(folder):
    found = find_transcripts(folder / "talks")
    assert len(found.transcripts) > len(NAMED)
    assert len(found.left_out) > len(NAMED)
    assert any("forged" in name for name in [*found.transcripts, *found.left_out])

"""Commands show hostile file names, keys, ids and texts as text that cannot pass for the command's own lines."""

import json
import re
from pathlib import Path

import pytest

from core.imports.transcript_files import find_transcripts
from flows.terminal.command import main
from tests.core.hostile import ALL, CONTROL, HOSTILE

NAMED = [re.sub(r"[/\x00]", "", text)[:60] for text in HOSTILE]
FORGED = re.compile(r"^(?:12:00|forged|Error: forged|\d+ of \d+ as recorded, 7)", re.MULTILINE)


def file_name(text: str) -> str:
    return text.encode("utf-8", "surrogateescape")[:180].decode("utf-8", "ignore")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Conversations, broken files, a checkpoint and recorded assessments with hostile names, keys and texts."""
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
    "fidelity": lambda at: ["fidelity", f"{at}/talks"],
    "slices": lambda at: ["slices", f"{at}/talks"],
    "rescore": lambda at: ["rescore", f"{at}/checkpoints"],
    "rescore of a name": lambda at: ["rescore", f"{at}/{ALL[:300]}"],
    "recorded": lambda at: ["evaluate-recorded", f"{at}/recorded", f"--transcripts={at}/talks"],
    "recorded of broken": lambda at: ["evaluate-recorded", f"{at}/checkpoints"],
    "an unknown word": lambda _: ["fidelity", "x", ALL],
    "an unknown option": lambda _: ["fidelity", "x", f"--{ALL}"],
    "an unknown command": lambda _: [ALL],
    "a number": lambda _: ["personas", "--count", ALL],
    "an unknown domain": lambda _: ["check-domain", "--domain", ALL],
    "settings": lambda _: ["costs", "--settings", ALL],
    "a reference": lambda _: ["train", "--dataset", ALL],
    "import": lambda at: ["import", f"{at}/talks", "--licence", HOSTILE[17], "--consent", HOSTILE[18]],
    "fidelity as JSON": lambda at: ["fidelity", f"{at}/talks", "--json"],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_text_from_files_is_shown_but_cannot_control_the_terminal(folder, capfd, monkeypatch, name):
    monkeypatch.setattr("flows.terminal.command.leave", lambda code: (_ for _ in ()).throw(SystemExit(code)))
    with pytest.raises(SystemExit):
        main(COMMANDS[name](folder))
    reported = capfd.readouterr()
    assert reported.out or reported.err
    assert not CONTROL.search(reported.out + reported.err)
    assert not FORGED.search(reported.out + reported.err)


def test_the_test_folder_has_hostile_text_in_imported_and_skipped_files(folder):
    found = find_transcripts(folder / "talks")
    assert len(found.transcripts) > len(NAMED)
    assert len(found.left_out) > len(NAMED)
    assert any("forged" in name for name in [*found.transcripts, *found.left_out])

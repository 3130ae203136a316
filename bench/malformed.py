"""Corrupts every file that a person or a model writes in many ways and reads it again. Only errors of `core/errors.py` may be raised.

    python -m bench.malformed [cases for each file, by default 40] [seed]

Takes a minute.

Prints how many files were read, how many were refused, and what else happened (tracebacks and hangs). Exits with code 1 if anything else happened.
"""

import copy
import json
import random
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from core.errors import UnderstudyError
from core.evaluation.fresh_personas import read_personas
from core.evaluation.general_prompts import load_general_prompts
from core.imports.transcript_files import find_transcripts
from core.judging.checkpoints import read_checkpoints
from core.packs.pack import load_pack
from core.paths import CODE
from core.rehearsal.personas import sample_batch
from core.settings.pipeline import load_settings, load_training
from core.training.hardware import load_hardware

HANG_SECONDS = 5
DOMAIN = "coding-mentor"
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 10**9, 10**30, -5, 0.5, 1e308, float("inf"), float("nan"), "", " ", "no", "010", "1_000", "٣", "abc", "../../../etc/passwd",
    "\u202e\x1b[31m", "a\u2028b", "😀" * 50, "x" * 20_000, [], {}, [[]], [1, "a", None], {"a": {"b": [{}]}}, [8, 4], ["a", "a"], "{{ 1/0 }}", "2026-02-30",
    "[", "*", "(?<x",
)  # fmt: skip
"""Replacements for a value."""
TEXTS: tuple[Callable[[str], bytes], ...] = (
    lambda text: b"",
    lambda text: b"\xef\xbb\xbf" + text.encode(),
    lambda text: text.encode("utf-16"),
    lambda text: text.encode() + b"\xff\xfe\x00",
    lambda text: text.encode() + b"\x00",
    lambda text: text.encode()[: len(text) // 2],
    lambda text: text.encode() * 2,
    lambda text: text.encode() + b"\n---\na: 1\n",
    lambda text: b"a: &a [x, x, x, x]\n" + b"".join(f"{n}: &{n} [*{p}, *{p}, *{p}, *{p}, *{p}, *{p}]\n".encode() for p, n in pairwise("abcdefgh")),
    lambda text: b"&a [*a]",
    lambda text: b"a: &a\n  b: *a\n",
    lambda text: b"[" * 50_000,
    lambda text: b"{a: " * 2000,
    lambda text: b"- " * 5000 + b"x",
    lambda text: text.replace(": ", ":\t").encode(),
    lambda text: text.encode() + b"\n? [a, b]\n: c\n",
    lambda text: text.encode() + b"\n<<: {a: 1}\n",
    lambda text: text.encode() + b"\nx: !!python/object/apply:os.system [id]\n",
    lambda text: text.encode() + b"\nx: 2026-02-30\n",
    lambda text: text.encode() + b"\nx: " + b"9" * 6000 + b"\n",
    lambda text: b'"\\ud83d"',
    lambda text: b"1",
    lambda text: b"text",
    lambda text: b"null",
    lambda text: b"true",
    lambda text: b"---\n" + text.encode(),
    lambda text: b"---\ninputs: 5\n---\ntext",
    lambda text: b"---\ninputs: [[a]]\n---\n{{ a }}",
    lambda text: b"---\ninputs: {a: 1}\n---\n{{ a }}",
    lambda text: b"---\n1: 2\n---\n{{ a }}",
    lambda text: b"---\n[a]\n---\n{% macro m() %}{{ m() }}{% endmacro %}",
)  # fmt: skip
"""Corruptions of a complete file."""


PIECES = ("{{ x }}", "{% if %}", "{{ 1/0 }}", "\x00", "\ufeff", "---\n", "{{ ''.__class__ }}", "{% endfor %}")
"""Texts to insert somewhere into a prompt."""


class Hang(BaseException):
    """Reading took longer than HANG_SECONDS."""


def places(data: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the paths of all values within nested data, including the data itself."""
    yield path
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        yield from places(value, (*path, key))


def spoilt(data: Any, chance: random.Random) -> Any:
    """Return a copy in which one value is replaced, renamed or removed."""
    changed, path = copy.deepcopy(data), chance.choice(list(places(data)))
    if not path:
        return chance.choice(VALUES)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    how = chance.random()
    if how < 0.15:
        del parent[path[-1]]
    elif how < 0.25 and isinstance(parent, dict):
        parent[str(chance.choice(VALUES))[:40]] = parent.pop(path[-1])
    else:
        parent[path[-1]] = chance.choice(VALUES)
    return changed


def spoilt_text(path: Path, text: str, chance: random.Random) -> bytes:
    """Return a file's bytes, corrupted in one place or as a whole."""
    how = chance.random()
    if how < 0.3 or path.suffix == ".md":
        if how > 0.5:
            at = chance.randrange(len(text) + 1)
            return (text[:at] + chance.choice(PIECES) + text[at:]).encode()
        return chance.choice(TEXTS)(text)
    if path.suffix in (".json", ".jsonl"):
        return json.dumps(spoilt(json.loads(text), chance)).encode()
    return yaml.safe_dump(spoilt(yaml.safe_load(text), chance), allow_unicode=True, sort_keys=False).encode()


def inputs(root: Path) -> Iterator[tuple[Path, Callable[[Path], Any]]]:
    """Copy the shipped files and write some results; yield each file with the function that reads it."""
    shutil.copytree(CODE / "config", root / "config", ignore=shutil.ignore_patterns("therapeutic-coaching"))
    shutil.copytree(CODE / "prompts", root / "prompts", ignore=shutil.ignore_patterns("therapeutic-coaching"))
    whole = load_pack(DOMAIN)
    persona = sample_batch(whole, 0, 1)[0].model_dump(mode="json")
    transcript = {"id": "t", "persona": persona, "exchanges": [{"user": "Hello.", "assistant": "Hello, you."}] * 3}
    verdict = {"criterion": "CO1", "answer": "YES", "reasoning": "Because."}
    (root / "transcripts").mkdir()
    written = {
        "personas.json": [1, persona],
        "transcripts/t.json": transcript,
        "assessed.jsonl": {"transcript_id": "t", "rubric_hash": "0", "judge": "scripted/judge", "verdicts": [verdict]},
    }
    for name, value in written.items():
        (root / name).write_text(json.dumps(value), encoding="utf-8")
    for name in ("pipeline", "demo"):
        yield root / f"config/{name}.yaml", lambda path: load_settings(str(path), root)
    for path in sorted((root / "config/training").glob("*.yaml")):
        yield path, lambda path: load_training(str(path), root)
    yield root / "config/hardware.yaml", lambda _: load_hardware(root)
    pack = root / "config/domains" / DOMAIN
    for path in sorted([*pack.glob("*.yaml"), *pack.glob("*.md"), *(root / "prompts" / DOMAIN).rglob("*.md")]):
        yield path, lambda _: sample_batch(load_pack(DOMAIN, root), 0, 2)
    yield root / "prompts/shared/general.yaml", load_general_prompts
    yield root / "personas.json", lambda path: read_personas(path, whole, (3, 3))
    yield root / "transcripts/t.json", lambda path: find_transcripts(path.parent)
    yield root / "assessed.jsonl", lambda path: read_checkpoints([path])


def outcome(read: Callable[[Path], Any], path: Path) -> str:
    """Read a file; return `read`, `refused`, `hang`, or the unexpected exception."""

    def late(*_: Any) -> None:
        raise Hang

    signal.signal(signal.SIGALRM, late)
    signal.alarm(HANG_SECONDS)
    try:
        read(path)
    except UnderstudyError:
        return "refused"
    except Hang:
        return "hang"
    except Exception as error:
        return f"{type(error).__name__}: {str(error)[:100]}"
    finally:
        signal.alarm(0)
    return "read"


def malformed(each: int, seed: int = 0) -> Iterator[tuple[Path, bytes, str]]:
    """Corrupt every file `each` times; yield the file, its bytes and the outcome."""
    chance = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        for path, read in inputs(Path(folder)):
            text = path.read_text(encoding="utf-8")
            for _ in range(each):
                data = spoilt_text(path, text, chance)
                path.write_bytes(data)
                yield path.relative_to(folder), data, outcome(read, path)
            path.write_text(text, encoding="utf-8")


def main(words: list[str]) -> int:
    """Print the counts and every unexpected outcome; return the exit code."""
    numbers = [int(word) for word in words]
    counted, bad = Counter[str](), list[str]()
    for path, _, result in malformed(*numbers or [40]):
        counted[result if result in ("read", "refused", "hang") else "traceback"] += 1
        if result not in ("read", "refused"):
            bad.append(f"{path}: {result}")
    counts = ", ".join(f"{count} {result}" for result, count in counted.most_common())
    print(f"{counted.total()} malformed inputs: {counts}", *sorted(set(bad)), sep="\n")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The guards' error rates by kind: `python -m tests.core.rehearsal.guard_rates` prints them and every misjudged message."""

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import yaml

from core.packs.pack import load_pack
from core.records import Side
from core.rehearsal.guards import find_fault
from tests.conftest import CHECKOUT

CORPUS = CHECKOUT / "tests/core/rehearsal/guard_corpus"


@dataclass(frozen=True)
class Item:
    """A message of the corpus; `kind` is its fault, or what makes an innocent one look faulty."""

    domain: str
    side: Side
    faulty: bool
    kind: str
    text: str
    earlier: tuple[str, ...]

    @property
    def found(self) -> tuple[str, str] | None:
        """The fault that the guards find, with its excerpt."""
        finding = find_fault(load_pack(self.domain).guards, self.side, self.text, self.earlier)
        return (finding[0].value, finding[1]) if finding else None


def corpus() -> list[Item]:
    """Return all messages of the corpus."""
    return list(_read())


def _read() -> Iterator[Item]:
    for path in sorted(CORPUS.glob("*.yaml")):
        whole = yaml.safe_load(path.read_text(encoding="utf-8"))
        for faulty, kinds in ((True, whole["faults"]), (False, whole["innocent"])):
            for kind, items in kinds.items():
                for item in items:
                    given = item if isinstance(item, dict) else {"text": item}
                    yield Item(whole["domain"], whole["side"], faulty, kind, given["text"], tuple(given.get("earlier", ())))


def rates(items: list[Item]) -> dict[tuple[bool, str, str], tuple[int, int]]:
    """Return the messages refused and all messages, by whether they are faulty, kind and domain."""
    counts: dict[tuple[bool, str, str], list[bool]] = defaultdict(list)
    for item in items:
        counts[item.faulty, item.kind, item.domain].append(item.found is not None)
    return {key: (sum(refused), len(refused)) for key, refused in sorted(counts.items(), reverse=True)}


def say(line: str) -> None:
    sys.stdout.write(line + "\n")


def main() -> None:
    """Print the rates as a table, and the errors."""
    items = corpus()
    say("| messages | domain | refused | of |\n|---|---|---|---|")
    for (faulty, kind, domain), (refused, count) in rates(items).items():
        say(f"| {'fault' if faulty else 'innocent'}: {kind.replace('_', ' ')} | {domain} | {refused} | {count} |")
    for faulty in (True, False):
        flagged = [item.found is not None for item in items if item.faulty == faulty]
        say(f"| all {'faults' if faulty else 'innocent'} | | {sum(flagged)} | {len(flagged)} |")
    for item in items:
        if item.faulty == (item.found is None):
            say(f"- {item.domain} {item.side} {item.kind}: {item.text!r:.160} {item.found}")


if __name__ == "__main__":
    main()

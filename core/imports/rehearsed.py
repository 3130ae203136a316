"""Finds the rehearsed transcripts of a domain; only files that the index does not have are read."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.records import Transcript, TranscriptRef
from core.storage.file_states import FileState
from core.storage.index import known_facts
from core.storage.store import Store

AT_ONCE = 200
"""Number of transcripts that are read together; an object store receives that many requests at once."""


@dataclass(frozen=True)
class Rehearsed:
    """The rehearsed transcripts of a domain.

    Args:
        refs: the transcripts, sorted by file name.
        states: by file name, the state of the file before it was read.
        damaged: by file name, why a file cannot be read.
    """

    refs: list[TranscriptRef]
    states: dict[str, FileState]
    damaged: dict[str, str]


def rehearsed(store: Store, domain: str) -> Rehearsed:
    """Return the rehearsed transcripts of a domain."""
    folder, damaged = f"transcripts/{domain}", dict[str, str]()

    def read(names: Sequence[str]) -> dict[str, TranscriptRef]:
        refs: dict[str, TranscriptRef] = {}
        for begin in range(0, len(names), AT_ONCE):
            transcripts, broken = store.load_all(names[begin : begin + AT_ONCE], Transcript)
            damaged.update(broken)
            refs |= {path: TranscriptRef(id=item.id, path=path, exchanges=len(item.exchanges)) for path, item in transcripts.items()}
        return refs

    states = store.states_in(folder, ".json")
    refs = known_facts(store, folder, TranscriptRef, states, read)
    return Rehearsed([refs[path] for path in sorted(refs)], states, damaged)

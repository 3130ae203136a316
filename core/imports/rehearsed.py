"""The transcripts that were rehearsed for a domain, of which only those are read that no index knows."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.records import Transcript, TranscriptRef
from core.storage.file_states import FileState
from core.storage.index import known_facts
from core.storage.store import Store

AT_ONCE = 200
"""Transcripts that are in memory together; an object store is asked for so many side by side."""


@dataclass(frozen=True)
class Rehearsed:
    """The transcripts of a domain.

    Args:
        refs: in the order of their names.
        states: of their files, from before these were read.
        damaged: by name, why a file cannot be read.
    """

    refs: list[TranscriptRef]
    states: dict[str, FileState]
    damaged: dict[str, str]


def rehearsed(store: Store, domain: str) -> Rehearsed:
    """Return the transcripts that were rehearsed for a domain."""
    folder, damaged = f"transcripts/{domain}", dict[str, str]()

    def read(names: Sequence[str]) -> dict[str, TranscriptRef]:
        refs: dict[str, TranscriptRef] = {}
        for begin in range(0, len(names), AT_ONCE):
            found, broken = store.load_all(names[begin : begin + AT_ONCE], Transcript)
            damaged.update(broken)
            refs |= {path: TranscriptRef(id=item.id, path=path, exchanges=len(item.exchanges)) for path, item in found.items()}
        return refs

    states = store.states_in(folder, ".json")
    refs = known_facts(store, folder, TranscriptRef, states, read)
    return Rehearsed([refs[path] for path in sorted(refs)], states, damaged)

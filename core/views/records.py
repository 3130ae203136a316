"""What the data root holds, by kind, as the studio lists it: small records, read again only where a file has changed."""

import threading
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from core.errors import StoreError
from core.records import AssessmentBatch
from core.storage.file_states import FileState
from core.storage.store import Store

Kind = TypeVar("Kind", bound=BaseModel)
MOST = 2000
"""Records that are kept in memory."""

_KNOWN: dict[tuple[str, str], tuple[FileState, Any]] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class Found(Generic[Kind]):
    """A record and its file."""

    name: str
    modified: float
    record: Kind


def read_all(store: Store, names: list[str], kind: type[Kind]) -> list[Found[Kind]]:
    """Return records, the last written first; what is damaged, or of another version, is left out."""
    found = []
    for name, state in store.states(names).items():
        key, known = (store.root, name), _KNOWN.get((store.root, name))
        if known is None or known[0] != state or not isinstance(known[1], kind):
            try:
                known = (state, store.load(name, kind))
            except StoreError:
                continue
            with _LOCK:
                if len(_KNOWN) >= MOST:
                    _KNOWN.clear()
                _KNOWN[key] = known
        found.append(Found(name, state.modified, cast("Kind", known[1])))
    return sorted(found, key=lambda one: (-one.modified, one.name))


def assessment_batches(store: Store) -> list[Found[AssessmentBatch]]:
    """Return all batches of assessments, the last written first."""
    return read_all(store, store.names("batches", ".json", beginning="assessments-"), AssessmentBatch)

"""Small records of the data root, cached in memory and read again only if their file has changed."""

import threading
from dataclasses import dataclass
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel

from core.errors import StoreError
from core.records import AssessmentBatch
from core.storage.file_states import FileState
from core.storage.store import Store

Kind = TypeVar("Kind", bound=BaseModel)
CACHE_SIZE = 2000
"""Maximum number of records in memory."""

_CACHE: dict[tuple[str, str], tuple[FileState, Any]] = {}
_LOCK = threading.Lock()


@dataclass(frozen=True)
class StoredRecord(Generic[Kind]):
    """A record and its file.

    Args:
        name: path below the data root.
        modified: Unix time of the last change, in seconds.
    """

    name: str
    modified: float
    record: Kind


def read_all(store: Store, names: list[str], kind: type[Kind]) -> list[StoredRecord[Kind]]:
    """Return records, the newest first; files that are damaged or of another version are left out.

    Args:
        names: paths below the data root.
    """
    records = []
    for name, state in store.states(names).items():
        key, cached = (store.root, name), _CACHE.get((store.root, name))
        if cached is None or cached[0] != state or not isinstance(cached[1], kind):
            try:
                cached = (state, store.load(name, kind))
            except StoreError:
                continue
            with _LOCK:
                if len(_CACHE) >= CACHE_SIZE:
                    _CACHE.clear()
                _CACHE[key] = cached
        records.append(StoredRecord(name, state.modified, cast("Kind", cached[1])))
    return sorted(records, key=lambda one: (-one.modified, one.name))


def assessment_batches(store: Store) -> list[StoredRecord[AssessmentBatch]]:
    """Return all batches of assessments that have a conversation, the newest first. A repair that repaired nothing leaves an empty one."""
    batches = read_all(store, store.names("batches", ".json", beginning="assessments-"), AssessmentBatch)
    return [one for one in batches if one.record.assessments or one.record.left_out]

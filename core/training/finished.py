"""The result of a job, once it is in the data root."""

from dataclasses import dataclass
from typing import Any

from core.records import ModelRef
from core.storage.file_facts import is_whole
from core.storage.store import Store
from core.training.job_spec import HUB_FILE, JobSpec


@dataclass(frozen=True)
class FinishedJob:
    """What a job's script wrote into its last file, and where the result lies besides in a repository."""

    facts: dict[str, Any]
    place: dict[str, str]

    def model(self, spec: JobSpec, name: str) -> ModelRef:
        """Return it as a model."""
        return ModelRef(path=spec.folder, name=name, **self.place)


def made_before(store: Store, spec: JobSpec) -> FinishedJob | None:
    """Return a job's result, if it is in the data root with all its files."""
    known = f"{spec.folder}/{HUB_FILE}"
    on_hub = store.load_json(known) if store.exists(known) else {}
    # what a job elsewhere made is in its repository, and here is what was fetched of it
    if not is_whole(store, spec.folder, spec.finished, spec.fetch if on_hub else None):
        return None
    return FinishedJob(store.load_json(f"{spec.folder}/{spec.finished}"), on_hub)

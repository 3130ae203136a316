"""Results of finished jobs in the data root."""

from dataclasses import dataclass
from typing import Any

from core.records import ModelRef
from core.storage.file_facts import is_complete
from core.storage.store import Store
from core.training.job_spec import HUB_FILE, JobSpec


@dataclass(frozen=True)
class FinishedJob:
    """The result of a job.

    Args:
        facts: contents of the file that the script writes last.
        place: repository, commit and address of the result on the Hub; empty if it is only in the data root.
    """

    facts: dict[str, Any]
    place: dict[str, str]

    def model(self, spec: JobSpec, name: str) -> ModelRef:
        """Return the result as a reference to a model."""
        return ModelRef(path=spec.folder, name=name, **self.place)


def find_finished_job(store: Store, spec: JobSpec) -> FinishedJob | None:
    """Return a job's result if it is in the data root with all its files; otherwise None."""
    name = f"{spec.folder}/{HUB_FILE}"
    on_hub = store.load_json(name) if store.exists(name) else {}
    # the result of a paid job is in its repository; only the files in `spec.fetch` are here
    if not is_complete(store, spec.folder, spec.finished, spec.fetch if on_hub else None):
        return None
    return FinishedJob(store.load_json(f"{spec.folder}/{spec.finished}"), on_hub)

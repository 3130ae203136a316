"""Download the results of paid jobs from their repositories to the data root."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

from blocks.hf_job import HfJob
from core.errors import HubError, JobError
from core.storage.file_facts import is_complete
from core.storage.leftovers import is_abandoned, others, unfinished
from core.storage.store import Store
from core.training.job_spec import HUB_FILE, JOB_FILE, JobResult, JobSpec


def fetch_result(store: Store, block: HfJob, result: JobResult, paid: dict[str, Any], spec: JobSpec, place: Path) -> None:
    """Download the files of a result that this machine needs, verify their checksums, and move them to their place.

    Args:
        paid: facts about the job's machine and cost, stored with the result.
        spec: the job's specification, which names the files.
        place: path of the result.

    Raises:
        JobError: the repository lacks a file.
        HubError: the Hub does not answer, or a checksum is wrong.
    """
    part = unfinished(place, "fetched")  # one per process: another flow may fetch the same result
    for stopped in filter(is_abandoned, others(place, "fetched")):
        if not part.exists():
            stopped.rename(part)
    for name in [*spec.fetch, spec.finished]:
        path = block.hub.fetch(result.repo, "model", result.commit, name, part)
        if path is None:
            raise JobError(f"{result.repo} at {result.commit[:12]} has no {name}. Look at {result.url}.")
        expected = result.facts["files"].get(name)
        with path.open("rb") as file:
            if expected and hashlib.file_digest(file, "sha256").hexdigest() != expected["sha256"]:
                path.unlink()
                raise HubError(
                    f"{name} of {result.repo} at {result.commit[:12]} does not match the checksum that its job reported. Run the same command again."
                )
    (part / HUB_FILE).write_text(json.dumps({"repo": result.repo, "commit": result.commit, "url": result.url}), encoding="utf-8")
    (part / JOB_FILE).write_text(json.dumps(paid), encoding="utf-8")
    shutil.rmtree(part / ".cache", ignore_errors=True)  # the client's records of the download
    if not is_complete(store, spec.folder, spec.finished, spec.fetch):
        shutil.rmtree(place, ignore_errors=True)  # it is unfinished, or a file was removed
        try:
            part.rename(place)
        except OSError:
            if not is_complete(store, spec.folder, spec.finished, spec.fetch):  # otherwise another flow was faster
                raise
    shutil.rmtree(part, ignore_errors=True)

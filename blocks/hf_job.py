"""Hugging Face Jobs. A job is submitted once, no matter how often and by how many processes it is requested."""

import asyncio
import json
import math
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, JobHardwareInfo, JobInfo, Volume
from huggingface_hub.errors import JobNotFoundError
from prefect.blocks.abstract import JobBlock
from pydantic import Field, HttpUrl, SecretStr

from blocks.hf_calls import NotYetError, explained, may_pass, pause, underlying
from blocks.hf_hub import HfHub
from blocks.hf_job_run import HfJobRun
from core.errors import HubError, JobError
from core.redaction import learn
from core.storage.leftovers import mark
from core.training.job_spec import KEY_LABEL, MOUNT, RUN_LABEL, JobResources, JobResult, JobSpec, JobStatus, first_alive, may_still_run, words

FILES = "understudy-jobs"
"""Repository of the paying account from which the jobs read their scripts and the accompanying files."""

JOB_TOKEN = "HF_JOB_TOKEN"
"""Environment variable with the token for jobs. Without it, jobs get the token that submits them."""


class HfJob(JobBlock[JobResult]):
    """A job script on Hugging Face Jobs.

    Example:
        See what a saved account may use:
        ```python
        from blocks.hf_job import HfJob

        job = HfJob.load("BLOCK_NAME")
        print(job.offered())
        ```
    """

    _block_type_name = "Understudy Hugging Face Job"
    _block_type_slug = "understudy-hf-job"
    _documentation_url = HttpUrl("https://huggingface.co/docs/huggingface_hub/guides/jobs")

    hub: HfHub = Field(default_factory=HfHub, title="Hub", description="The account, by its token.")
    namespace: str = Field(default="", title="Namespace", description="Whose account pays: a user or an organisation. By default that of export.repo.")
    settle_seconds: float = Field(
        default=3, ge=0, title="Settle", description="Seconds after a submission before a check whether another process submitted the same job."
    )

    def offered(self) -> dict[str, tuple[float, float | None]]:
        """Return the machines that the service offers, as far as they have at most one GPU.

        Returns:
            By flavor: the price in USD an hour, and the GPU's memory in GB (None without a GPU).

        Raises:
            HubError: the service does not answer.
        """
        api = self.hub.get_client()

        def ask() -> dict[str, tuple[float, float | None]]:
            return {str(item.name): _price(item) for item in api.list_jobs_hardware() if item.accelerator is None or str(item.accelerator.quantity) == "1"}

        return self.hub.with_retries("asking for the hardware of jobs", ask)

    async def trigger(self, spec: JobSpec, resources: JobResources | None, script: Path, place: Path) -> HfJobRun | JobResult:  # ty: ignore[incompatible-method-override]
        """Return the finished result of a specification, or else its running job, or else a job that is submitted now.

        If this call is cancelled during a submission, the submission is awaited and its job is cancelled; a failure to cancel it is logged.

        Args:
            spec: what the job makes.
            resources: what the job may use; None if nothing may be bought.
            script: path of the job script.
            place: path of the result.

        Raises:
            HubError: the job cannot be submitted.
            JobError: there is no result and no job, and nothing may be bought.
        """
        submission = asyncio.ensure_future(asyncio.to_thread(self._submit_once, spec, resources, script, place))
        try:
            job, existed = await asyncio.shield(submission)
        except asyncio.CancelledError:
            await self._undo(submission)
            raise
        return job if isinstance(job, JobResult) else HfJobRun(self, spec, job, place, existed)

    def find_result(self, spec: JobSpec, place: Path) -> JobResult | None:
        """Return a specification's finished result. None if there is none, or if its files do not match the sizes and checksums that it lists.

        Raises:
            HubError: the Hub does not answer.
        """
        commit = self.hub.commit_of(spec.repo, "model", spec.tag)
        if commit is None:
            return None
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.TemporaryDirectory(dir=place.parent, prefix=mark("told"), ignore_cleanup_errors=True) as folder:
                path = self.hub.fetch(spec.repo, "model", commit, spec.finished, Path(folder))
                if path is None:
                    return None
                facts: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            listed = {str(name): (int(file["bytes"]), str(file["sha256"])) for name, file in facts["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        sums = self.hub.sums(spec.repo, "model", commit, list(listed)) if listed else {}
        same = all(name in sums and sums[name][0] == size and sums[name][1] in (None, sha256) for name, (size, sha256) in listed.items())
        return JobResult(spec.repo, commit, self.hub.page(spec.repo, "model", commit), facts) if same and listed else None

    def find_jobs(self, label: str, value: str) -> list[JobStatus]:
        """Return all jobs, ended or not, whose label has a value.

        Raises:
            HubError: the service does not answer.
        """
        api = self.hub.get_client()

        def ask() -> list[JobStatus]:
            # checked here too, in case the service ignores the filter
            return [_status(job) for job in api.list_jobs(labels={label: value}, namespace=self.namespace) if (job.labels or {}).get(label) == value]

        return self.hub.with_retries("looking for jobs", ask)

    def look(self, job: str) -> JobStatus:
        """Return the current state of a job.

        Args:
            job: the job's id.

        Raises:
            JobNotFoundError: the service does not know the job.
            HubError: the service does not answer.
        """
        try:
            return _status(self.hub.get_client().inspect_job(job_id=job, namespace=self.namespace))
        except JobNotFoundError:
            raise
        except Exception as error:
            raise explained("reading the state of a job", underlying(error), 1, self.hub.endpoint) from error

    def lines(self, job: str) -> Iterable[str]:
        """Yield the lines of a job's log from the first, and wait for more until the job has ended."""
        return self.hub.get_client().fetch_job_logs(job_id=job, namespace=self.namespace, follow=True)

    def cancel(self, job: str) -> None:
        """Cancel a job, and verify that it has ended; a job that has already ended stays as it is.

        Raises:
            HubError: the service does not answer, or the job still runs.
        """
        api = self.hub.get_client()

        def ask() -> None:
            try:
                api.cancel_job(job_id=job, namespace=self.namespace)
                now = _status(api.inspect_job(job_id=job, namespace=self.namespace))
            except JobNotFoundError:
                return  # a job that does not exist costs nothing
            if not now.ended:
                raise NotYetError(f"the job {job} is {now.stage}")

        self.hub.with_retries("cancelling a job", ask)

    def cancel_or_say(self, job: JobStatus) -> bool:
        """Cancel a job, or log that it may still run; return whether it was cancelled."""
        try:
            self.cancel(job.id)
        except Exception as error:  # of any kind: the user must learn of a job that still costs money
            self.logger.error("%s %s", may_still_run(job), error)
            return False
        return True

    def agreed(self, spec: JobSpec) -> JobStatus | None:
        """Return the job of a specification; None if no job is running. Of several jobs all processes choose the same one, and cancel the others.

        Raises:
            HubError: the service does not answer.
        """
        job, superfluous = first_alive(self.find_jobs(KEY_LABEL, spec.key))
        for other in superfluous:
            self.cancel_or_say(other)
        return job

    def job_hub(self) -> HfHub:
        """Return the Hub with the token that jobs get: HF_JOB_TOKEN if it is set."""
        return self.hub.model_copy(update={"token": SecretStr(learn(os.environ[JOB_TOKEN]))}) if os.environ.get(JOB_TOKEN) else self.hub

    def _submit_once(self, spec: JobSpec, resources: JobResources | None, script: Path, place: Path) -> tuple[JobStatus | JobResult, bool]:
        """Return the job or the result of a specification, and whether it existed before; submit the job if neither exists.

        The service does not prevent duplicates, so the job's label is searched for before the submission, after each lost answer, and after a success.
        """
        # first the job, then the result: a job that ends between the two look-ups has tagged its result
        if existing := self.agreed(spec) or self.find_result(spec, place):
            return existing, True
        if resources is None:
            raise JobError(f"The result or job of {spec.key} existed a moment ago and is gone. Run the same command again: it plans a new job.")
        files: dict[str, Path | bytes] = {spec.script: script, **{name: script.with_name(name) for name in spec.companions}}
        files |= {name: text.encode() for name, text in spec.files.values()}
        commit = self.hub.push(f"{self.namespace}/{FILES}", "dataset", files, f"For {spec.key}", spec.key, private=True).oid
        api = self.hub.get_client()
        for attempt in range(1, self.hub.attempts + 1):
            try:
                submitted = _status(self._post(api, spec, resources, commit))
            except Exception as raised:
                error = underlying(raised)
                if not may_pass(error):
                    raise explained("submitting a job", error, attempt, self.hub.endpoint) from error
                pause(error, attempt)
                # the job may have been submitted although the answer was an error
                if existing := self._look_again(spec, error, attempt):
                    return existing, False
            else:
                time.sleep(self.settle_seconds)
                try:
                    return self.agreed(spec) or submitted, False
                except HubError as trouble:
                    self.logger.warning("It is not known yet whether the job %s is the only one with its key. %s", submitted.id, trouble)
                    return submitted, False
        raise AssertionError

    def _look_again(self, spec: JobSpec, error: BaseException, attempt: int) -> JobStatus | None:
        """Return the job of a submission that seemed to fail; None if there is none.

        Raises:
            HubError: the service does not answer, or there is no job after the last attempt.
        """
        perhaps = f"A job may still appear: {self._page()} shows it, and the same command resumes it."
        try:
            existing = self.agreed(spec)
        except HubError as trouble:
            raise HubError(f"{trouble} {perhaps}") from error
        if existing is None and attempt == self.hub.attempts:
            raise HubError(f"{explained('submitting a job', error, attempt, self.hub.endpoint)} {perhaps}") from error
        return existing

    async def _undo(self, submission: "asyncio.Future[tuple[JobStatus | JobResult, bool]]") -> None:
        """Await a submission, and cancel its job."""
        try:
            job = (await submission)[0]
        except Exception as error:
            self.logger.error("A job may have been submitted anyway; look at %s and cancel it there. %s", self._page(), error)
            return
        if isinstance(job, JobStatus):
            await asyncio.to_thread(self.cancel_or_say, job)

    def _page(self) -> str:
        return f"{self.hub.where()}/jobs/{self.namespace}"

    def _post(self, api: HfApi, spec: JobSpec, resources: JobResources, commit: str) -> JobInfo:
        files = {argument: f"{MOUNT}/{name}" for argument, (name, _) in spec.files.items()}
        where: dict[str, Any] = {"output": spec.stage, "push-to": spec.repo, "push-tag": spec.tag, "public": not spec.private}
        return api.run_job(
            image=resources.image,
            command=["uv", "run", f"{MOUNT}/{spec.script}", *words({**spec.arguments, **spec.remote, **files, **where})],
            secrets={"HF_TOKEN": self.job_hub().environment().get("HF_TOKEN", "")},
            flavor=resources.flavor,
            timeout=resources.timeout_seconds,
            labels={**resources.labels, KEY_LABEL: spec.key, RUN_LABEL: resources.run},
            volumes=[Volume(type="dataset", source=f"{self.namespace}/{FILES}", mount_path=MOUNT, revision=commit)],
            namespace=self.namespace,
        )


def _price(item: JobHardwareInfo) -> tuple[float, float | None]:
    """Return the price in USD an hour, and the GPU's memory in GB; None without a GPU.

    Raises:
        ValueError: the price is not a positive number, so a budget could not be kept.
    """
    memory = "".join(letter for letter in str(item.accelerator.vram) if letter.isdigit() or letter == ".") if item.accelerator else ""
    hourly = float(item.unit_cost_usd) * {"minute": 60, "hour": 1}[item.unit_label]
    if not (math.isfinite(hourly) and hourly > 0):
        raise ValueError(f"{item.name} costs {item.unit_cost_usd} USD")
    return hourly, float(memory) if memory else None


def _status(job: JobInfo) -> JobStatus:
    """Return the state of a job; an incomplete answer of the service raises an arbitrary error."""
    message, image, times = str(job.status.message or ""), str(job.docker_image or job.space_id or ""), (job.created_at, job.started_at, job.finished_at)
    return JobStatus(str(job.id), str(job.status.stage), job.url, str(job.flavor or ""), message, *times, labels=job.labels or {}, image=image)

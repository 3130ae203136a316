"""Hugging Face Jobs: a job is submitted once, however often and by however many it is asked for."""

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
"""Repository, of the account that pays, in which scripts and the files that go along reach the jobs."""

JOB_TOKEN = "HF_JOB_TOKEN"
"""Environment variable with the token that jobs are given, where it is another than the one that submits them."""


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
    settle_seconds: float = Field(default=3, ge=0, title="Settle", description="Seconds after which it is looked whether another submitter was as quick.")

    def offered(self) -> dict[str, tuple[float, float | None]]:
        """Return what the service offers: USD an hour and GB of one GPU's memory, by flavor of a single GPU or none.

        Raises:
            HubError: it cannot be asked.
        """
        api = self.hub.get_client()

        def ask() -> dict[str, tuple[float, float | None]]:
            return {str(item.name): _price(item) for item in api.list_jobs_hardware() if item.accelerator is None or str(item.accelerator.quantity) == "1"}

        return self.hub.patiently("asking for the hardware of jobs", ask)

    async def trigger(self, spec: JobSpec, resources: JobResources | None, script: Path, place: Path) -> HfJobRun | JobResult:  # ty: ignore[incompatible-method-override]
        """Return what makes what is asked for: its finished result, the job that is under way, or one that is submitted now.

        A submission that is cancelled while it is under way is waited for, and then the job is cancelled; if that fails it is said.

        Args:
            resources: none if nothing may be bought.
            script: path of the job script.
            place: where the result will lie.

        Raises:
            HubError: it cannot be submitted.
            JobError: nothing is there, and nothing may be bought.
        """
        submission = asyncio.ensure_future(asyncio.to_thread(self._submit_once, spec, resources, script, place))
        try:
            job, found = await asyncio.shield(submission)
        except asyncio.CancelledError:
            await self._undo(submission)
            raise
        return job if isinstance(job, JobResult) else HfJobRun(self, spec, job, place, found)

    def find_made(self, spec: JobSpec, place: Path) -> JobResult | None:
        """Return a specification's finished result, or none; a result that is not what it tells of itself counts as none.

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
            wanted = {str(name): (int(file["bytes"]), str(file["sha256"])) for name, file in facts["files"].items()}
        except (ValueError, KeyError, TypeError, AttributeError):
            return None
        there = self.hub.sums(spec.repo, "model", commit, list(wanted)) if wanted else {}
        same = all(name in there and there[name][0] == size and there[name][1] in (None, sha256) for name, (size, sha256) in wanted.items())
        return JobResult(spec.repo, commit, self.hub.page(spec.repo, "model", commit), facts) if same and wanted else None

    def find_jobs(self, label: str, value: str) -> list[JobStatus]:
        """Return all jobs that have a label, ended or not.

        Raises:
            HubError: the service does not answer.
        """
        api = self.hub.get_client()

        def ask() -> list[JobStatus]:
            # the service could leave the filter out
            return [_paid(job) for job in api.list_jobs(labels={label: value}, namespace=self.namespace) if (job.labels or {}).get(label) == value]

        return self.hub.patiently("looking for jobs", ask)

    def look(self, job: str) -> JobStatus:
        """Return a job as it is.

        Raises:
            JobNotFoundError: the service does not know it.
            HubError: the service does not answer.
        """
        try:
            return _paid(self.hub.get_client().inspect_job(job_id=job, namespace=self.namespace))
        except JobNotFoundError:
            raise
        except Exception as error:
            raise explained("looking at a job", underlying(error), 1, self.hub.endpoint) from error

    def lines(self, job: str) -> Iterable[str]:
        """Return a job's log from its first line, waiting for more until it has ended."""
        return self.hub.get_client().fetch_job_logs(job_id=job, namespace=self.namespace, follow=True)

    def cancel(self, job: str) -> None:
        """Have a job stopped, and see that it is; one that has ended stays as it is.

        Raises:
            HubError: the service does not answer, or the job still runs.
        """
        api = self.hub.get_client()

        def ask() -> None:
            try:
                api.cancel_job(job_id=job, namespace=self.namespace)
                now = _paid(api.inspect_job(job_id=job, namespace=self.namespace))
            except JobNotFoundError:
                return  # what is not there costs nothing
            if not now.ended:
                raise NotYetError(f"the job {job} is {now.stage}")

        self.hub.patiently("cancelling a job", ask)

    def cancel_or_say(self, job: JobStatus) -> bool:
        """Have a job stopped, or log that it may go on; return whether it is stopped."""
        try:
            self.cancel(job.id)
        except Exception as error:  # whatever it is, a job that costs must not be passed over
            self.logger.error("%s %s", may_still_run(job), error)
            return False
        return True

    def agreed(self, spec: JobSpec) -> JobStatus | None:
        """Return the job of a specification that counts for all who look; the superfluous ones are cancelled.

        Raises:
            HubError: the service does not answer.
        """
        job, superfluous = first_alive(self.find_jobs(KEY_LABEL, spec.key))
        for other in superfluous:
            self.cancel_or_say(other)
        return job

    def job_hub(self) -> HfHub:
        """Return the Hub as a job sees it: by the token of HF_JOB_TOKEN where that is set."""
        return self.hub.model_copy(update={"token": SecretStr(learn(os.environ[JOB_TOKEN]))}) if os.environ.get(JOB_TOKEN) else self.hub

    def _submit_once(self, spec: JobSpec, resources: JobResources | None, script: Path, place: Path) -> tuple[JobStatus | JobResult, bool]:
        """Submit a job unless its job or result is there; return it, and whether it was there.

        The service has no key against doubles, so labels are looked for before, after an answer that was lost, and once more when all is done.
        """
        # first the job, then the result: a job that ends in between has tagged its result by then
        if there := self.agreed(spec) or self.find_made(spec, place):
            return there, True
        if resources is None:
            raise JobError(f"The result or job of {spec.key} existed a moment ago and is gone. Run the same command again: it plans a new job.")
        files: dict[str, Path | bytes] = {spec.script: script, **{name: script.with_name(name) for name in spec.companions}}
        files |= {name: text.encode() for name, text in spec.files.values()}
        commit = self.hub.push(f"{self.namespace}/{FILES}", "dataset", files, f"For {spec.key}", spec.key, private=True).oid
        api = self.hub.get_client()
        for attempt in range(1, self.hub.attempts + 1):
            try:
                submitted = _paid(self._post(api, spec, resources, commit))
            except Exception as raised:
                error = underlying(raised)
                if not may_pass(error):
                    raise explained("submitting a job", error, attempt, self.hub.endpoint) from error
                pause(error, attempt)
                # what was answered may say nothing of what was done
                if there := self._look_again(spec, error, attempt):
                    return there, False
            else:
                time.sleep(self.settle_seconds)
                try:
                    return self.agreed(spec) or submitted, False
                except HubError as trouble:
                    self.logger.warning("It is not known yet whether the job %s is the only one with its key. %s", submitted.id, trouble)
                    return submitted, False
        raise AssertionError

    def _look_again(self, spec: JobSpec, error: BaseException, attempt: int) -> JobStatus | None:
        """Return the job of a submission that seemed to fail, if it is there; an error if that was the last attempt."""
        perhaps = f"A job may still appear: {self._page()} shows it, and the same command resumes it."
        try:
            there = self.agreed(spec)
        except HubError as trouble:
            raise HubError(f"{trouble} {perhaps}") from error
        if there is None and attempt == self.hub.attempts:
            raise HubError(f"{explained('submitting a job', error, attempt, self.hub.endpoint)} {perhaps}") from error
        return there

    async def _undo(self, submission: "asyncio.Future[tuple[JobStatus | JobResult, bool]]") -> None:
        """Wait for a submission, and cancel its job."""
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
    """Return USD an hour and GB of the GPU; a price that is none is a ValueError, for a budget rests on it."""
    memory = "".join(letter for letter in str(item.accelerator.vram) if letter.isdigit() or letter == ".") if item.accelerator else ""
    hourly = float(item.unit_cost_usd) * {"minute": 60, "hour": 1}[item.unit_label]
    if not (math.isfinite(hourly) and hourly > 0):
        raise ValueError(f"{item.name} costs {item.unit_cost_usd} USD")
    return hourly, float(memory) if memory else None


def _paid(job: JobInfo) -> JobStatus:
    """Return what matters of a job; an answer that lacks it is an error of whatever kind."""
    message, image, times = str(job.status.message or ""), str(job.docker_image or job.space_id or ""), (job.created_at, job.started_at, job.finished_at)
    return JobStatus(str(job.id), str(job.status.stage), job.url, str(job.flavor or ""), message, *times, labels=job.labels or {}, image=image)

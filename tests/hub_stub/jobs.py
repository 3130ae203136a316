"""The Jobs API: hardware, submission, state, cancellation and logs. job_runs.py runs the jobs."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.hub_stub.job_runs import ENDED, FAULTS, TICK_S, Job, Jobs, volume_files
from tests.hub_stub.wire import Json, Refused, base_of, caller_of, paged, segment, store_of

STAGES = ("SCHEDULING", "RUNNING", *ENDED)
LABEL = re.compile(r"[A-Za-z0-9_-]{1,100}")
NAME_LABEL = re.compile(r"[A-Za-z0-9._-]{1,100}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
DEFAULT_TIMEOUT_S = 1800
FIELDS = {"command", "arguments", "environment", "flavor", "dockerImage", "secrets", "timeoutSeconds", "labels", "volumes", "attempts"}


def _flavor(name: str, pretty: str, cores: int, gigabytes: int, hourly: float, gpu: tuple[str, int] | None = None) -> Json:
    micro = round(hourly * 1_000_000 / 60)
    accelerator = {"type": "gpu", "model": gpu[0], "quantity": "1", "vram": f"{gpu[1]} GB", "manufacturer": "Nvidia"} if gpu else None
    return {
        **{"name": name, "prettyName": pretty, "cpu": f"{cores} vCPU", "ram": f"{gigabytes} GB", "ephemeralStorage": "50 GB", "accelerator": accelerator},
        **{"unitCostMicroUSD": micro, "unitCostUSD": micro / 1_000_000, "unitLabel": "minute"},
    }


HARDWARE = [
    _flavor("cpu-basic", "CPU Basic", 2, 16, 0.01),
    _flavor("cpu-upgrade", "CPU Upgrade", 8, 32, 0.03),
    _flavor("cpu-performance", "CPU Performance", 32, 256, 1.90),
    _flavor("cpu-xl", "CPU XL", 16, 124, 1.00),
    _flavor("t4-small", "Nvidia T4 - small", 4, 15, 0.40, ("T4", 16)),
    _flavor("l4x1", "1x Nvidia L4", 8, 30, 0.80, ("L4", 24)),
    _flavor("a10g-large", "Nvidia A10G - large", 12, 46, 1.50, ("A10G", 24)),
    _flavor("l40sx1", "1x Nvidia L40S", 8, 62, 1.80, ("L40S", 48)),
    _flavor("a100-large", "Nvidia A100 - large", 12, 142, 2.50, ("A100", 80)),
    _flavor("h200", "Nvidia H200", 23, 256, 5.00, ("H200", 141)),
]


async def hardware(request: Request) -> Response:
    """GET /api/jobs/hardware."""
    return JSONResponse(HARDWARE)


async def submit(request: Request) -> Response:
    """POST /api/jobs/{namespace}: a lost answer does not undo the job, and the same request again creates another job."""
    namespace = _account(request, write=True)
    spec, secrets, labels = _read_spec(await _body(request))
    initiator = {"type": "user", "id": f"id-{caller_of(request).name}", "name": caller_of(request).name}
    return _add(request, namespace, spec, secrets, labels, initiator)


async def duplicate(request: Request) -> Response:
    """POST /api/jobs/{namespace}/{id}/duplicate: create another job with the same request."""
    job = _find(request, write=True)
    return _add(request, job.namespace, job.spec, job.secrets, job.labels, {"type": "duplicated-job", "id": job.id})


def _add(request: Request, namespace: str, spec: Json, secrets: dict[str, str], labels: dict[str, str], initiator: Json) -> Response:
    if not request.app.state.credit:
        raise Refused(402, "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs.")
    for volume in spec["volumes"]:
        volume_files(store_of(request), caller_of(request), volume)
    flavor = next(item for item in HARDWARE if item["name"] == spec["flavor"])
    job = Job(namespace, caller_of(request), base_of(request), flavor, spec, dict(secrets), dict(labels), initiator)
    _jobs(request).add(job)
    return JSONResponse(job.shown())


async def listed(request: Request) -> Response:
    """GET /api/jobs/{namespace}, newest first: the jobs in one of the given stages that have all given labels."""
    namespace, stages, wanted = _account(request), request.query_params.getlist("stage"), request.query_params.getlist("label")
    if unknown := set(stages) - {*STAGES}:
        raise Refused(400, f"Unknown stages {', '.join(sorted(unknown))}. Known: {', '.join(STAGES)}.")
    if without := [label for label in wanted if "=" not in label]:
        raise Refused(400, f"A label is asked for as key=value, not {without[0]!r}.")
    found = [
        job.shown()
        for job in reversed(_jobs(request).all.values())
        if job.namespace == namespace and (not stages or job.stage in stages) and {*wanted} <= {f"{key}={value}" for key, value in job.labels.items()}
    ]
    return paged(request, found, request.app.state.page_size)


async def show(request: Request) -> Response:
    """GET /api/jobs/{namespace}/{id}."""
    return JSONResponse(_find(request).shown())


async def cancel(request: Request) -> Response:
    """POST /api/jobs/{namespace}/{id}/cancel: the stage changes at once, the processes may end later; a job that has ended does not change."""
    job = _find(request, write=True)
    job.end("CANCELED")
    return JSONResponse(job.shown())


async def relabel(request: Request) -> Response:
    """PUT /api/jobs/{namespace}/{id}/labels: replace all labels."""
    job = _find(request, write=True)
    job.labels = _read_labels((await _body(request)).get("labels"))
    return JSONResponse(job.shown())


async def logs(request: Request) -> Response:
    """GET /api/jobs/{namespace}/{id}/logs: all lines, or the last `tail`, then new ones until the job ends."""
    job, tail = _find(request), request.query_params.get("tail")
    if tail is not None and not tail.isdecimal():
        raise Refused(400, f"tail is a number of lines, not {tail!r}.")
    return _stream(_log_events(job, None if tail is None else int(tail), request.app.state.keep_alive_s))


async def _log_events(job: Job, tail: int | None, keep_alive_s: float) -> AsyncIterator[str]:
    at, first, noted = 0, 1 if tail is None else max(1, len(job.lines) - tail), time.monotonic()
    while True:
        over = job.over  # checked first, so that what is sent afterwards is complete
        while at < len(job.lines):
            yield f"data: {json.dumps(job.lines[at])}\n\n"
            at, noted = max(at + 1, first), time.monotonic()
        if over:
            return
        if time.monotonic() - noted > keep_alive_s:
            yield ": keep-alive\n\n"
            noted = time.monotonic()
        await asyncio.sleep(TICK_S)


async def metrics(request: Request) -> Response:
    """GET /api/jobs/{namespace}/{id}/metrics: one sample of an idle machine per second while the job runs."""
    job = _find(request)
    if job.stage in ENDED:
        raise Refused(406, "The job has finished: it has no metrics any more.")
    return _stream(_metric_events(job))


async def _metric_events(job: Job) -> AsyncIterator[str]:
    total = int(job.flavor["ram"].split()[0]) * 10**9
    sample: Json = {"cpu_usage_pct": 0, "cpu_millicores": 1000, "memory_used_bytes": 0, "memory_total_bytes": total, "rx_bps": 0, "tx_bps": 0, "gpus": {}}
    if gpu := job.flavor["accelerator"]:
        sample["gpus"] = {"0": {"utilization": 0, "memory_used_bytes": 0, "memory_total_bytes": int(gpu["vram"].split()[0]) * 10**9}}
    due = 0.0
    while job.stage not in ENDED:
        if job.stage == "RUNNING" and time.monotonic() >= due:
            yield f"event: metric\ndata: {json.dumps(sample | {'replica': job.id[:5]})}\n\n"
            due = time.monotonic() + 1
        await asyncio.sleep(TICK_S)


def _stream(events: AsyncIterator[str]) -> Response:
    return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})


async def all_jobs(request: Request) -> Response:
    """GET /_stub/jobs: the jobs of all namespaces, newest first."""
    return JSONResponse([job.shown() for job in reversed(_jobs(request).all.values())])


async def next_job(request: Request) -> Response:
    """POST /_stub/jobs: set the fault of the next job (FAULTS in job_runs.py), or of the one after it if that is set."""
    fault = (await request.json()).get("next")
    if fault not in FAULTS:
        raise Refused(400, f"The next job can be one that {', '.join(FAULTS)}, not {fault!r}.")
    _jobs(request).faults.append(fault)
    return JSONResponse({"next": _jobs(request).faults})


async def clear(request: Request) -> Response:
    """DELETE /_stub/jobs: remove all jobs and their processes."""
    await _jobs(request).clear()
    return JSONResponse({"cleared": True})


def _jobs(request: Request) -> Jobs:
    return request.app.state.jobs


def _account(request: Request, write: bool = False) -> str:
    """Return the namespace of the path, if the caller may see (and start or change) its jobs."""
    caller, namespace = caller_of(request), segment(request, "namespace")
    if caller.name is None:
        raise Refused(401, "Invalid username or password.")
    if not caller.belongs_to(namespace):
        raise Refused(403, f'You don\'t have the rights to use jobs under the namespace "{namespace}"')
    if write and caller.role != "write" and namespace not in caller.jobs:
        raise Refused(403, f"Forbidden: your token may not start or change jobs of {namespace}")
    return namespace


def _find(request: Request, write: bool = False) -> Job:
    namespace, job = _account(request, write), _jobs(request).all.get(segment(request, "id"))
    if job is None or job.namespace != namespace:
        raise Refused(404, "Job not found")
    return job


async def _body(request: Request) -> Json:
    try:
        given = await request.json()
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise Refused(400, "The body is no JSON object")
    return given


def _read_spec(given: Json) -> tuple[Json, dict[str, str], dict[str, str]]:
    """Return the request for a job, its secrets and its labels; refusals never contain a secret's value."""
    if unknown := sorted(name for name, value in given.items() if name not in FIELDS and value is not None):
        raise Refused(400, f"The jobs of this stub know no {', '.join(unknown)}, only {', '.join(sorted(FIELDS))}")
    timeout = given.get("timeoutSeconds", DEFAULT_TIMEOUT_S)
    if not given.get("dockerImage") or not _are_words(given.get("command")) or not given["command"] or not _are_words(given.get("arguments", [])):
        raise Refused(400, "A job needs a dockerImage, and a command (and arguments) of words")
    if given.get("flavor") not in [item["name"] for item in HARDWARE]:
        raise Refused(400, f"Invalid flavor {given.get('flavor')!r}. Valid: {', '.join(item['name'] for item in HARDWARE)}")
    if isinstance(timeout, bool) or not isinstance(timeout, int) or timeout < 1:
        raise Refused(400, f"timeoutSeconds is a whole number of seconds from 1, not {timeout!r}")
    if given.get("attempts") not in (None, 1):
        raise Refused(400, f"This stub runs a job once, not in {given['attempts']!r} attempts")
    spec = {
        **{"dockerImage": given["dockerImage"], "command": given["command"], "arguments": given.get("arguments", []), "flavor": given["flavor"]},
        **{"environment": _read_variables(given, "environment"), "volumes": _read_volumes(given.get("volumes") or []), "timeoutSeconds": timeout},
    }
    return spec, _read_variables(given, "secrets"), _read_labels(given.get("labels") or {})


def _are_words(given: Any) -> bool:
    return isinstance(given, list) and all(isinstance(word, str) and "\0" not in word for word in given)


def _read_variables(given: Json, part: str) -> dict[str, str]:
    variables = given.get(part) or {}
    if not isinstance(variables, dict) or not all(VARIABLE.fullmatch(name) for name in variables):
        raise Refused(400, f"The names in {part} are letters, digits and underscores, and begin with no digit")
    if not all(isinstance(value, str | int | float) and "\0" not in str(value) for value in variables.values()):
        raise Refused(400, f"The values in {part} are texts")
    return {name: str(value) for name, value in variables.items()}


def _read_labels(given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise Refused(400, "labels are keys and values")
    for key, value in given.items():
        if not LABEL.fullmatch(key) or not isinstance(value, str) or not (NAME_LABEL if key == "name" else LABEL).fullmatch(value):
            raise Refused(
                400, f"Invalid label {key!r}: {value!r}. Keys and values are at most 100 letters, digits, '-' and '_'; the value of name may have '.'"
            )
    return given


def _read_volumes(given: Any) -> list[Json]:
    texts = ("type", "source", "mountPath", "revision", "path")
    if not isinstance(given, list) or not all(isinstance(item, dict) and all(isinstance(item.get(name) or "", str) for name in texts) for item in given):
        raise Refused(400, f"volumes is a list of objects whose {', '.join(texts)} are texts")
    places = [(volume.get("mountPath") or "").rstrip("/") for volume in given]
    for volume, place in zip(given, places, strict=True):
        if volume.get("type") == "bucket":
            raise Refused(400, f"This stub has no buckets: {volume.get('source')} cannot be mounted. Put the files into a dataset and mount that.")
        if volume.get("type") not in ("dataset", "model") or not volume.get("source"):
            raise Refused(400, f"A volume is a dataset or a model with its source, not {volume.get('type')!r} {volume.get('source')!r}")
        if not place.startswith("/") or ".." in place.split("/") or places.count(place) > 1:
            raise Refused(400, f"Invalid mountPath {volume.get('mountPath')!r}: it is absolute, not the root, and each volume has another")
    return given


ROUTES = [
    Route("/_stub/jobs", all_jobs, methods=["GET"]),
    Route("/_stub/jobs", next_job, methods=["POST"]),
    Route("/_stub/jobs", clear, methods=["DELETE"]),
    Route("/api/jobs/hardware", hardware),
    Route("/api/jobs/{namespace}", listed, methods=["GET"]),
    Route("/api/jobs/{namespace}", submit, methods=["POST"]),
    Route("/api/jobs/{namespace}/{id}", show),
    Route("/api/jobs/{namespace}/{id}/cancel", cancel, methods=["POST"]),
    Route("/api/jobs/{namespace}/{id}/duplicate", duplicate, methods=["POST"]),
    Route("/api/jobs/{namespace}/{id}/labels", relabel, methods=["PUT"]),
    Route("/api/jobs/{namespace}/{id}/logs", logs),
    Route("/api/jobs/{namespace}/{id}/metrics", metrics),
]

"""Making a batch on several machines: each part is a run of a deployment, which a worker of the pool takes."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.deployments import arun_deployment
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.logging import get_run_logger
from prefect.states import State

from core.errors import ServerError, SettingsError
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import Shard, TranscriptBatch
from core.rehearsal.plan import Plans, collect_batch
from core.storage.batches import keep_batch

ATTEMPTS = 3
"""Maximum number of runs for each part; each run resumes where the one before it stopped."""
POLL_SECONDS = 2
"""Time between two requests for the state of a run."""
AWAY_SECONDS = 600
"""How long the server may not answer before the batch fails."""


async def rehearse_in_shards(plans: Plans, run: Run, shards: int, settings: str) -> str:
    """Rehearse a batch in several runs of the deployment `generation/generation-shard`.

    Args:
        plans: plans of personas with consecutive seeds.
        run: the run.
        shards: maximum number of runs.
        settings: path of the settings file, for those runs.

    Returns:
        Path of the batch's file below the data root.
    """
    parts = [plans[begin : begin + size] for begin, size in split(len(plans), shards)]
    asked = [{"conversations": len(part), "first_seed": part.seeds[0]} for part in parts]
    names = await run_shards("generation/generation-shard", run, settings, asked)
    batches = [_batch_of(run, part, name) for part, name in zip(parts, names, strict=True)]
    refs, left_out = [ref for batch in batches for ref in batch.transcripts], [item for batch in batches for item in batch.left_out]
    return keep_batch(run.store, TranscriptBatch(domain=run.pack.name, transcripts=refs, left_out=left_out))


def _batch_of(run: Run, plans: Plans, name: str | None) -> TranscriptBatch:
    """Return the batch of a shard.

    If the shard failed or left something out, its conversations are looked up one by one, which takes as long as planning them.

    Args:
        run: the run.
        plans: plans of the shard.
        name: path of the shard's batch; None if the shard failed.
    """
    batch = run.store.load(name, TranscriptBatch) if name else None
    if batch and not batch.left_out:
        return batch
    return collect_batch(run.store, plans, {item.name: item.reason for item in batch.left_out} if batch else {})


def store_shard_result(batch: str, run: Run, shard: Shard) -> None:
    """Write the path of a shard's batch where the run that started the shard looks for it."""
    run.store.write(shard.result, batch)


async def run_shards(deployment: str, run: Run, settings: str, parts: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Run a deployment once for each part, and wait for all runs; a part whose run fails, or whose worker is gone, is started again.

    A run whose worker was killed is marked as crashed when its heartbeat is missed. For that, the server needs the automation of `understudy deploy`.

    Args:
        deployment: the deployment, as flow/deployment.
        run: the run that the parts belong to.
        settings: path of the settings file.
        parts: parameters of each part, in addition to those that all parts share.

    Returns:
        The path of each part's batch; None for a part that failed.

    Raises:
        SettingsError: the server has no such deployment.
    """
    async with get_client() as client:
        try:
            await client.read_deployment_by_name(deployment)
        except ObjectNotFound as missing:
            raise SettingsError(f"The server has no deployment {deployment} to run the shards. Run understudy deploy against it.") from missing
    shards = [Shard(run=run.name, part=fingerprint(dict(part))) for part in parts]
    for shard in shards:
        run.store.remove(shard.result)  # left by an earlier run of the same command
    get_run_logger().info("Spread over %d runs of %s.", len(parts), deployment)
    asked = [{"domain": run.pack.name, "settings": settings, **part, "shard": shard.model_dump()} for part, shard in zip(parts, shards, strict=True)]
    await asyncio.gather(*[_run(deployment, parameters, f"{number} of {len(parts)}") for number, parameters in enumerate(asked, start=1)])
    return [run.store.read(shard.result) if run.store.exists(shard.result) else None for shard in shards]


def split(count: int, shards: int) -> list[tuple[int, int]]:
    """Return the first index and the size of each shard. Sizes differ by 1 at most, and no shard is empty."""
    if count == 0:
        return []
    shards = min(shards, count)
    sizes = [count // shards + (number < count % shards) for number in range(shards)]
    return [(sum(sizes[:number]), size) for number, size in enumerate(sizes)]


async def _run(deployment: str, parameters: Mapping[str, Any], name: str) -> None:
    """Run a deployment until a run completes, is cancelled, or ATTEMPTS runs have failed."""
    context, logger = FlowRunContext.get(), get_run_logger()
    parent = context.flow_run.id if context and context.flow_run else "none"
    for attempt in range(1, ATTEMPTS + 1):
        run: FlowRun = await arun_deployment(
            deployment,
            parameters=dict(parameters),
            flow_run_name=f"shard {name}" + (f", attempt {attempt}" if attempt > 1 else ""),
            timeout=0,
            idempotency_key=f"{parent}-{name}-{attempt}",
        )
        state = await _end_of(run.id)
        if state.is_completed():
            logger.info("Shard %s is done.", name)
            return
        logger.warning("Shard %s ended as %s: %s", name, state.name, state.message or "")
        if state.is_cancelled():
            return
    logger.warning("Shard %s did not finish in %d attempts; its finished results are kept.", name, ATTEMPTS)


async def _end_of(run: UUID) -> State[Any]:
    """Wait for the end of a run and return its state; requests are repeated if the server does not answer, which Prefect's own waiting does not do.

    Raises:
        ServerError: the server has not answered for AWAY_SECONDS.
    """
    away_since = None
    while True:
        try:
            async with get_client() as client:
                state = (await client.read_flow_run(run)).state
            away_since = None
            if state and state.is_final():
                return state
        except (httpx.TransportError, PrefectHTTPStatusError) as error:
            away_since = away_since or time.monotonic()
            if time.monotonic() - away_since > AWAY_SECONDS:
                raise ServerError(
                    f"The Prefect server has not answered for {AWAY_SECONDS} seconds ({error}). Everything made so far is kept; run it again."
                ) from error
        await asyncio.sleep(POLL_SECONDS)

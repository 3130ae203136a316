"""A batch over several machines: parts of it are runs of a deployment, which the workers of the pool take up."""

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
"""Runs of a part; each resumes where the one before it stopped."""
POLL_SECONDS = 2
AWAY_SECONDS = 600
"""For which a server may be away."""


async def rehearse_in_shards(plans: Plans, run: Run, shards: int, settings: str) -> str:
    """Rehearse a batch over runs of the deployment `generation/generation-shard`.

    Args:
        plans: of personas whose seeds follow on one another.

    Returns:
        Name of the batch's file below the data root.
    """
    parts = [plans[begin : begin + size] for begin, size in split(len(plans), shards)]
    asked = [{"conversations": len(part), "first_seed": part.seeds[0]} for part in parts]
    made = [_made(run, *part) for part in zip(parts, await run_shards("generation/generation-shard", run, settings, asked), strict=True)]
    refs, left_out = [ref for batch in made for ref in batch.transcripts], [item for batch in made for item in batch.left_out]
    return keep_batch(run.store, TranscriptBatch(domain=run.pack.name, transcripts=refs, left_out=left_out))


def _made(run: Run, plans: Plans, name: str | None) -> TranscriptBatch:
    """Return what a shard made. Each conversation is looked for, which takes as long as to plan it, only if the shard left some out, or failed."""
    batch = run.store.load(name, TranscriptBatch) if name else None
    if batch and not batch.left_out:
        return batch
    return collect_batch(run.store, plans, {item.name: item.reason for item in batch.left_out} if batch else {})


def hand_over(batch: str, run: Run, shard: Shard) -> None:
    """Write the name of a shard's batch where the run that started the shard looks for it."""
    run.store.write(shard.result, batch)


async def run_shards(deployment: str, run: Run, settings: str, parts: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Run a deployment once for each part and wait for all; a part whose run fails, or whose worker is gone, is given to another.

    A run whose worker was killed is known as crashed once its heartbeat is missed, for which the server needs the automation that `understudy deploy` makes.

    Args:
        deployment: flow/deployment.
        run: of which they are parts.
        parts: the parameters of each, besides those of all.

    Returns:
        The name of each part's batch; none where it failed.

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
        run.store.remove(shard.result)  # of an earlier run of the same command
    get_run_logger().info("Spread over %d runs of %s.", len(parts), deployment)
    asked = [{"domain": run.pack.name, "settings": settings, **part, "shard": shard.model_dump()} for part, shard in zip(parts, shards, strict=True)]
    await asyncio.gather(*[_run(deployment, parameters, f"{number} of {len(parts)}") for number, parameters in enumerate(asked, start=1)])
    return [run.store.read(shard.result) if run.store.exists(shard.result) else None for shard in shards]


def split(count: int, shards: int) -> list[tuple[int, int]]:
    """Return where each shard begins and how many items it has; they differ by one at most, and none is empty."""
    if count == 0:
        return []
    shards = min(shards, count)
    sizes = [count // shards + (number < count % shards) for number in range(shards)]
    return [(sum(sizes[:number]), size) for number, size in enumerate(sizes)]


async def _run(deployment: str, parameters: Mapping[str, Any], name: str) -> None:
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
    logger.warning("Shard %s did not finish in %d attempts; what it made is kept.", name, ATTEMPTS)


async def _end_of(run: UUID) -> State[Any]:
    """Wait for the end of a run; a server that is away for a while is asked again (Prefect's own waiting ends with the connection)."""
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
                raise ServerError(f"The Prefect server has not answered for {AWAY_SECONDS} seconds ({error}). What was made is kept; run it again.") from error
        await asyncio.sleep(POLL_SECONDS)

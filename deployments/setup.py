"""Prepares a Prefect server for Understudy. Running it again changes nothing.

PREFECT_API_URL=http://127.0.0.1:4200/api python deployments/setup.py [--settings config/pipeline.yaml]
… python deployments/setup.py deploy        also creates the deployments of prefect.yaml
… python deployments/setup.py blocks        only registers the block types
"""

import argparse
import asyncio
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows.terminal.server_access import use_kept_password

use_kept_password()

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import DeploymentUpdate, GlobalConcurrencyLimitCreate, GlobalConcurrencyLimitUpdate, WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from blocks.chat import PROVIDERS, block_class
from blocks.hf_hub import HfHub
from blocks.hf_job import HfJob
from blocks.local_hub import LocalHub
from blocks.local_job import LocalJob
from core.errors import UnderstudyError
from core.machine.deaths import ended
from core.paths import project_folder
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings, load_settings
from core.settings.provider_options import LOCAL
from core.terminal import show, show_error, show_text
from deployments.automations import make_automations
from deployments.forms import form_of
from tasks.run import limit_name

POOL = "understudy"
NO_SERVER = "no server. Start one (understudy ui) and set PREFECT_API_URL to its address, such as http://127.0.0.1:4200/api."


async def make_pool(client: PrefectClient) -> None:
    try:
        await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs Understudy's flows as processes."))
        show(f"Made the work pool {POOL}.")
    except ObjectAlreadyExists:
        show(f"The work pool {POOL} exists.")


async def make_limits(client: PrefectClient, settings: Settings) -> None:
    """Create or update one concurrency limit for each paid model: how many runs may use it at once (models.<model>.runs_at_once)."""
    existing = {limit.name: limit.limit for limit in await client.read_global_concurrency_limits(limit=200, offset=0)}
    for model in sorted({name for names in settings.roles.bound().values() for name in names if name.partition("/")[0] not in LOCAL}):
        name, runs = limit_name(model), model_settings(settings, model).runs_at_once
        if name not in existing:
            await client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=runs))
            show(f"Made the limit {name}: {runs} at once.")
        elif existing[name] != runs:
            await client.update_global_concurrency_limit(name, GlobalConcurrencyLimitUpdate(limit=runs))
            show(f"Changed the limit {name}: {runs} at once.")
        else:
            show(f"The limit {name} exists: {runs} at once.")


async def register_blocks(client: PrefectClient) -> None:
    for kind in [*(block_class(provider) for provider in PROVIDERS), LocalHub, HfHub, HfJob, LocalJob]:
        await kind.register_type_and_schema(client=client)
        show(f"Registered the block {kind.get_block_type_slug()}.")


async def deploy(client: PrefectClient) -> int:
    """Create or update the deployments of prefect.yaml; return the exit code.

    New schedules are switched off: scheduled runs cost money, so a person has to switch them on.
    """
    before = {deployment.name for deployment in await client.read_deployments()}
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    done = await asyncio.to_thread(subprocess.run, command, cwd=project_folder(), capture_output=True, text=True, check=False)
    if done.returncode:
        show_text(f"{done.stdout}{done.stderr}", error=True)
        show_error(f"`prefect deploy --all` {ended(done.returncode)}.")
        return 1
    for deployment in sorted(await client.read_deployments(), key=lambda deployment: deployment.name):
        new = deployment.name not in before
        if deployment.entrypoint and deployment.entrypoint.startswith("flows."):
            schema = form_of(deployment.parameter_openapi_schema or {}, deployment.entrypoint)
            await client.update_deployment(deployment.id, DeploymentUpdate.model_validate({"parameter_openapi_schema": schema}))
        for schedule in deployment.schedules if new else []:
            await client.update_deployment_schedule(deployment.id, schedule.id, active=False)
        schedules = "".join(f", its schedule is {'on' if schedule.active and not new else 'off'}" for schedule in deployment.schedules)
        show(f"{'Made the' if new else 'The'} deployment {deployment.name}{'' if new else ' exists'}{schedules}.")
    return 0


async def main(words: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Prepare a Prefect server for Understudy.", allow_abbrev=False)
    parser.add_argument("what", nargs="?", choices=["blocks", "deploy"])
    parser.add_argument("--settings", default="config/pipeline.yaml")
    options = parser.parse_args(words)
    if not PREFECT_API_URL.value():
        show_error(NO_SERVER)
        return 2
    async with get_client() as client:
        if options.what != "blocks":
            await make_pool(client)
            await make_limits(client, load_settings(options.settings))
            await make_automations(client)
        await register_blocks(client)
        return await deploy(client) if options.what == "deploy" else 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except UnderstudyError as error:
        show_error(error)
        sys.exit(error.exit_code)

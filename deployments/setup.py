"""Prepares a Prefect server for Understudy; running it again changes nothing.

PREFECT_API_URL=http://127.0.0.1:4200/api python deployments/setup.py
"""

import asyncio

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists

POOL = "understudy"


async def main() -> None:
    async with get_client() as client:
        try:
            await client.create_work_pool(WorkPoolCreate(name=POOL, type="process", description="Runs Understudy's flows as processes."))
            print(f"Made the work pool {POOL}.")
        except ObjectAlreadyExists:
            print(f"The work pool {POOL} is there.")


if __name__ == "__main__":
    asyncio.run(main())

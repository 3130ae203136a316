"""One process that submits a job: `python -m tests.blocks.job_buyer HUB_URL ORDER BUDGET_IN_USD`; exit code 3 means that the budget forbids it."""

import asyncio
import sys
from pathlib import Path

from pydantic import SecretStr

from blocks.hf_hub import HfHub
from blocks.hf_job import HfJob
from blocks.job_bill import submit
from core.errors import BudgetError
from core.llm.run import Run
from core.settings.pipeline import load_settings
from core.storage.store import open_store
from core.training.hardware import flavors, load_hardware
from core.training.job_spec import JobSpec
from core.training.plan import JobPlan, Option

SECONDS, FLAVOR = 3600, "a100-large"
SCRIPT = Path(__file__).with_name("order_script.py")


async def buy(url: str, name: str, usd: float) -> int:
    settings = load_settings("config/pipeline.yaml")
    jobs = settings.jobs.model_copy(update={"usd": usd, "poll_seconds": 0.1})
    block = HfJob(hub=HfHub(endpoint=url, token=SecretStr("hf_write"), attempts=4), namespace="me", settle_seconds=0)
    order = JobSpec(
        **{"stage": "train", "script": SCRIPT.name, "name": name, "folder": f"models/{name}", "finished": "metrics.json", "files": {}, "private": True},
        **{"arguments": {"text": "Be kind. ", "seconds": 60}, "local": {}, "remote": {}, "repo": f"me/{name}", "fetch": []},
    )
    option = Option(flavors(load_hardware(), {})[FLAVOR], True, SECONDS)
    plan = JobPlan("Training", {}, option, [option], SECONDS, 0.0, usd)
    run = Run("training-1", None, settings.model_copy(update={"jobs": jobs}), open_store(), {}, None, plans={order.key: plan})  # ty: ignore[invalid-argument-type]
    try:
        await submit(run, block, order, SCRIPT, open_store().local(order.folder))
    except BudgetError as error:
        sys.stdout.write(str(error))
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(buy(sys.argv[1], sys.argv[2], float(sys.argv[3]))))

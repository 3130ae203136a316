"""Asking a person before money is spent: the flow waits, and the run's page in the Prefect UI has the question."""

from contextvars import ContextVar
from typing import TYPE_CHECKING

from prefect import apause_flow_run
from prefect.exceptions import FlowPauseTimeout
from prefect.input import RunInput
from prefect.logging import get_run_logger
from pydantic import Field

from core.errors import JobError, SettingsError
from core.reports.render import job_plan_markdown

if TYPE_CHECKING:  # it imports pyarrow, which half of the flows do not need
    from core.training.plan import JobPlan

_UNWATCHED: ContextVar[bool] = ContextVar("unwatched", default=False)


def note_temporary_server() -> None:
    """Note that the server ends with this command, so that nobody opens its UI and a flow must not wait for an answer there."""
    _UNWATCHED.set(True)


class Approval(RunInput):
    """The form in which a person approves a job or declines it."""

    approve: bool = Field(default=False, description="Submit the job and pay for it. Otherwise the run ends here; everything made so far is kept.")


async def ask_a_person(plan: "JobPlan", seconds: float) -> None:
    """Wait until a person agrees to a plan in the Prefect UI.

    Args:
        plan: the job, its machine and its price.
        seconds: how long the flow waits for an answer.

    Raises:
        SettingsError: the server is temporary, so no person can answer in its UI.
        JobError: a person declined, or nobody answered in time.
    """
    if _UNWATCHED.get():
        raise SettingsError(
            f"jobs.approve is ask, but this command uses a temporary server, whose UI nobody watches. {plan.line}. "
            "Start one (understudy ui) and set PREFECT_API_URL to it, or set jobs.approve: never."
        )
    get_run_logger().info("Waiting for a person: the page of this run in the Prefect UI shows the question and the button Resume.")
    try:
        answer = await apause_flow_run(Approval.with_initial_data(description=job_plan_markdown(plan), approve=False), timeout=int(seconds), poll_interval=2)
    except FlowPauseTimeout as error:
        raise JobError(f"Nobody answered for {seconds / 3600:.1f} hours: {plan.line}. Run the same command again, or set jobs.approve: never.") from error
    if not answer.approve:
        raise JobError(f"A person declined: {plan.line}. Everything made so far is kept; the same command asks again.")
    get_run_logger().info("A person approved the job.")

"""What the server does by itself: ends runs whose process is gone, and tells a person of failures and spent budgets, once it has somewhere to tell it."""

from datetime import timedelta

from prefect.automations import Automation
from prefect.client.orchestration import PrefectClient
from prefect.events.actions import ChangeFlowRunState, DoNothing, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.exceptions import ObjectNotFound
from prefect.settings import get_current_settings
from prefect.states import StateType

from core.terminal import show
from tasks.batches import BUDGET_EVENT

ALERTS = "understudy-alerts"
"""Name of the notification block, of whatever kind, that notifies people."""
MISSED = 3
"""Heartbeats in a row after which a run's process is held for gone."""
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.understudy"}

BODY = """{{ flow.name }}, {{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message }}
{{ flow_run|ui_url }}"""


def zombies() -> Automation:
    """End runs that were killed: their heartbeat stops, and nothing else tells of it."""
    beat = timedelta(seconds=MISSED * (get_current_settings().flows.heartbeat_frequency or 180))
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")}
    return Automation(
        name="understudy: runs whose process is gone",
        description="A flow run that gave no heartbeat three times in a row is marked as Crashed, so that its part can be taken up.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            for_each={"prefect.resource.id"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            posture=Posture.Proactive,
            threshold=1,
            within=beat,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat: its process is gone.")],
    )


def alerts() -> list[Automation]:
    """Tell of runs that failed and of budgets that are spent; they are off until there is a block to tell it through."""
    kinds = {
        "understudy: a run failed": (["prefect.flow-run.Failed", "prefect.flow-run.Crashed"], OURS),
        "understudy: a budget is spent": ([BUDGET_EVENT], {}),
    }
    return [
        Automation(
            name=name,
            description=f"Off until a notification block called {ALERTS} is saved and `make deploy` is run again.",
            enabled=False,
            trigger=EventTrigger(
                expect=set(events),
                match={"prefect.resource.id": "prefect.flow-run.*"},
                match_related=related,
                for_each={"prefect.resource.id"},
                posture=Posture.Reactive,
                threshold=1,
                within=timedelta(0),
            ),
            actions=[DoNothing()],
        )
        for name, (events, related) in kinds.items()
    ]


async def make_automations(client: PrefectClient) -> None:
    """Make what is missing; switch the alerts on once there is a block for them. What a person has changed since stays."""
    target = await _target(client)
    for wanted in [zombies(), *alerts()]:
        automation = await _find(wanted.name)
        if automation is None:
            automation = await wanted.acreate()
            show(f"Made the automation {wanted.name!r}{'' if automation.enabled else ' (off)'}.")
        else:
            show(f"The automation {wanted.name!r} exists{'' if automation.enabled else ' (off)'}.")
        if target and any(isinstance(action, DoNothing) for action in automation.actions):
            automation.actions = [SendNotification(block_document_id=target, subject=wanted.name, body=BODY)]
            automation.enabled = True
            await automation.aupdate()
            show(f"Switched it on: it notifies through the block {ALERTS}.")


async def _find(name: str) -> Automation | None:
    try:
        return await Automation.aread(name=name)
    except (ValueError, ObjectNotFound):
        return None


async def _target(client: PrefectClient):  # noqa: ANN202  the server's id of a block
    documents = await client.read_block_documents(limit=200)
    for document in documents:
        capable = document.block_schema.capabilities if document.block_schema else []
        if document.name == ALERTS and "notify" in capable:
            return document.id
    return None

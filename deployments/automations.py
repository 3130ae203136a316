"""Prefect automations: mark runs whose process is gone as crashed, and notify people of failures and spent budgets once a notification block exists."""

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
"""Name of the notification block, of any type, that the alerts use."""
MISSED_HEARTBEATS = 3
"""Number of heartbeats missed in a row after which a run's process is presumed dead."""
OURS: dict[str, str | list[str]] = {"prefect.resource.role": "tag", "prefect.resource.id": "prefect.tag.understudy"}

BODY = """{{ flow.name }}, {{ flow_run.name }}: {{ flow_run.state.name }}
{{ flow_run.state.message }}
{{ flow_run|ui_url }}"""


def zombies() -> Automation:
    """Return the automation that marks killed runs as crashed. The missing heartbeat is the only sign of a killed process."""
    silence = timedelta(seconds=MISSED_HEARTBEATS * (get_current_settings().flows.heartbeat_frequency or 180))
    ends = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed", "Paused", "Suspended")}
    return Automation(
        name="understudy: runs whose process is gone",
        description="A flow run that misses three heartbeats in a row is marked as Crashed, so that its part can be resumed.",
        trigger=EventTrigger(
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ends},
            for_each={"prefect.resource.id"},
            match={"prefect.resource.id": ["prefect.flow-run.*"]},
            posture=Posture.Proactive,
            threshold=1,
            within=silence,
        ),
        actions=[ChangeFlowRunState(state=StateType.CRASHED, message="No heartbeat: its process is gone.")],
    )


def alerts() -> list[Automation]:
    """Return the automations that notify people of failed runs and spent budgets. They are off until a notification block exists."""
    kinds = {
        "understudy: a run failed": (["prefect.flow-run.Failed", "prefect.flow-run.Crashed"], OURS),
        "understudy: a budget is spent": ([BUDGET_EVENT], {}),
    }
    return [
        Automation(
            name=name,
            description=f"Off until a notification block called {ALERTS} is saved and `understudy deploy` is run again.",
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
    """Create the missing automations, and switch the alerts on once the notification block exists. Changes that a person made to them are kept."""
    block_id = await _notification_block_id(client)
    for template in [zombies(), *alerts()]:
        automation = await _find(template.name)
        if automation is None:
            automation = await template.acreate()
            show(f"Made the automation {template.name!r}{'' if automation.enabled else ' (off)'}.")
        else:
            show(f"The automation {template.name!r} exists{'' if automation.enabled else ' (off)'}.")
        if block_id and any(isinstance(action, DoNothing) for action in automation.actions):
            automation.actions = [SendNotification(block_document_id=block_id, subject=template.name, body=BODY)]
            automation.enabled = True
            await automation.aupdate()
            show(f"Switched it on: it notifies through the block {ALERTS}.")


async def _find(name: str) -> Automation | None:
    try:
        return await Automation.aread(name=name)
    except (ValueError, ObjectNotFound):
        return None


async def _notification_block_id(client: PrefectClient):  # noqa: ANN202  Prefect's type of a block's id
    documents = await client.read_block_documents(limit=200)
    for document in documents:
        capable = document.block_schema.capabilities if document.block_schema else []
        if document.name == ALERTS and "notify" in capable:
            return document.id
    return None

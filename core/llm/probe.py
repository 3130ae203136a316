"""A tiny call to each model before a run, which shows whether the model answers, in what form, how fast, and at what price."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidOutputError, UnderstudyError
from core.llm.chat import Allowance, ChatModel, ChatRequest, Message, Reply
from core.packs.prompts import load_shared
from core.records import RoleName
from core.yaml_files import explain

MAX_TOKENS = 2000
"""Maximum tokens of the answer; a model that thinks uses most of them for thinking."""

WARN = timedelta(days=60)
"""Time before a model's retirement from which a warning is given."""


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")
    ready: bool
    word: str


@dataclass(frozen=True)
class Check:
    """The result of a test call to a model.

    Args:
        roles: the roles that the model plays.
        model: `provider/model`.
        seconds: duration of the call; None if it failed.
        structured: whether the model answered in the requested JSON form.
        limits: the rate limits that the provider reported.
        price: the price of the model's tokens.
        problem: why the model cannot be used; None if it can.
        warning: a problem in the near future, such as the model's retirement; None if there is none.
    """

    roles: str
    model: str
    seconds: float | None = None
    structured: bool = False
    limits: str = ""
    price: str = ""
    problem: str | None = None
    warning: str | None = None


async def check_model(roles: str, role: RoleName, model: ChatModel, price: str, retirements: Mapping[str, Mapping[str, date]], today: date) -> Check:
    """Send one tiny structured call to a model.

    Args:
        roles: the roles that the model plays, as text for the reader.
        role: the role of the call.
        model: the model.
        price: the price of the model's tokens, as text for the reader.
        retirements: retirement dates by provider and model.
        today: the current date.
    """
    warning = retiring(model.reference, retirements, today)
    request = ChatRequest(
        role=role,
        system="",
        messages=(Message("user", load_shared("check").render()),),
        max_tokens=MAX_TOKENS,
        seed=0,
        schema=_schema(),
        item="check",
        check=_read,
    )
    started = time.monotonic()
    try:
        reply = await model.complete(request)
    except UnderstudyError as error:
        return Check(roles, model.reference, price=price, problem=str(error), warning=warning)
    return Check(roles, model.reference, time.monotonic() - started, True, _allowed(reply.allowances), price, warning=warning)


def retiring(reference: str, retirements: Mapping[str, Mapping[str, date]], today: date) -> str | None:
    """Return a warning with the date of a model's retirement; None if it is unknown or more than `WARN` away."""
    provider, _, model = reference.partition("/")
    end = retirements.get("anthropic" if provider == "claude-cli" else provider, {}).get(model)
    if end is None or end - today > WARN:
        return None
    return f"{reference} {'was switched off' if end < today else 'will be switched off'} on {end}. Choose another model in the settings."


def _read(reply: Reply) -> None:
    try:
        _Answer.model_validate(json.loads(reply.text))
    except (ValueError, ValidationError) as wrong:
        fault = explain(wrong, whole="the reply") if isinstance(wrong, ValidationError) else f"no JSON: {reply.text[:80]!r}"
        raise InvalidOutputError(f"the answer is invalid ({fault})") from wrong


def _schema() -> dict[str, object]:
    properties = {"ready": {"type": "boolean"}, "word": {"type": "string"}}
    return {"type": "object", "properties": properties, "required": ["ready", "word"], "additionalProperties": False}


def _allowed(allowances: tuple[Allowance, ...]) -> str:
    return ", ".join(f"{item.limit:,.0f} {item.kind.replace('_', ' ')}/min" for item in allowances if item.limit) or "none stated"

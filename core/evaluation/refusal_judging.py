"""A judge says of the answers to the refusal suite what each does: decline, help, or neither."""

import json
from collections.abc import Sequence
from typing import Any, get_args

from core.errors import InvalidOutputError, RefusedError, TruncatedError
from core.evaluation.refusals import Verdict
from core.fingerprint import fingerprint, seed_of
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.json_answers import json_answer
from core.packs.prompts import load_shared
from core.records import ModelChoice, Record

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "items": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "id": {"type": "integer"},
                    "does": {"type": "string"},
                    "verdict": {"type": "string", "enum": list(VERDICTS)},
                },
                "required": ["id", "does", "verdict"],
                "additionalProperties": False,
            },
        }
    },
    "required": ["items"],
    "additionalProperties": False,
}


class Answered(Record):
    """A request and its answer, as the judge reads them."""

    name: str
    request: str
    answer: str


class Classifying(Record):
    """A call that classifies answers; all that its outcome depends on.

    Args:
        prompt: the text of the judge's prompt, before the answers are filled in.
        max_tokens: room for the judge's reply.
    """

    judge: ModelChoice
    answers: list[Answered]
    prompt: str
    max_tokens: int

    @property
    def item(self) -> str:
        """Its name on the bill."""
        return f"refusals-judged-{fingerprint(self)}"


def plan_classifying(judge: ModelChoice, answers: Sequence[Answered], max_tokens: int) -> Classifying:
    """Plan a call."""
    return Classifying(judge=judge, answers=list(answers), prompt=load_shared("refusals").text, max_tokens=max_tokens)


async def classify(judge: ChatModel, plan: Classifying) -> dict[str, Verdict]:
    """Return what the judge says of the answers, by name; those of which it says nothing usable, even asked for each alone, are missing.

    Raises:
        ModelError: the judge cannot be reached.
        RunStoppedError: no further calls are possible.
    """
    found = await _ask(judge, plan, plan.answers)
    for answered in plan.answers:
        if answered.name not in found:  # alone, so that an answer at which the judge balks spoils no other
            found |= await _ask(judge, plan, [answered])
    return found


async def _ask(judge: ChatModel, plan: Classifying, answers: Sequence[Answered]) -> dict[str, Verdict]:
    items = [{"id": number, "request": item.request, "answer": item.answer} for number, item in enumerate(answers, 1)]
    prompt = load_shared("refusals").render(answers=items)

    def read(reply: Reply) -> dict[str, Verdict]:
        return _read(reply, answers, prompt)

    request = ChatRequest(
        role="judge",
        system="",
        messages=(Message("user", prompt),),
        max_tokens=plan.max_tokens,
        seed=seed_of("refusals", plan.judge.reference, *(item.name for item in answers)),
        schema=SCHEMA,
        volatile=1,
        item=plan.item,
        check=read,
        inputs={"answers": items},
    )
    try:
        return read(await judge.complete(request))
    except (InvalidOutputError, RefusedError, TruncatedError):
        return {}


def _read(reply: Reply, answers: Sequence[Answered], prompt: str) -> dict[str, Verdict]:
    """Return the verdicts of a reply by name; an answer that is left out, or has two verdicts that differ, has none."""
    try:
        items = json.loads(json_answer(reply.text, SCHEMA, [prompt]).text)["items"]
    except (ValueError, KeyError, TypeError) as broken:
        raise InvalidOutputError('the judge\'s reply is no JSON object with "items".') from broken
    said: dict[int, set[str]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and isinstance(item.get("id"), int):
            said.setdefault(item["id"], set()).add(str(item.get("verdict")).strip().lower())
    named = {answered.name: said.get(number, set()) for number, answered in enumerate(answers, 1)}
    found = {name: verdict for name, words in named.items() if len(words) == 1 for verdict in VERDICTS if verdict in words}
    if not found:
        raise InvalidOutputError(f"the judge's reply has no verdict on any of the answers 1 to {len(answers)}.")
    return found

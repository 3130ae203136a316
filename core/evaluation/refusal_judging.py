"""Classification of the answers to the refusal suite by a judge: each declines, helps, or does neither."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from core.errors import InvalidOutputError, RefusedError, TruncatedError
from core.evaluation.refusals import Verdict
from core.fingerprint import fingerprint, seed_of
from core.judging.empty_words import keep_tally, plain, runs_of, why_empty
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.json_answers import json_answer
from core.packs.prompts import load_shared
from core.records import ModelChoice, Record

MIN_WORDS = 2
"""Minimum length of the judge's description of an answer; the prompt allows at most fifteen words."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def answer_schema(answers: int) -> dict[str, Any]:
    """Return the JSON schema of a reply, with one item for each answer.

    A server that constrains its output to the schema can neither omit nor invent an item. Anthropic's servers constrain only the ids and treat the number of
    items as a description.

    Args:
        answers: number of answers.
    """
    properties = {
        "id": {"type": "integer", "enum": list(range(1, answers + 1))},
        "does": {"type": "string"},
        "verdict": {"type": "string", "enum": list(VERDICTS)},
    }
    item = {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}
    items = {"type": "array", "items": item, "minItems": answers, "maxItems": answers}
    return {"type": "object", "properties": {"items": items}, "required": ["items"], "additionalProperties": False}


class Answered(Record):
    """A request and its answer, as the judge reads them."""

    name: str
    request: str
    answer: str


class Classifying(Record):
    """A call that classifies answers, with all inputs of its result.

    Args:
        prompt: template of the judge's prompt.
        max_tokens: tokens of the judge's reply.
    """

    judge: ModelChoice
    answers: list[Answered]
    prompt: str
    max_tokens: int

    @property
    def item(self) -> str:
        """Name of the call in the bill."""
        return f"refusals-judged-{fingerprint(self)}"


def plan_classifying(judge: ModelChoice, answers: Sequence[Answered], max_tokens: int) -> Classifying:
    """Return the call that classifies the answers with the current prompt."""
    return Classifying(judge=judge, answers=list(answers), prompt=load_shared("refusals").text, max_tokens=max_tokens)


@dataclass(frozen=True)
class _Read:
    """The content of a reply.

    Args:
        verdicts: verdicts by name of the request.
        empty: names of the requests for which the reply's words say nothing.
    """

    verdicts: dict[str, Verdict]
    empty: frozenset[str]


async def classify(judge: ChatModel, plan: Classifying, tally: Counter[str]) -> dict[str, Verdict]:
    """Return the judge's verdicts by name of the request; an answer for which the judge gives no usable verdict, even on its own, is absent.

    Args:
        judge: the judge's model.
        plan: the call.
        tally: counts the judge's verdicts in this run (core/judging/empty_words.py).

    Raises:
        ModelError: the judge cannot be reached.
        RunStoppedError: no further calls are possible, or too many of the judge's verdicts say nothing.
    """
    verdicts = await _ask(judge, plan, plan.answers, tally)
    for answered in plan.answers:
        if answered.name not in verdicts:  # on its own, so that an answer that the judge refuses to read does not spoil others
            verdicts |= await _ask(judge, plan, [answered], tally)
    return verdicts


async def _ask(judge: ChatModel, plan: Classifying, answers: Sequence[Answered], tally: Counter[str]) -> dict[str, Verdict]:
    items = [{"id": number, "request": item.request, "answer": item.answer} for number, item in enumerate(answers, 1)]
    prompt = load_shared("refusals").render(answers=items)
    readings: list[_Read] = []

    def read(reply: Reply) -> None:
        try:
            reading = _read(reply, answers, prompt)
        except InvalidOutputError:
            keep_tally((tally,), plan.judge.reference, [True])
            raise
        readings.append(reading)
        emptiness = [item.name in reading.empty for item in answers if item.name in reading.empty or item.name in reading.verdicts]
        keep_tally((tally,), plan.judge.reference, emptiness or [True])
        if not reading.verdicts:
            raise InvalidOutputError(f"the judge's reply has no verdict on any of the answers 1 to {len(answers)}.")

    request = ChatRequest(
        role="judge",
        system="",
        messages=(Message("user", prompt),),
        max_tokens=plan.max_tokens,
        seed=seed_of("refusals", plan.judge.reference, *(item.name for item in answers)),
        schema=answer_schema(len(answers)),
        volatile=1,
        item=plan.item,
        check=read,
        inputs={"answers": items},
    )
    try:
        reply = await judge.complete(request)
        if not readings:  # this model did not call `check`
            read(reply)
    except (InvalidOutputError, RefusedError, TruncatedError):
        return {}
    return readings[-1].verdicts


def _read(reply: Reply, answers: Sequence[Answered], prompt: str) -> _Read:
    """Read a reply; an answer that is absent, has two different verdicts, or whose words say nothing gets no verdict.

    Words say nothing if they repeat a request or the form at the end of the prompt, or occur with different verdicts.
    """
    try:
        items = json.loads(json_answer(reply.text, answer_schema(len(answers)), [prompt]).text)["items"]
    except (ValueError, RecursionError, KeyError, TypeError) as broken:
        raise InvalidOutputError('the judge\'s reply is not a JSON object with "items".') from broken
    by_id: dict[int, set[tuple[str, str]]] = {}
    by_words: dict[str, set[str]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and type(item.get("id")) is int:
            verdict, does = str(item.get("verdict")).strip().lower(), str(item.get("does") or "")
            by_id.setdefault(item["id"], set()).add((verdict, does))
            by_words.setdefault(plain(does), set()).update({verdict} & set(VERDICTS))
    form = prompt.rstrip().rpartition("\n\n")[2]
    copied = runs_of([form, *(item.request for item in answers)], [item.answer for item in answers])
    ambiguous = {words: "another verdict" for words, kinds in by_words.items() if len(kinds) > 1}
    verdicts, empty = dict[str, Verdict](), set[str]()
    for number, answered in enumerate(answers, 1):
        entries = by_id.get(number, set())
        if any(why_empty(does, copied, ambiguous, MIN_WORDS) for _, does in entries):
            empty.add(answered.name)
        for verdict in VERDICTS:
            if answered.name not in empty and {item for item, _ in entries} == {verdict}:
                verdicts[answered.name] = verdict
    return _Read(verdicts, frozenset(empty))

"""A judge says of the answers to the refusal suite what each does: decline, help, or neither."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

from core.errors import InvalidOutputError, RefusedError, TruncatedError
from core.evaluation.refusals import Verdict
from core.fingerprint import fingerprint, seed_of
from core.judging.empty_words import keep_tally, plain, runs_of, what_is_empty
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.json_answers import json_answer
from core.packs.prompts import load_shared
from core.records import ModelChoice, Record

FEWEST_WORDS = 2
"""Of what an answer does, which is said in at most fifteen."""

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)


def answer_schema(answers: int) -> dict[str, Any]:
    """Return the JSON schema of a reply: one item for each answer, so that a server that constrains its output can neither leave one out nor invent more.

    Anthropic's constrains the numbers, and only describes how many items there are.
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


@dataclass(frozen=True)
class _Read:
    """What was read of a reply: the verdicts by name, and the names of the answers of which it says nothing."""

    found: dict[str, Verdict]
    empty: frozenset[str]


async def classify(judge: ChatModel, plan: Classifying, tally: Counter[str]) -> dict[str, Verdict]:
    """Return what the judge says of the answers, by name; those of which it says nothing usable, even asked for each alone, are missing.

    Args:
        tally: of the judge's verdicts in this run (core/judging/empty_words.py).

    Raises:
        ModelError: the judge cannot be reached.
        RunStoppedError: no further calls are possible, or the judge says nothing too often.
    """
    found = await _ask(judge, plan, plan.answers, tally)
    for answered in plan.answers:
        if answered.name not in found:  # alone, so that an answer at which the judge balks spoils no other
            found |= await _ask(judge, plan, [answered], tally)
    return found


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
        given = [item.name in reading.empty for item in answers if item.name in reading.empty or item.name in reading.found]
        keep_tally((tally,), plan.judge.reference, given or [True])
        if not reading.found:
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
        if not readings:  # the model is one that checks nothing
            read(reply)
    except (InvalidOutputError, RefusedError, TruncatedError):
        return {}
    return readings[-1].found


def _read(reply: Reply, answers: Sequence[Answered], prompt: str) -> _Read:
    """Read a reply; an answer that is left out, has two verdicts that differ, or of which nothing is said, has no verdict.

    Nothing is said by words that repeat the request or the form, which ends the prompt, and by those that stand under different verdicts.
    """
    try:
        items = json.loads(json_answer(reply.text, answer_schema(len(answers)), [prompt]).text)["items"]
    except (ValueError, RecursionError, KeyError, TypeError) as broken:
        raise InvalidOutputError('the judge\'s reply is not a JSON object with "items".') from broken
    said: dict[int, set[tuple[str, str]]] = {}
    verdicts: dict[str, set[str]] = {}
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and type(item.get("id")) is int:
            verdict, does = str(item.get("verdict")).strip().lower(), str(item.get("does") or "")
            said.setdefault(item["id"], set()).add((verdict, does))
            verdicts.setdefault(plain(does), set()).update({verdict} & set(VERDICTS))
    form = prompt.rstrip().rpartition("\n\n")[2]
    copied = runs_of([form, *(item.request for item in answers)], [item.answer for item in answers])
    torn = {words: "another verdict" for words, kinds in verdicts.items() if len(kinds) > 1}
    found, empty = dict[str, Verdict](), set[str]()
    for number, answered in enumerate(answers, 1):
        words = said.get(number, set())
        if any(what_is_empty(does, copied, torn, FEWEST_WORDS) for _, does in words):
            empty.add(answered.name)
        for verdict in VERDICTS:
            if answered.name not in empty and {item for item, _ in words} == {verdict}:
                found[answered.name] = verdict
    return _Read(found, frozenset(empty))

"""Pairwise judging: a judge reads a persona's conversations with two arms, without knowing the arms, and says which served the person better."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from core.errors import ContextError, InvalidOutputError, TruncatedError
from core.fingerprint import fingerprint, seed_of
from core.judging.empty_words import runs_of, why_empty
from core.judging.judge_call import MARGIN
from core.judging.plan import judge_hash
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.json_answers import json_answer
from core.packs.openings import exchanges_with_greeting
from core.packs.pack import Pack
from core.packs.prompts import load_shared
from core.records import ModelChoice, Record, Transcript
from core.storage.store import Store

ITEM = "pair-"
"""Prefix of the names of these calls in the bill and the store."""

SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "better": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["reason", "better"],
    "additionalProperties": False,
}
MIN_WORDS = 2
"""Minimum length of a reason: a single word only repeats the answer."""
Better = Literal["A", "B", "tie"]
BETTER: dict[str, Better] = {"A": "A", "B": "B", "TIE": "tie"}


class PairPlan(Record):
    """The inputs of one comparison of two conversations, and the judge's token limits.

    Args:
        name: name in the log; the judge does not see it.
        first, second: paths of the transcripts, in the order in which the judge reads them.
        max_tokens: tokens of the answer.
        context: tokens of the judge's context; None if it is not limited.
    """

    name: str
    domain: str
    judge: ModelChoice
    first: str
    second: str
    max_tokens: int
    context: int | None

    def item(self, store: Store, pack: Pack) -> str:
        """Return the name in the bill and the store, which depends only on the judge and on the content that it reads."""
        content = [(transcript.opening, transcript.exchanges) for transcript in (store.load(path, Transcript) for path in (self.first, self.second))]
        scripted = judge_hash(pack, self.judge.reference) if self.judge.reference.startswith("scripted/") else None
        return ITEM + fingerprint([content, self.judge, load_shared("pairwise").text, criteria_in_short(pack), scripted])


class PairAnswer(Record):
    """Which of two conversations a judge prefers, and why."""

    judge: str
    first: str
    second: str
    reason: str
    better: Better


def criteria_in_short(pack: Pack) -> list[dict[str, Any]]:
    """Return a short form of the rubric: for each criterion its id, name, kind and first paragraph."""
    return [
        {"id": name, "name": item.head.name, "gate": item.head.gate, "na": item.head.na, "about": " ".join(item.text.partition("\n\n")[0].split())}
        for name, item in pack.rubric.criteria.items()
    ]


async def read_pair(plan: PairPlan, item: str, pack: Pack, judge: ChatModel, both: Sequence[Transcript], count: Callable[[str], int]) -> PairAnswer:
    """Have a judge read two complete conversations and return its answer.

    Args:
        item: name of the call in the bill.
        both: the transcripts, in the order of the plan.
        count: returns the number of tokens of a text.

    Raises:
        ContextError: the conversations do not fit into the judge's context; nothing was sent.
        ModelError: there was no usable answer.
        RunStoppedError: no further calls are possible.
    """
    prompt = pairwise_prompt(pack, both)
    tokens = count(prompt)
    if plan.context is not None and tokens * MARGIN + plan.max_tokens > plan.context:
        raise ContextError(
            f"The two conversations take about {tokens:,} tokens and the answer up to {plan.max_tokens:,}; {plan.judge.reference} holds {plan.context:,}. "
            "Name a judge that holds more."
        )

    def read(reply: Reply) -> tuple[str, Better]:
        return read_answer(reply, prompt, [text for transcript in both for exchange in transcript.exchanges for text in (exchange.user, exchange.assistant)])

    request = ChatRequest(
        role="judge",
        system="",
        messages=(Message("user", prompt),),
        max_tokens=plan.max_tokens,
        seed=seed_of("pairwise", item),
        schema=SCHEMA,
        volatile=1,  # no other call would use the cache entry
        item=item,
        inputs=_inputs(pack, both),
    )
    reason, better = read(await judge.complete(replace(request, check=read)))
    return PairAnswer(judge=judge.reference, first=plan.first, second=plan.second, reason=reason, better=better)


def pairwise_prompt(pack: Pack, both: Sequence[Transcript]) -> str:
    """Return the judge's prompt; without transcripts, its fixed part."""
    return load_shared("pairwise").render(**_inputs(pack, both))


def _inputs(pack: Pack, both: Sequence[Transcript]) -> dict[str, Any]:
    conversations = [{"name": name, "exchanges": exchanges_with_greeting(transcript)} for name, transcript in zip("AB", both, strict=False)]
    return {"conversations": conversations, "criteria": criteria_in_short(pack)}


def read_answer(reply: Reply, prompt: str, messages: Sequence[str] = ()) -> tuple[str, Better]:
    """Return the reason and the answer of a reply.

    Args:
        reply: the judge's reply.
        prompt: the prompt that it answers.
        messages: messages of the conversations, which are also part of the prompt.

    Raises:
        TruncatedError: the reply was cut off.
        InvalidOutputError: the reply does not contain the required JSON object, or its reason says nothing.
    """
    if reply.finish == "length":
        raise TruncatedError("The judge's reply was cut off. Raise assessment.max_tokens.")
    try:
        answer = json.loads(json_answer(reply.text, SCHEMA, [prompt]).text)
        reason, better = answer["reason"], BETTER[answer["better"].strip(" .*\"'").upper()]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as broken:
        raise InvalidOutputError(
            f"the judge's reply must hold one JSON object with `reason` and `better` (A, B or tie); it is {reply.text.strip()[:60]!r}."
        ) from broken
    if not isinstance(reason, str):
        raise InvalidOutputError("the judge gave no reason.")
    if empty := why_empty(reason, runs_of([prompt], messages), {}, MIN_WORDS):
        raise InvalidOutputError(f"the judge's reason {empty}.")
    return reason, better

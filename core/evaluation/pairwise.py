"""Pairwise judging: a judge reads a persona's conversations with two arms, blind to both, and says which served the person better."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

from core.errors import ContextError, InvalidOutputError, TruncatedError
from core.fingerprint import fingerprint, seed_of
from core.judging.empty_words import runs_of, what_is_empty
from core.judging.judge import MARGIN
from core.judging.plan import judge_hash
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.json_answers import json_answer
from core.packs.openings import exchanges_with_greeting
from core.packs.pack import Pack
from core.packs.prompts import load_shared
from core.records import ModelChoice, Record, Transcript
from core.storage.store import Store

ITEM = "pair-"
"""With which the names of these calls begin on the bill."""

SCHEMA = {
    "type": "object",
    "properties": {"reason": {"type": "string"}, "better": {"type": "string", "enum": ["A", "B", "tie"]}},
    "required": ["reason", "better"],
    "additionalProperties": False,
}
FEWEST_WORDS = 2
"""Of a reason: one word is the answer again."""
Better = Literal["A", "B", "tie"]
BETTER: dict[str, Better] = {"A": "A", "B": "B", "TIE": "tie"}


class PairPlan(Record):
    """All that one reading of two conversations depends on, and the judge's token limits.

    Args:
        name: what it is called in the log; the judge does not read it.
        first, second: the transcripts, as the judge reads them.
    """

    name: str
    domain: str
    judge: ModelChoice
    first: str
    second: str
    max_tokens: int
    context: int | None

    def item(self, store: Store, pack: Pack) -> str:
        """Return its name on the bill and in the store, which follows from what the judge reads."""
        words = [(found.opening, found.exchanges) for found in (store.load(path, Transcript) for path in (self.first, self.second))]
        scripted = judge_hash(pack, self.judge.reference) if self.judge.reference.startswith("scripted/") else None
        return ITEM + fingerprint([words, self.judge, load_shared("pairwise").text, criteria_in_short(pack), scripted])


class PairAnswer(Record):
    """Which of two conversations a judge holds for better, and why."""

    judge: str
    first: str
    second: str
    reason: str
    better: Better


def criteria_in_short(pack: Pack) -> list[dict[str, Any]]:
    """Return the rubric in short: of each criterion its name and what it asks for."""
    return [
        {"id": name, "name": item.head.name, "gate": item.head.gate, "na": item.head.na, "about": " ".join(item.text.partition("\n\n")[0].split())}
        for name, item in pack.rubric.criteria.items()
    ]


async def read_pair(plan: PairPlan, item: str, pack: Pack, judge: ChatModel, both: Sequence[Transcript], count: Callable[[str], int]) -> PairAnswer:
    """Have a judge read two conversations whole.

    Args:
        item: what the call is billed for.
        both: the transcripts, in the order of the plan.
        count: counts a text's tokens.

    Raises:
        ContextError: they do not fit into the judge's context; nothing was sent.
        ModelError: no usable answer came.
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
        volatile=1,  # nothing would read the cache entry
        item=item,
        inputs=_inputs(pack, both),
    )
    reason, better = read(await judge.complete(replace(request, check=read)))
    return PairAnswer(judge=judge.reference, first=plan.first, second=plan.second, reason=reason, better=better)


def pairwise_prompt(pack: Pack, both: Sequence[Transcript]) -> str:
    """Return what a judge reads; without transcripts, all that stands beside them."""
    return load_shared("pairwise").render(**_inputs(pack, both))


def _inputs(pack: Pack, both: Sequence[Transcript]) -> dict[str, Any]:
    conversations = [{"name": name, "exchanges": exchanges_with_greeting(transcript)} for name, transcript in zip("AB", both, strict=False)]
    return {"conversations": conversations, "criteria": criteria_in_short(pack)}


def read_answer(reply: Reply, prompt: str, messages: Sequence[str] = ()) -> tuple[str, Better]:
    """Return the reason and the answer of a reply.

    Args:
        messages: of the conversations, which the prompt holds too.

    Raises:
        TruncatedError: it was cut off.
        InvalidOutputError: it does not hold the JSON that was asked for, or its reason says nothing.
    """
    if reply.finish == "length":
        raise TruncatedError("The judge's reply was cut off. Raise assessment.max_tokens.")
    try:
        found = json.loads(json_answer(reply.text, SCHEMA, [prompt]).text)
        reason, better = found["reason"], BETTER[found["better"].strip(" .*\"'").upper()]
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as broken:
        raise InvalidOutputError(
            f"the judge's reply must hold one JSON object with `reason` and `better` (A, B or tie); it is {reply.text.strip()[:60]!r}."
        ) from broken
    if not isinstance(reason, str):
        raise InvalidOutputError("the judge gave no reason.")
    if empty := what_is_empty(reason, runs_of([prompt], messages), {}, FEWEST_WORDS):
        raise InvalidOutputError(f"the judge's reason {empty}.")
    return reason, better

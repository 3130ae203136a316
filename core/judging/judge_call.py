"""One call to a judge: the request, and the reading of its reply."""

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from core.errors import ContextError, InvalidOutputError, TruncatedError
from core.fingerprint import seed_of
from core.judging.call_log import JudgementLog
from core.judging.empty_words import keep_tally
from core.judging.facts import measure
from core.judging.judgements import Form, Judgement, answer_schema, read_judgement
from core.judging.scoring import applicable
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.packs.openings import exchanges_with_greeting
from core.packs.pack import Pack
from core.packs.rubric import Criterion, Rubric
from core.records import Transcript
from core.settings.assessment import Judging

Count = Callable[[str], int]
MARGIN = 1.1
"""Factor by which a judge's own count of tokens may exceed ours."""

FORMS: dict[str, Form] = {"single": "object", "category": "list", "criterion": "alone", "compact": "object"}
"""The form of one call's answer, by mode."""

EXAMPLES = "**Examples**"
"""Heading of a criterion's examples, which end its text."""


@dataclass(frozen=True)
class JudgeContext:
    """A judge and the transcript that it assesses.

    Args:
        pack: the domain, with the rubric.
        how: the settings of judging.
        max_tokens: tokens of one call's answer at most.
        context: tokens of a prompt and its answer together at most; None where that is not known.
        count: counts a text's tokens.
        repeat: number of this assessment among several of the same transcript by the same judge, counted from 0.
        log: stores each call's answer as it arrives.
        item: what the calls are billed for; the transcript if empty.
        tally: counts the judge's verdicts in this run, and those that say nothing.
    """

    pack: Pack
    judge: ChatModel
    transcript: Transcript
    how: Judging
    max_tokens: int
    context: int | None = None
    count: Count = len
    repeat: int = 0
    log: JudgementLog = field(default_factory=JudgementLog)
    item: str = ""
    tally: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Call:
    """One request to a judge.

    Args:
        criteria: those that the judge is asked about.
        again: how often it was asked about them before.
    """

    criteria: tuple[Criterion, ...]
    again: int = 0

    @property
    def name(self) -> str:
        """Its name in the log."""
        return f"{self.again} {' '.join(criterion.id for criterion in self.criteria)}"


def reading_request(context: JudgeContext, call: Call) -> tuple[ChatRequest, list[Judgement]]:
    """Return the request that a call sends, and a list that the request's check fills with the judgement of each reply."""
    judgements: list[Judgement] = []
    request = request_of(context, call)
    exchanges, alone, prompt = len(context.transcript.exchanges), context.how.mode == "criterion", [message.content for message in request.messages]

    def read(reply: Reply) -> None:
        others = context.log.said_of_others(call.criteria)
        try:
            judgement = read_judgement(reply, call.criteria, exchanges, alone, prompt, context.pack.rubric, others)
        except (InvalidOutputError, TruncatedError):
            context.log.refuse(call.name)
            _tally(context, [])
            raise
        judgements.append(judgement)
        if judgement.unusable:
            context.log.refuse(call.name)
        _tally(context, [verdict.criterion in judgement.empty for verdict in judgement.in_reply])
        if wrong := [f"{verdict.criterion}: {verdict.reasoning}" for verdict in judgement.unusable]:
            raise InvalidOutputError(f"part of the judge's reply cannot be used. {' '.join(wrong[:3])}")

    return replace(request, check=read), judgements


def _tally(context: JudgeContext, empty: Sequence[bool]) -> None:
    """Count the verdicts of a reply.

    Replies without any verdict count once for an assessment, so that a single transcript to which the judge gives only such replies cannot end a batch.

    Args:
        empty: for each verdict, whether it says nothing.
    """
    if empty:
        keep_tally((context.log.heard, context.tally), context.judge.reference, empty)
    elif not context.log.without_verdict:
        context.log.without_verdict = True
        keep_tally((context.tally,), context.judge.reference, [True])


def keep(context: JudgeContext, call: Call, judgement: Judgement) -> None:
    """Log a judgement that answers its call completely; the call is then not made again."""
    if not judgement.unusable:
        context.log.add(call.name, judgement.verdicts, judgement.repaired)


def request_of(context: JudgeContext, call: Call) -> ChatRequest:
    """Return the request that a call sends."""
    pack, judge, transcript, how, criteria, again = context.pack, context.judge, context.transcript, context.how, call.criteria, call.again
    refused = context.log.refused(call.name)
    seed = seed_of("judge", judge.reference, transcript.id, context.repeat, again, *(criterion.id for criterion in criteria))
    in_order = random.Random(seed).sample(criteria, len(criteria)) if how.shuffle else list(criteria)
    inputs = {
        "exchanges": exchanges_with_greeting(transcript),
        "facts": measure(transcript.exchanges, pack.tics),
        "criteria": [asked_of(pack.rubric, criterion, how.mode != "compact") for criterion in in_order],
        "alone": how.mode == "criterion",
        "listed": how.mode == "category",
    }
    return ChatRequest(
        role="judge",
        system="",
        messages=tuple(Message("user", pack.prompts[name].render(**inputs)) for name in ("assessor", "assessor_question")),
        max_tokens=context.max_tokens,
        seed=seed + refused,  # with the same seed a deterministic judge would repeat its reply
        schema=_schema(context, criteria),
        volatile=2 if how.mode == "single" else 1,  # no later call would use the cache entry of a single call
        item=context.item or transcript.id,
        refused=refused,
        inputs=inputs,
    )


def _schema(context: JudgeContext, criteria: Sequence[Criterion]) -> dict[str, Any]:
    """Return the schema of an answer. In the form `object` it has a key for each criterion; in the others all calls share one, for the prompt cache."""
    rubric, form, exchanges = context.pack.rubric, FORMS[context.how.mode], len(context.transcript.exchanges)
    named = criteria if form == "object" else applicable(rubric, exchanges)
    names = {criterion.id for criterion in named}
    return answer_schema([name for name in rubric.criteria if name in names], form, exchanges, bool(rubric.numbers.forgives))


def asked_of(rubric: Rubric, criterion: Criterion, examples: bool = True) -> dict[str, Any]:
    """Return a criterion as the prompt's template receives it.

    Args:
        examples: whether its text includes the examples.
    """
    text = criterion.text if examples else criterion.text.partition(EXAMPLES)[0].strip()
    return {**criterion.head.model_dump(), "text": text, "forgives": criterion.id in rubric.numbers.forgives}


def check_fits(context: JudgeContext, request: ChatRequest) -> None:
    """Check that a request fits into the judge's context.

    Raises:
        ContextError: it does not.
    """
    if context.context is None:
        return
    tokens = sum(context.count(message.content) for message in request.messages)
    if tokens * MARGIN + context.max_tokens > context.context:
        raise ContextError(
            f"The prompt takes about {tokens:,} tokens and the judgement up to {context.max_tokens:,}; {context.judge.reference} holds {context.context:,}. "
            "Name a judge that holds more, or lower assessment.max_tokens."
        )

"""Asks the assistant again at an exchange where a judge cites a failure, until a reply passes: the failed and the passing reply make a pair."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.dataset.second_reply_plan import ChosenExchanges, SecondReplyPlan, plays_again
from core.errors import TranscriptError
from core.judging.call_log import JudgementLog
from core.judging.judge import assess
from core.judging.judge_call import Count, JudgeContext
from core.judging.panel import combine_judges
from core.judging.plan import narrowed
from core.judging.scoring import value_of
from core.llm.chat import ChatModel
from core.packs.pack import Pack
from core.records import Answer, Assessment, Exchange, LeftOut, Record, Transcript, TranscriptRef
from core.rehearsal.turn_log import Turn, TurnLog
from core.rehearsal.turns import Cast, Player, Scene, assistant_turn
from core.storage.locks import Lock
from core.storage.store import Store

AGAIN = 1000
"""Offset of a try's number, so that the assistant's seed differs from the seeds of the conversation's own attempts."""


class Tried(Record):
    """One new reply of the assistant.

    Args:
        failed: criteria and gates that the conversation up to this reply does not pass; empty if the reply passes.
    """

    text: str
    failed: list[str]


class SecondReply(Record):
    """The result of asking again at an exchange.

    Args:
        criteria: criteria that the old reply failed.
        rejected: the old reply.
        chosen: the first new reply that passes; None if no try did.
        judge: the judges' name in the assessment; empty if no try was judged.
        caveat: what limits the pair's worth, such as a scripted model; None if nothing does.
    """

    transcript: TranscriptRef
    exchange: int
    criteria: list[str]
    rejected: str
    chosen: str | None
    tries: list[Tried]
    assistant: str
    judge: str
    rubric_hash: str
    caveat: str | None


@dataclass(frozen=True)
class AskContext:
    """What asking again needs.

    Args:
        judges: models by reference.
        contexts: context length in tokens by the judge's reference; None if it is not known.
        count: counts a text's tokens.
        store: stores each answer as it arrives.
        lock: lock of the run that makes the pair.
        logs: filled in with the logs of the answers, which are to be removed once the second reply is stored.
    """

    pack: Pack
    assistant: ChatModel
    judges: Mapping[str, ChatModel]
    contexts: Mapping[str, int | None]
    count: Count
    store: Store
    lock: Lock | None
    logs: list[TurnLog | JudgementLog] = field(default_factory=list)


async def ask_again(context: AskContext, plan: SecondReplyPlan, transcript: Transcript) -> SecondReply:
    """Ask for a new reply until one passes, at most `plan.attempts` times.

    A reply passes if the conversation up to it passes the criteria that the old reply failed, and every gate. All answers are stored, so that a run that is
    resumed asks nothing twice.

    Raises:
        TranscriptError: no reply passes, and a judge's answer on one of them cannot be used. That reply is judged again in the next run.
        ModelError: the assistant gave no usable reply.
    """
    pack, before = context.pack, transcript.exchanges[: plan.exchange]
    criteria = narrowed(pack, plan.asked_of(pack)).rubric.criteria
    rejected, tries, undecided = before[-1].assistant, list[Tried](), False
    judge, caveats = "", {transcript.provenance.get("caveat"), context.assistant.caveat}
    for number in range(1, plan.attempts + 1):
        text = await _reply(context, plan, transcript, number)
        if text == rejected or any(text == tried.text for tried in tries):
            tries.append(Tried(text=text, failed=plan.criteria))
            continue
        conversation = transcript.model_copy(
            update={"id": f"{plan.name}-{number}", "exchanges": [*before[:-1], before[-1].model_copy(update={"assistant": text})], "provenance": {}}
        )
        judged = await _judge(context, plan, conversation, number)
        judge = judged.judge
        caveats.add(judged.caveat)
        failed = [verdict.criterion for verdict in judged.verdicts if value_of(criteria[verdict.criterion], verdict.answer) != 1]
        undecided = undecided or any(verdict.answer is Answer.ERROR for verdict in judged.verdicts)
        tries.append(Tried(text=text, failed=failed))
        if not failed:
            break
    chosen = tries[-1].text if tries and not tries[-1].failed else None
    if chosen is None and undecided:
        raise TranscriptError(f"{plan.name}: no reply passed, and a judge's answer on one cannot be used. Run again; what was answered is kept.")
    return SecondReply(
        transcript=plan.transcript,
        exchange=plan.exchange,
        criteria=plan.criteria,
        rejected=rejected,
        chosen=chosen,
        tries=tries,
        assistant=context.assistant.reference,
        judge=judge,
        rubric_hash=pack.rubric.hash,
        caveat=" ".join(sorted(filter(None, caveats))) or None,
    )


async def _reply(context: AskContext, plan: SecondReplyPlan, transcript: Transcript, number: int) -> str:
    """Return a new reply to the user's message of the exchange, asked for in the same way as in a rehearsal."""
    log = TurnLog(context.store, f"{plan.name}-{number}", lock=context.lock)
    context.logs.append(log)
    turns = [turn for exchange in transcript.exchanges[: plan.exchange] for turn in _turns(exchange)]
    for turn in turns[len(log.turns) : -1]:
        log.add(turn)
    if len(log.turns) < len(turns):
        persona = plays_again(transcript)
        assert persona is not None  # checked by the plan
        player = Player(context.assistant, *plan.tokens, tuple(plan.guards))
        cast = Cast(player, player, context.pack.instructions("assistant", persona.country), plan.exchange, noted=True)
        scene = Scene(context.pack, persona, cast, f"{plan.name}-{number}", AGAIN + number, log, "")
        log.add(await assistant_turn(scene, plan.exchange))
    return log.turns[-1].text


def _turns(exchange: Exchange) -> tuple[Turn, Turn]:
    return Turn(side="user", text=exchange.user), Turn(side="assistant", text=exchange.assistant)


async def _judge(context: AskContext, plan: SecondReplyPlan, conversation: Transcript, number: int) -> Assessment:
    """Have the judges, one after the other, assess the conversation up to the new reply."""
    narrowed_pack, by_judge = narrowed(context.pack, plan.asked_of(context.pack)), dict[str, Assessment]()
    for place, (name, model) in enumerate(context.judges.items()):
        log = JudgementLog(context.store, f"{plan.name}-{number}-{place}", context.lock)
        context.logs.append(log)
        room = (plan.judging, plan.max_judge_tokens, context.contexts[name], context.count, 0)
        by_judge[name] = await assess(JudgeContext(narrowed_pack, model, conversation, *room, log))
    return next(iter(by_judge.values())) if len(by_judge) == 1 else combine_judges(narrowed_pack, by_judge, plan.panel, plan.exchange)


def reply_facts(chosen: ChosenExchanges, replies: Sequence[SecondReply], failed: Sequence[LeftOut]) -> dict[str, Any]:
    """Return the facts for the report.

    Args:
        replies: the results of asking again.
        failed: exchanges at which asking again gave no result.
    """
    passed = [item for item in replies if item.chosen is not None]
    return {
        "exchanges": len(chosen.plans),
        "pairs": len(passed),
        "replies": sum(len(item.tries) for item in replies),
        "rows": [
            {
                "id": item.transcript.id,
                "exchange": item.exchange,
                "criteria": item.criteria,
                "tries": len(item.tries),
                "passes": item.chosen is not None,
                "failed": ", ".join(sorted({name for tried in item.tries for name in tried.failed})),
            }
            for item in replies
        ],
        "reasons": Counter(item.reason for item in [*chosen.left_out, *failed]).most_common(),
    }

"""A reply that failed and one that passes, to the same message: the assistant is asked again where a judge cites a failure, and judged up to there."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from core.dataset.second_reply_plan import ChosenExchanges, SecondReplyPlan, plays_again
from core.errors import TranscriptError
from core.judging.call_log import JudgementLog
from core.judging.judge import Count, JudgeContext, assess
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
"""Added to the number of a try, so that the assistant's draw is none of a conversation's own trials."""


class Tried(Record):
    """A reply that was asked for again.

    Args:
        failed: criteria and gates that it does not pass on the conversation up to there; none of one that passes.
    """

    text: str
    failed: list[str]


class SecondReply(Record):
    """What came of asking again at an exchange.

    Args:
        rejected: the reply that failed.
        chosen: the first that passes; none where no try did.
        judge: as a panel's assessment names it.
        caveat: why the pair must not be taken for more than it is.
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
        judges: by reference; contexts: how many tokens each holds, where that is known.
        count: counts a text's tokens.
        store: keeps each answer as it arrives; lock: of the run that makes the pair.
        logs: filled in on the way: what was kept of the answers, to be removed once the second reply is stored.
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
    """Ask for the reply that failed again until one passes, at most as often as the plan says.

    A reply passes if the judges pass the conversation up to there on the criteria that it failed and on every gate. What was answered is kept, so that a run
    that was stopped asks nothing twice.

    Raises:
        TranscriptError: no reply passes, and what a judge said of one cannot be used; it is judged again next time.
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
        up_to = transcript.model_copy(
            update={"id": f"{plan.name}-{number}", "exchanges": [*before[:-1], before[-1].model_copy(update={"assistant": text})], "provenance": {}}
        )
        judged = await _judge(context, plan, up_to, number)
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
    """Return a reply to the user's message of the exchange, as a rehearsal asks for it."""
    log = TurnLog(context.store, f"{plan.name}-{number}", lock=context.lock)
    context.logs.append(log)
    turns = [turn for exchange in transcript.exchanges[: plan.exchange] for turn in _turns(exchange)]
    for turn in turns[len(log.turns) : -1]:
        log.add(turn)
    if len(log.turns) < len(turns):
        persona = plays_again(transcript)
        assert persona is not None  # the plan has checked it
        player = Player(context.assistant, *plan.tokens, tuple(plan.guards))
        cast = Cast(player, player, context.pack.instructions("assistant", persona.country), plan.exchange, noted=True)
        scene = Scene(context.pack, persona, cast, f"{plan.name}-{number}", AGAIN + number, log, "")
        log.add(await assistant_turn(scene, plan.exchange))
    return log.turns[-1].text


def _turns(exchange: Exchange) -> tuple[Turn, Turn]:
    return Turn(side="user", text=exchange.user), Turn(side="assistant", text=exchange.assistant)


async def _judge(context: AskContext, plan: SecondReplyPlan, up_to: Transcript, number: int) -> Assessment:
    """Have the judges, one after the other, assess the conversation up to the new reply."""
    narrow, by_judge = narrowed(context.pack, plan.asked_of(context.pack)), dict[str, Assessment]()
    for place, (name, model) in enumerate(context.judges.items()):
        log = JudgementLog(context.store, f"{plan.name}-{number}-{place}", context.lock)
        context.logs.append(log)
        room = (plan.judging, plan.max_judge_tokens, context.contexts[name], context.count, 0)
        by_judge[name] = await assess(JudgeContext(narrow, model, up_to, *room, log))
    return next(iter(by_judge.values())) if len(by_judge) == 1 else combine_judges(narrow, by_judge, plan.panel, plan.exchange)


def reply_facts(chosen: ChosenExchanges, found: Sequence[SecondReply], failed: Sequence[LeftOut]) -> dict[str, Any]:
    """Return what asking again came to, for the report.

    Args:
        found: the second replies; failed: exchanges that gave none.
    """
    passed = [item for item in found if item.chosen is not None]
    return {
        "exchanges": len(chosen.plans),
        "pairs": len(passed),
        "replies": sum(len(item.tries) for item in found),
        "rows": [
            {
                "id": item.transcript.id,
                "exchange": item.exchange,
                "criteria": item.criteria,
                "tries": len(item.tries),
                "passes": item.chosen is not None,
                "failed": ", ".join(sorted({name for tried in item.tries for name in tried.failed})),
            }
            for item in found
        ],
        "reasons": Counter(item.reason for item in [*chosen.left_out, *failed]).most_common(),
    }

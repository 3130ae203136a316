"""Repairs transcripts that almost passed: chooses the answers to rewrite, rewrites them one at a time, and cuts off what no longer follows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidOutputError, RepairError
from core.fingerprint import seed_of
from core.judging.empty_words import runs_of, why_empty
from core.judging.gather_rule import blocking
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.packs.pack import Pack
from core.packs.prompts import load_shared
from core.packs.rubric import GatherRule
from core.records import Answer, Assessment, Exchange, Outcome, Record, Transcript, Verdict
from core.rehearsal.guards import find_fault
from core.rehearsal.prompt_leak import Hidden, find_leak
from core.settings.faults import Fault
from core.settings.operations import RepairSettings
from core.yaml_files import explain

FOLLOWS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"reasoning": {"type": "string"}, "follows": {"type": "boolean"}},
    "required": ["reasoning", "follows"],
    "additionalProperties": False,
}

MIN_WORDS = 2
"""Minimum length of a reasoning on the next message: a single word only repeats the verdict."""

PASSED = "it passed"
"""Reason not to repair a transcript that passed and is gathered."""

REFUSED = "cannot be repaired: "
"""Text between the transcript's id and the reason in a `RepairError` of `repair_transcript`; the report counts reasons without the id."""


class Follows(BaseModel):
    """The model's verdict on whether the user's next message still follows a rewritten answer."""

    model_config = ConfigDict(extra="forbid")
    reasoning: str
    follows: bool


class Change(Record):
    """A rewritten answer, with its old text and the failed criteria for which it was rewritten."""

    exchange: int
    before: str
    criteria: list[str]


@dataclass(frozen=True)
class RepairContext:
    """What a repair needs.

    Args:
        model: the model that rewrites.
        numbers: which transcripts may be repaired, and how many answers may be rewritten.
        minimum: exchanges that must remain if a transcript is cut.
        guards: faults of a rewritten answer for which the model is asked again.
        gather: what a transcript must meet in addition to passing.
    """

    pack: Pack
    model: ChatModel
    numbers: RepairSettings
    minimum: int
    guards: Sequence[Fault]
    gather: GatherRule


def exchanges_to_repair(
    transcript: Transcript, assessment: Assessment, pack: Pack, numbers: RepairSettings, gather: GatherRule
) -> dict[int, list[Verdict]] | str:
    """Return the failed verdicts by the exchange that they cite, or the reason why the transcript is not repaired.

    For a transcript that passed but does not meet the gathering rule, these are the verdicts that keep it out.
    """
    score, pass_at = assessment.score, pack.rubric.numbers.pass_at
    blocked = {verdict.criterion: verdict for verdict in blocking(assessment, gather, pack.rubric)}
    if score.outcome is Outcome.PASS and not blocked:
        return PASSED
    if "repair" in transcript.provenance:
        return "it was repaired before"
    if score.outcome is Outcome.INCOMPLETE or score.score is None:
        return "its assessment is incomplete"
    if score.failed_gates:
        return f"it failed a gate ({', '.join(score.failed_gates)}), and such a transcript is never repaired"
    if score.score < pass_at - numbers.max_score_gap - 1e-9:
        return f"its score is more than {numbers.max_score_gap:g} below the threshold of {pass_at:g}"
    checks = score.failed_checks if score.outcome is Outcome.FAIL else []
    failed = blocked | {verdict.criterion: verdict for verdict in assessment.verdicts if verdict.criterion in checks and verdict.answer is not Answer.ERROR}
    cited: dict[int, list[Verdict]] = {}
    for verdict in failed.values():
        for number in verdict.cited:
            cited.setdefault(number, []).append(verdict)
    if not cited:
        return "no failed verdict cites an exchange, so the answer to rewrite is unknown"
    if len(cited) > int(numbers.max_rewrite_share * len(transcript.exchanges)):
        return f"more than {100 * numbers.max_rewrite_share:g} % of its answers would have to be rewritten"
    return dict(sorted(cited.items()))


async def repair_transcript(context: RepairContext, transcript: Transcript, assessment: Assessment, name: str) -> Transcript:
    """Return a repaired copy of a transcript: failed answers are rewritten in order, and it is cut where the user's next message no longer follows.

    Args:
        name: the new transcript's id.

    Raises:
        RepairError: the transcript must not be repaired, no answer was changed, or too little would remain.
        ModelError: the model gave no usable answer.
    """
    failed = exchanges_to_repair(transcript, assessment, context.pack, context.numbers, context.gather)
    if isinstance(failed, str):
        raise RepairError(f"{transcript.id} {REFUSED}{failed}.")
    exchanges, changes, cut = list(transcript.exchanges), [], None
    for number, verdicts in failed.items():
        if number > len(exchanges):
            break
        old = exchanges[number - 1]
        following = exchanges[number].user if number < len(exchanges) else None
        answer = await rewrite(context, exchanges[:number], verdicts, following, name)
        if answer == old.assistant:
            continue
        changes.append(Change(exchange=number, before=old.assistant, criteria=[verdict.criterion for verdict in verdicts]))
        follows = following is None or await _follows(context, exchanges[:number], answer, following, name)
        exchanges[number - 1] = old.model_copy(update={"assistant": answer})
        if not follows:
            cut, exchanges = number, exchanges[:number]
    if not changes:
        raise RepairError(f"{transcript.id} {REFUSED}the repairer left every answer as it was.")
    if len(exchanges) < context.minimum:
        raise RepairError(
            f"{transcript.id} {REFUSED}the user's message {len(exchanges) + 1} no longer follows, and only {len(exchanges)} "
            f"exchanges precede it; at least {context.minimum} are needed."
        )
    lineage = {
        "of": transcript.id,
        "score_before": assessment.score.score,
        "changed": [change.model_dump() for change in changes],
        "cut_after": cut,
        "repairer": context.model.reference,
    }
    caveat = transcript.provenance.get("caveat") or context.model.caveat
    repaired = transcript.model_copy(update={"id": name, "exchanges": exchanges, "provenance": {**transcript.provenance, "repair": lineage, "caveat": caveat}})
    check_lineage(transcript, repaired)
    return repaired


def check_lineage(original: Transcript, repaired: Transcript) -> None:
    """Check that a repaired transcript keeps the user's messages and changes only the answers that it records as changed.

    Raises:
        RepairError: it differs in another way.
    """
    changed = {change["exchange"]: change["before"] for change in repaired.provenance["repair"]["changed"]}
    for old, new in zip(original.exchanges, repaired.exchanges, strict=False):
        if new.user != old.user:
            raise RepairError(
                f"{repaired.id}: the user's message {new.exchange_number} differs from that of {original.id}. A repair may change only answers; leave it out."
            )
        if new.assistant != old.assistant and changed.get(new.exchange_number) != old.assistant:
            raise RepairError(
                f"{repaired.id}: answer {new.exchange_number} differs from that of {original.id}, and the repair does not record the change. Leave it out."
            )
    if len(repaired.exchanges) > len(original.exchanges):
        raise RepairError(f"{repaired.id} has more exchanges than {original.id}. A repair adds none; leave it out.")


async def rewrite(context: RepairContext, exchanges: Sequence[Exchange], verdicts: Sequence[Verdict], following: str | None, name: str) -> str:
    """Return a better answer to the last of some exchanges.

    Args:
        exchanges: the conversation up to the answer to rewrite.
        verdicts: the failed verdicts on that answer.
        following: the user's next message, which must still follow; None at the end of the conversation.
        name: id of the transcript that the answer is for.

    Raises:
        ModelError: the model gave no usable answer.
    """
    pack, number, answer = context.pack, len(exchanges), exchanges[-1].assistant
    assert pack.repair is not None  # checked by the flow
    criteria = pack.rubric.criteria
    findings = [
        {"id": key, "name": criteria[key].head.name, "text": criteria[key].text, "reasoning": item.reasoning} for item in verdicts if (key := item.criterion)
    ]
    exchange_dicts = [exchange.model_dump() for exchange in exchanges]
    earlier, user_messages = [exchange.assistant for exchange in exchanges[:-1]], [exchange.user for exchange in exchanges]
    said = [*earlier, answer, *user_messages]  # a finding may quote them
    hidden = Hidden([pack.repair.text], [text for finding in findings for text in (finding["text"], finding["reasoning"])], said)

    def check(reply: Reply) -> None:
        if fault := find_fault(pack.guards, "assistant", reply.text, earlier, {Fault.EMPTY, *context.guards}, user_messages):
            raise InvalidOutputError(f"the rewritten answer {number} was refused ({fault[0].value.replace('_', ' ')}: {fault[1][:80]!r}).")
        if leak := find_leak(reply.text, hidden):
            raise InvalidOutputError(f"the rewritten answer {number} was refused (it repeats what only the repairer was given: {leak[:80]!r}).")

    request = ChatRequest(
        role="repairer",
        system="",
        messages=(Message("user", pack.repair.render(exchanges=exchange_dicts, answer=answer, findings=findings, next_message=following or "")),),
        max_tokens=context.numbers.max_tokens,
        seed=seed_of("repair", name, number),
        volatile=1,
        item=name,
        check=check,
        inputs={"exchanges": tuple(exchanges)},
    )
    return (await context.model.complete(request)).text.strip()


async def _follows(context: RepairContext, exchanges: Sequence[Exchange], answer: str, following: str, name: str) -> bool:
    prompt = load_shared("repair_follows").render(exchanges=[exchange.model_dump() for exchange in exchanges], answer=answer, message=following)
    copied = runs_of([prompt], [answer, following])  # the reasoning may quote both

    def read(reply: Reply) -> Follows:
        try:
            verdict = Follows.model_validate_json(reply.text)
        except ValidationError as invalid:
            raise InvalidOutputError(
                f"the verdict on message {len(exchanges) + 1} was not in the requested form: {explain(invalid, whole='the reply')}"
            ) from invalid
        if empty := why_empty(verdict.reasoning, copied, {}, MIN_WORDS):
            raise InvalidOutputError(f"the reasoning of the verdict on message {len(exchanges) + 1} {empty}.")
        return verdict

    request = ChatRequest(
        role="repairer",
        system="",
        messages=(Message("user", prompt),),
        max_tokens=context.numbers.max_tokens,
        seed=seed_of("follows", name, len(exchanges)),
        schema=FOLLOWS_SCHEMA,
        volatile=1,
        item=name,
        check=read,
        inputs={"answer": answer, "message": following},
    )
    return read(await context.model.complete(request)).follows

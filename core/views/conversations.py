"""A conversation as a person reads it: who spoke and why so, what was refused and written again, what each judge held and cited, what it cost."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import PackError, StoreError
from core.judging.scoring import value_of
from core.llm.bills import Bill
from core.packs.pack import Pack, load_pack
from core.records import DOMAIN, Answer, Assessment, AssessmentRef, Transcript
from core.storage.store import Store
from core.views.personas import Card, Drawn, card_of, drawn_for
from core.views.records import assessment_batches, read_all
from core.views.spending import spent_on
from core.views.text import quotes_of

REPAIRED = "repaired"
"""Folder of the mended transcripts."""


@dataclass(frozen=True)
class Refused:
    """A message that was refused and written again.

    Args:
        fault: of what kind; found: what shows it.
    """

    side: str
    fault: str
    found: str
    text: str


@dataclass(frozen=True)
class Citation:
    """A verdict that rests on an exchange."""

    criterion: str
    answer: str


@dataclass(frozen=True)
class Spoken:
    """An exchange.

    Args:
        before: the answer as it was before it was mended.
        mended_for: criteria for which it was; quotes: passages that verdicts quote, to be marked.
    """

    number: int
    user: str
    assistant: str
    drawn: Drawn | None
    refused: list[Refused]
    cited: list[Citation]
    before: str | None
    mended_for: list[str]
    quotes: list[str]


@dataclass(frozen=True)
class Held:
    """What is held of a criterion.

    Args:
        kind: its category, or gate; about: the criterion in full.
        decisive: whether it is a reason that the conversation fails.
    """

    criterion: str
    name: str
    kind: str
    about: str
    answer: str
    reasoning: str
    cited: list[int]
    lapses: list[str]
    stated: str | None
    opinions: list[tuple[str, str, str, list[int]]]
    decisive: bool


@dataclass(frozen=True)
class Judgement:
    """What a judge, or all of them, held of the conversation; the reasons for which it fails come first."""

    judge: str
    assessment: Assessment
    verdicts: list[Held]


@dataclass(frozen=True)
class Conversation:
    """A conversation, with all that is known of it.

    Args:
        path: below the data root.
        user, assistant: who wrote each side's messages.
        ended: why, in words.
        judgements: the decision first, then each judge's own where there are several.
        usage: calls and tokens by role, as the transcript records them; bill: what all calls about it cost, in whichever run.
        batches: of assessments in which it is, the last first.
        original: path of the one that it was mended from; mended: of those that were made of it.
        files: by what it was learnt or judged.
    """

    path: str
    transcript: Transcript
    domain: str | None
    pack: Pack | None
    card: Card | None
    user: str
    assistant: str
    ended: str
    caveat: str | None
    exchanges: list[Spoken]
    judgements: list[Judgement]
    usage: list[tuple[str, dict[str, int]]]
    bill: Bill | None
    batches: list[str]
    original: str | None
    mended: list[str]


def open_conversation(store: Store, path: str, batch: str | None = None, assessment: str | None = None) -> Conversation:
    """Return a conversation with what was held of it.

    Args:
        batch: whose assessments are shown; by default those of the last batch in which it is.
        assessment: one that is in no batch yet, to be shown in their place.

    Raises:
        StoreError: there is no such conversation.
    """
    transcript = store.load(path, Transcript)
    places = [(found.name, found.record) for found in assessment_batches(store)]
    refs = [(name, item, record.domain) for name, record in places for item in record.assessments if item.transcript.path == path]
    named = [entry for entry in refs if batch is None or entry[0] == f"batches/{batch}.json"] or refs
    domain = domain_of(transcript, path) or (named[0][2] if named else None)
    pack = _pack(domain)
    if assessment:
        alone = store.load(assessment, Assessment)
        judgements = [Judgement(alone.judge, alone, held_by(alone, pack))] if alone.transcript_id == transcript.id else []
    else:
        judgements = _judgements(store, named[0][1], pack) if named else []
    final = judgements[0].verdicts if judgements else []
    bill = spent_on(store, [transcript.id]).get(transcript.id)
    repair = transcript.provenance.get("repair")
    lineage = repair if isinstance(repair, dict) else {}
    return Conversation(
        path=path,
        transcript=transcript,
        domain=domain,
        pack=pack,
        card=card_of(transcript, pack),
        user=_said(transcript, "user_simulator"),
        assistant=_said(transcript, "assistant"),
        ended={
            "target_reached": "at its planned length",
            "user_done": "the user took leave",
            "budget": "it would have grown too long for the model",
            "error": f"a model failed: {_said(transcript, 'problem')}",
        }.get(str(transcript.end_reason), ""),
        caveat=_said(transcript, "caveat") or None,
        exchanges=_exchanges(transcript, pack, final, lineage),
        judgements=judgements,
        usage=_usage(transcript),
        bill=bill,
        batches=[name.removeprefix("batches/").removesuffix(".json") for name, _, _ in refs],
        original=_original(store, path, lineage),
        mended=_mended(store, transcript.id, domain),
    )


def domain_of(transcript: Transcript, path: str) -> str | None:
    """Return the domain that a conversation was made in, as it says itself or as its folder does."""
    parts = path.split("/")
    named = transcript.provenance.get("domain") or (parts[1] if len(parts) == 3 and parts[0] in ("transcripts", REPAIRED) and parts[1] != "imported" else None)
    return named if isinstance(named, str) and re.fullmatch(DOMAIN, named) else None


def _pack(domain: str | None) -> Pack | None:
    try:
        return load_pack(domain) if domain else None
    except PackError:
        return None


def _said(transcript: Transcript, name: str) -> str:
    value = transcript.provenance.get(name)
    return value if isinstance(value, str) else ""


# --- what was said ------------------------------------------------------------------------------------------------------


def _exchanges(transcript: Transcript, pack: Pack | None, verdicts: Sequence[Held], lineage: dict[str, Any]) -> list[Spoken]:
    drawn = drawn_for(transcript, pack)
    listed = lineage.get("changed")
    entries = [change for change in (listed if isinstance(listed, list) else []) if isinstance(change, dict)]
    changes = {change["exchange"]: change for change in entries if isinstance(change.get("exchange"), int)}
    made = []
    for place, exchange in enumerate(transcript.exchanges):
        number = exchange.exchange_number
        change = changes.get(number, {})
        about = [held for held in verdicts if number in held.cited]
        made.append(
            Spoken(
                number=number,
                user=exchange.user,
                assistant=exchange.assistant,
                drawn=drawn[place] if place < len(drawn) else None,
                refused=[item for at, item in _refusals(transcript) if at == number],
                cited=[Citation(held.criterion, held.answer) for held in about],
                before=before if isinstance(before := change.get("before"), str) else None,
                mended_for=[str(name) for name in change.get("criteria", [])],
                quotes=[quote for held in about for quote in quotes_of(held.reasoning)],
            )
        )
    return made


def _refusals(transcript: Transcript) -> list[tuple[int, Refused]]:
    listed = transcript.provenance.get("rejections")
    found = []
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and isinstance(item.get("exchange_number"), int):
            said = {name: str(item.get(name, "")) for name in ("side", "fault", "found", "text")}
            found.append((item["exchange_number"], Refused(**said)))
    return found


def _usage(transcript: Transcript) -> list[tuple[str, dict[str, int]]]:
    usage = transcript.provenance.get("usage")
    rows = usage.items() if isinstance(usage, dict) else []
    return [(str(role), {str(name): int(count) for name, count in sums.items() if isinstance(count, int)}) for role, sums in rows if isinstance(sums, dict)]


# --- what was held --------------------------------------------------------------------------------------------------------


def _judgements(store: Store, item: AssessmentRef, pack: Pack | None) -> list[Judgement]:
    made = []
    for path in (item.path, *(item.by_judge.values() if len(item.by_judge) > 1 else ())):
        try:
            assessment = store.load(path, Assessment)
        except StoreError:
            continue
        made.append(Judgement(assessment.judge, assessment, held_by(assessment, pack)))
    return made


def held_by(assessment: Assessment, pack: Pack | None) -> list[Held]:
    """Return the verdicts of an assessment, the reasons for which it fails first."""
    score = assessment.score
    decisive = {*score.failed_gates, *score.failed_checks}
    held = []
    for verdict in assessment.verdicts:
        criterion = pack.rubric.criteria.get(verdict.criterion) if pack else None
        fails = verdict.criterion in decisive or (criterion is not None and value_of(criterion, verdict.answer) == 0)
        held.append(
            Held(
                criterion=verdict.criterion,
                name=criterion.head.name if criterion else "",
                kind="" if criterion is None else "gate" if criterion.head.gate else (criterion.head.category or "").replace("_", " "),
                about=criterion.text if criterion else "",
                answer=verdict.answer.value,
                reasoning=verdict.reasoning,
                cited=verdict.cited,
                lapses=[f"{lapse.weight}, in exchange {lapse.exchange}: {lapse.what}" for lapse in verdict.lapses],
                stated=verdict.stated.value if verdict.stated else None,
                opinions=[(one.judge, one.answer.value, one.reasoning, one.cited) for one in verdict.opinions],
                decisive=fails,
            )
        )
    order = {"gate": 0}
    return sorted(held, key=lambda one: (one.answer != Answer.ERROR.value, not one.decisive, order.get(one.kind, 1)))


# --- mended ---------------------------------------------------------------------------------------------------------------


def _original(store: Store, path: str, lineage: dict[str, Any]) -> str | None:
    """Return where the original of a mended conversation is, if it is still there."""
    of = lineage.get("of")
    parts = path.split("/")
    if not isinstance(of, str) or len(parts) < 3:
        return None
    places = [
        f"transcripts/{parts[1]}/{of}.json",
        *(item.transcript.path for found in assessment_batches(store) for item in found.record.assessments if item.transcript.id == of),
    ]
    return next(iter(name for name in places if name in store.states([name])), None)


def _mended(store: Store, name: str, domain: str | None) -> list[str]:
    """Return where the conversations are that were mended from one."""
    found = read_all(store, store.names(f"{REPAIRED}/{domain}", ".json"), Transcript) if domain else []
    return [one.name for one in found if isinstance(one.record.provenance.get("repair"), dict) and one.record.provenance["repair"].get("of") == name]


def neighbours(paths: Iterable[str], path: str) -> tuple[str | None, str | None, int, int]:
    """Return what comes before and after a conversation in a list, its place from 1 on, and how many there are; place 0 where it is not among them."""
    listed = list(paths)
    if path not in listed:
        return None, None, 0, len(listed)
    at = listed.index(path)
    return (listed[at - 1] if at else None), (listed[at + 1] if at + 1 < len(listed) else None), at + 1, len(listed)

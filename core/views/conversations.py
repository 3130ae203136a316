"""The page of a conversation: its messages, what was drawn for them, refused drafts, verdicts with citations, repairs and costs."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from core.errors import PackError
from core.llm.bills import Bill
from core.packs.pack import Pack, load_pack
from core.records import DOMAIN, Assessment, Transcript
from core.storage.store import Store
from core.views.personas import Card, Drawn, card_of, drawn_for
from core.views.records import assessment_batches, read_all
from core.views.spending import spent_on
from core.views.text import quotes_of
from core.views.verdicts import Judgement, ShownVerdict, judgements_of, verdicts_of

REPAIRED = "repaired"
"""Folder of the repaired transcripts."""


@dataclass(frozen=True)
class Refused:
    """A draft of a message that was refused, so that the message was written again.

    Args:
        fault: the kind of fault.
        found: the evidence of the fault.
    """

    side: str
    fault: str
    found: str
    text: str


@dataclass(frozen=True)
class Citation:
    """A verdict that cites an exchange."""

    criterion: str
    answer: str


@dataclass(frozen=True)
class ShownExchange:
    """An exchange.

    Args:
        drawn: what was drawn for the user's message; None if the transcript does not record it.
        refused: drafts that were refused before it.
        cited: verdicts that cite it.
        before: the answer before it was repaired; None if it was not.
        repaired_for: ids of the criteria for which it was repaired.
        quotes: passages that verdicts quote, which are to be marked.
    """

    number: int
    user: str
    assistant: str
    drawn: Drawn | None
    refused: list[Refused]
    cited: list[Citation]
    before: str | None
    repaired_for: list[str]
    quotes: list[str]


@dataclass(frozen=True)
class Conversation:
    """A conversation, with all that the data root has about it.

    Args:
        path: path of the transcript below the data root.
        pack: current pack of the domain; None if it cannot be loaded.
        user, assistant: models that wrote each side's messages.
        ended: why the conversation ended, in words.
        judgements: the final judgement first, then that of each judge of a panel.
        usage: calls and tokens by role, as the transcript records them.
        bill: cost of all calls for the conversation, over all runs; None if there were none.
        batches: names of the batches of assessments that contain it, the newest first.
        original: path of the transcript that this one is a repaired copy of, if it still exists.
        repaired: paths of the repaired copies of this transcript.
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
    exchanges: list[ShownExchange]
    judgements: list[Judgement]
    usage: list[tuple[str, dict[str, int]]]
    bill: Bill | None
    batches: list[str]
    original: str | None
    repaired: list[str]


def open_conversation(store: Store, path: str, batch: str | None = None, assessment: str | None = None) -> Conversation:
    """Return a conversation with its verdicts.

    Args:
        path: path of the transcript below the data root.
        batch: name of the batch whose assessments are shown; None for the newest batch that contains the conversation.
        assessment: path of an assessment that is shown instead, because it is in no batch yet.

    Raises:
        StoreError: there is no such conversation.
    """
    transcript = store.load(path, Transcript)
    batches = [(stored.name, stored.record) for stored in assessment_batches(store)]
    refs = [(name, item, record.domain) for name, record in batches for item in record.assessments if item.transcript.path == path]
    selected = [entry for entry in refs if batch is None or entry[0] == f"batches/{batch}.json"] or refs
    domain = domain_of(transcript, path) or (selected[0][2] if selected else None)
    pack = _pack(domain)
    if assessment:
        alone = store.load(assessment, Assessment)
        judgements = [Judgement(alone.judge, alone, verdicts_of(alone, pack))] if alone.transcript_id == transcript.id else []
    else:
        judgements = judgements_of(store, selected[0][1], pack) if selected else []
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
        user=_recorded(transcript, "user_simulator"),
        assistant=_recorded(transcript, "assistant"),
        ended={
            "target_reached": "at its planned length",
            "user_done": "the user took leave",
            "budget": "it would have grown too long for the model",
            "error": f"a model failed: {_recorded(transcript, 'problem')}",
        }.get(str(transcript.end_reason), ""),
        caveat=_recorded(transcript, "caveat") or None,
        exchanges=_exchanges(transcript, pack, final, lineage),
        judgements=judgements,
        usage=_usage(transcript),
        bill=bill,
        batches=[name.removeprefix("batches/").removesuffix(".json") for name, _, _ in refs],
        original=_original(store, path, lineage),
        repaired=_repaired_copies(store, transcript.id, domain),
    )


def domain_of(transcript: Transcript, path: str) -> str | None:
    """Return the domain of a conversation, as its record or its folder names it; None if neither does."""
    parts = path.split("/")
    name = transcript.provenance.get("domain") or (parts[1] if len(parts) == 3 and parts[0] in ("transcripts", REPAIRED) and parts[1] != "imported" else None)
    return name if isinstance(name, str) and re.fullmatch(DOMAIN, name) else None


def _pack(domain: str | None) -> Pack | None:
    try:
        return load_pack(domain) if domain else None
    except PackError:
        return None


def _recorded(transcript: Transcript, name: str) -> str:
    value = transcript.provenance.get(name)
    return value if isinstance(value, str) else ""


# --- messages -----------------------------------------------------------------------------------------------------------


def _exchanges(transcript: Transcript, pack: Pack | None, verdicts: Sequence[ShownVerdict], lineage: dict[str, Any]) -> list[ShownExchange]:
    drawn = drawn_for(transcript, pack)
    listed = lineage.get("changed")
    entries = [change for change in (listed if isinstance(listed, list) else []) if isinstance(change, dict)]
    changes = {change["exchange"]: change for change in entries if isinstance(change.get("exchange"), int)}
    exchanges = []
    for place, exchange in enumerate(transcript.exchanges):
        number = exchange.exchange_number
        change = changes.get(number, {})
        citing = [verdict for verdict in verdicts if number in verdict.cited]
        exchanges.append(
            ShownExchange(
                number=number,
                user=exchange.user,
                assistant=exchange.assistant,
                drawn=drawn[place] if place < len(drawn) else None,
                refused=[item for at, item in _refusals(transcript) if at == number],
                cited=[Citation(verdict.criterion, verdict.answer) for verdict in citing],
                before=before if isinstance(before := change.get("before"), str) else None,
                repaired_for=[str(name) for name in change.get("criteria", [])],
                quotes=[quote for verdict in citing for quote in quotes_of(verdict.reasoning)],
            )
        )
    return exchanges


def _refusals(transcript: Transcript) -> list[tuple[int, Refused]]:
    listed = transcript.provenance.get("rejections")
    refusals = []
    for item in listed if isinstance(listed, list) else []:
        if isinstance(item, dict) and isinstance(item.get("exchange_number"), int):
            fields = {name: str(item.get(name, "")) for name in ("side", "fault", "found", "text")}
            refusals.append((item["exchange_number"], Refused(**fields)))
    return refusals


def _usage(transcript: Transcript) -> list[tuple[str, dict[str, int]]]:
    usage = transcript.provenance.get("usage")
    rows = usage.items() if isinstance(usage, dict) else []
    return [(str(role), {str(name): int(count) for name, count in sums.items() if isinstance(count, int)}) for role, sums in rows if isinstance(sums, dict)]


# --- repairs ------------------------------------------------------------------------------------------------------------


def _original(store: Store, path: str, lineage: dict[str, Any]) -> str | None:
    """Return the path of the original of a repaired conversation, if it still exists."""
    of = lineage.get("of")
    parts = path.split("/")
    if not isinstance(of, str) or len(parts) < 3:
        return None
    places = [
        f"transcripts/{parts[1]}/{of}.json",
        *(item.transcript.path for stored in assessment_batches(store) for item in stored.record.assessments if item.transcript.id == of),
    ]
    return next(iter(name for name in places if name in store.states([name])), None)


def _repaired_copies(store: Store, name: str, domain: str | None) -> list[str]:
    """Return the paths of the repaired copies of a conversation.

    Args:
        name: id of the transcript.
    """
    repaired = read_all(store, store.names(f"{REPAIRED}/{domain}", ".json"), Transcript) if domain else []
    return [one.name for one in repaired if isinstance(one.record.provenance.get("repair"), dict) and one.record.provenance["repair"].get("of") == name]


def neighbours(paths: Iterable[str], path: str) -> tuple[str | None, str | None, int, int]:
    """Return the previous and the next path of a list, the place of `path` in it from 1, and its length; the place is 0 if the list lacks it."""
    listed = list(paths)
    if path not in listed:
        return None, None, 0, len(listed)
    at = listed.index(path)
    return (listed[at - 1] if at else None), (listed[at + 1] if at + 1 < len(listed) else None), at + 1, len(listed)

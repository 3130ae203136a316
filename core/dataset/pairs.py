"""Pairs of a better and a worse reply to the same message: from repaired transcripts, and from second replies of the assistant."""

import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Any, Literal

import pyarrow
import pyarrow.parquet

from core.dataset.corrections import source_of
from core.dataset.example_files import SPLITS
from core.dataset.gathering import Candidate, person_of
from core.dataset.second_replies import SecondReply
from core.dataset.second_reply_plan import FOLDER, is_rehearsed
from core.dataset.slicing import OVERHEAD, Count, chat, split_groups
from core.fingerprint import fingerprint
from core.judging.scoring import value_of
from core.packs.openings import system_with
from core.packs.pack import Pack
from core.records import Assessment, Exchange, Outcome, Record, Transcript
from core.storage.store import Store

PAIRS = "pairs"
"""Name of the configuration, and of its folder in a dataset."""
PAIR_FILES = [f"{PAIRS}/{split}.parquet" for split in SPLITS]
PAIR_ROWS = f"{PAIRS}/rows.jsonl"
"""File with the conversation of each row; it is not published."""

_MESSAGES = pyarrow.list_(pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())]))
SCHEMA = pyarrow.schema(
    [
        *((name, _MESSAGES) for name in ("prompt", "chosen", "rejected")),
        ("transcript_id", pyarrow.string()),
        ("source", pyarrow.string()),
        ("criterion", pyarrow.string()),
        ("exchange", pyarrow.int32()),
    ]
)


class Pair(Record):
    """Two replies to the same messages.

    Args:
        conversation: id of the conversation that was repaired or in which the assistant was asked again.
        of: the transcript whose exchanges precede the replies.
        source: `repair`, or `sampled` for a second reply of the assistant.
        criteria: criteria that the rejected reply failed and the chosen one passes.
        exchange: number of the exchange of the replies.
    """

    conversation: str
    of: Transcript
    source: Literal["repair", "sampled"]
    criteria: list[str]
    exchange: int
    chosen: str
    rejected: str
    caveat: str | None = None


@dataclass
class PairReport:
    """Counts of the pairs that were written and of those that were dropped.

    Args:
        dropped: the number of pairs by the reason why they were dropped.
        differences: by split, for each pair the tokens of the chosen reply minus those of the rejected one.
        sources: by split, the number of pairs by source.
        tokens: by split, the tokens of both replies of each pair, each with its prompt.
        longest: largest number of tokens of a prompt and its longer reply.
    """

    dropped: Counter[str] = field(default_factory=Counter)
    differences: dict[str, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    sources: dict[str, Counter[str]] = field(default_factory=lambda: {split: Counter() for split in SPLITS})
    tokens: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SPLITS, 0))
    longest: int = 0
    caveats: set[str] = field(default_factory=set)

    def facts(self) -> dict[str, Any] | None:
        """Return the facts for the card; None if no pair was found."""
        dropped = {reason: count for reason, count in self.dropped.most_common() if count}
        if not all(self.differences.values()):
            return {"train": 0, "validation": 0, "sources": {}, "dropped": dropped} if dropped else None
        differences = [tokens for split in self.differences.values() for tokens in split]
        return {
            **{split: len(each) for split, each in self.differences.items()},
            "sources": {name: sum(of[name] for of in self.sources.values()) for name in ("repair", "sampled")},
            "longer": round(mean(differences), 1),
            "tokens": self.tokens,
            "longest": self.longest,
            "dropped": dropped,
        }


def stored_replies(store: Store, domain: str) -> list[str]:
    """Return the names of a domain's second replies. A name contains a hash of everything that the reply depends on."""
    return sorted(store.names(f"{FOLDER}/{domain}", ".json"))


def find_pairs(store: Store, pack: Pack, candidates: Sequence[Candidate], replies: Sequence[str], report: PairReport) -> list[Pair]:
    """Return the pairs from judged transcripts, sorted by conversation and exchange.

    A chosen reply was itself judged: it is from a repaired transcript that passed, or it is a second reply that passed its criteria and every gate. If a repair
    rewrote several replies, only the first makes a pair, since the later rejected replies follow text that the repair replaced.

    Args:
        candidates: all judged transcripts, with any verdict.
        replies: names of second replies.
        report: updated with the pairs that are dropped.
    """
    failed_gate = {item.id for item in candidates if item.failed_gates}
    readable = {item.id for item in candidates if item.path}
    pairs = [pair for item in {item.id: item for item in reversed(candidates)}.values() if (pair := _of_repair(store, pack, item, failed_gate, report))]
    second_replies, _ = store.load_all(replies, SecondReply)
    for again in second_replies.values():
        if again.transcript.id in readable and again.chosen is not None and again.rubric_hash == pack.rubric.hash:
            transcript = store.load(again.transcript.path, Transcript)
            pairs.append(
                Pair(
                    conversation=source_of(transcript),
                    of=transcript,
                    source="sampled",
                    criteria=again.criteria,
                    exchange=again.exchange,
                    chosen=again.chosen,
                    rejected=again.rejected,
                    caveat=again.caveat,
                )
            )
    return sorted(pairs, key=lambda pair: (pair.conversation, pair.exchange, pair.source, pair.chosen))


def _of_repair(store: Store, pack: Pack, item: Candidate, failed_gate: set[str], report: PairReport) -> Pair | None:
    if item.repaired_from is None or item.path is None:
        return None
    if item.outcome is not Outcome.PASS or item.id in failed_gate:
        report.dropped["the repaired transcript did not pass"] += 1
        return None
    repaired, assessment = store.load(item.path, Transcript), store.load(item.assessment, Assessment)
    first, *others = repaired.provenance["repair"]["changed"]
    report.dropped["follows text that the repair replaced"] += len(others)
    answers = {verdict.criterion: verdict.answer for verdict in assessment.verdicts}
    if any(name in answers and value_of(pack.rubric.criteria[name], answers[name]) != 1 for name in first["criteria"]):
        report.dropped["the repaired reply's criterion still fails"] += 1
        return None
    return Pair(
        conversation=item.repaired_from,
        of=repaired,
        source="repair",
        criteria=first["criteria"],
        exchange=first["exchange"],
        chosen=repaired.exchanges[first["exchange"] - 1].assistant,
        rejected=first["before"],
        caveat=repaired.provenance.get("caveat"),
    )


def may_be_learnt(pairs: Sequence[Pair], conversations: Container[str], report: PairReport) -> list[Pair]:
    """Return the pairs of conversations that were rehearsed here or are in the dataset.

    An imported conversation may have real people in it, and the card states their consent only for conversations in the dataset.
    """
    kept = [pair for pair in pairs if is_rehearsed(pair.of) or pair.conversation in conversations]
    if len(kept) < len(pairs):
        report.dropped["imported, and not among the dataset's conversations"] += len(pairs) - len(kept)
    return kept


def sides(pairs: Sequence[Pair], examples: Mapping[str, str], people: Mapping[str, str], share: float) -> dict[str, str]:
    """Return by conversation the split of its pairs.

    It is the split of the conversation's examples or else of its person's, so that neither conversation nor person is on both sides. Others are split by id.

    Args:
        examples: by conversation, the split of its examples.
        people: by person (`person_of`), the split of the person's conversations.
        share: share of the other conversations that is kept for validation.
    """
    person = {pair.conversation: person_of(pair.of) for pair in pairs}
    fixed = {name: side for name, own in person.items() if (side := examples.get(name) or people.get(own))}
    free = {name: own for name, own in person.items() if name not in fixed}
    apart = split_groups(free, share)
    if len(set(free.values())) == 1 and fixed and "validation" not in fixed.values():
        apart = set(free)
    return fixed | {name: SPLITS[name in apart] for name in free}


def write_pairs(
    store: Store, folder: str, pairs: Sequence[Pair], split_of: Mapping[str, str], pack: Pack, count: Count, ratio: float, provenance: bool, report: PairReport
) -> list[str]:
    """Write the configuration `pairs` of a dataset, and return the names of its files; empty if one side of the split would have no pair.

    Args:
        folder: folder of the dataset, below the data root.
        split_of: by conversation, the split.
        count: returns the tokens of a text.
        ratio: largest ratio of the longer reply to the shorter one, in tokens.
        provenance: whether the rows name their transcripts; if not, a hash stands for the name.
        report: updated with the pairs that are written or dropped.
    """
    rows: dict[str, list[dict[str, Any]]] = {split: [] for split in SPLITS}
    written: dict[str, list[tuple[Pair, int]]] = {split: [] for split in SPLITS}
    seen = set[str]()
    for pair in pairs:
        row, lengths = _row(pair, pack, provenance), sorted([max(1, count(pair.chosen)), max(1, count(pair.rejected))])
        chosen, rejected = (row[name][0]["content"].strip() for name in ("chosen", "rejected"))
        key = fingerprint([pair.conversation, row["prompt"], chosen, rejected])
        reason = "the replies are the same" if chosen == rejected else "duplicate of another pair" if key in seen else None
        if reason is None and lengths[1] > ratio * lengths[0]:
            reason = "the replies differ too much in length"
        if reason:
            report.dropped[reason] += 1
            continue
        seen.add(key)
        split = split_of[pair.conversation]
        rows[split].append(row)
        prompt = sum(count(message["content"]) + OVERHEAD for message in row["prompt"])
        report.tokens[split] += 2 * prompt + sum(lengths)
        report.longest = max(report.longest, prompt + lengths[1])
        written[split].append((pair, count(pair.chosen) - count(pair.rejected)))
    if not all(rows.values()):
        report.dropped["all pairs are on one side of the split"] += sum(map(len, rows.values()))
        return []
    with store.writing(f"{folder}/{PAIR_ROWS}") as origins:
        for split in SPLITS:
            with store.writing(f"{folder}/{PAIRS}/{split}.parquet") as file:
                pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows[split], schema=SCHEMA), file, compression="zstd")
            for number, (pair, longer) in enumerate(written[split]):
                report.differences[split].append(longer)
                report.sources[split][pair.source] += 1
                report.caveats |= {pair.caveat} if pair.caveat else set()
                entry = {"split": split, "row": number, "transcript_id": pair.conversation, "of": pair.of.id, "exchange": pair.exchange}
                origins.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
    return [*PAIR_FILES, PAIR_ROWS]


def _row(pair: Pair, pack: Pack, provenance: bool) -> dict[str, Any]:
    system, before = system_with(pack.system_of(pair.of), pair.of.opening), pair.of.exchanges[: pair.exchange]
    replies = {
        name: chat(system, [*before[:-1], Exchange(exchange_number=pair.exchange, user=before[-1].user, assistant=text)])
        for name, text in (("chosen", pair.chosen), ("rejected", pair.rejected))
    }
    return {
        "prompt": replies["chosen"][:-1],
        "chosen": replies["chosen"][-1:],
        "rejected": replies["rejected"][-1:],
        "transcript_id": pair.conversation if provenance else fingerprint(pair.conversation),
        "source": pair.source,
        "criterion": ", ".join(pair.criteria),
        "exchange": pair.exchange,
    }

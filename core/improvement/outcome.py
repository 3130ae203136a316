"""What came of a round: the evaluation beside the round before, the held-out corrections, and the report of all rounds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.dataset.build import CONVERSATION_ROWS
from core.dataset.slicing import chat
from core.evaluation.record import EvaluationRecord
from core.improvement.rounds import Compared, HeldOut, Round
from core.judging.scoring import value_of
from core.packs.pack import Pack, Rubric
from core.records import Answer, DatasetRef, Transcript
from core.settings.arms import BASE, UNDERSTUDY
from core.storage.json_lines import read_objects
from core.storage.store import Store


def compared_of(path: str, record: EvaluationRecord, rubric: Rubric) -> Compared:
    """Return what an evaluation says of a round, in which the base is the round before."""
    found = record.comparison.comparisons[UNDERSTUDY]
    counts = {arm: failures_by_criterion(record, arm, rubric) for arm in (BASE, UNDERSTUDY)}
    both = [name for name in counts[BASE] if name in counts[UNDERSTUDY]]
    return Compared(
        path=path,
        decision=found.decided.decision,
        reason=found.decided.reason,
        before=found.score.base_mean,
        after=found.score.arm_mean,
        gain=found.score.difference,
        interval=found.score.interval,
        personas=found.score.personas,
        scripted=found.decided.scripted,
        criteria={name: (_share(counts[BASE][name]), _share(counts[UNDERSTUDY][name])) for name in both},
        applied={name: (counts[BASE][name][1], counts[UNDERSTUDY][name][1]) for name in both},
    )


def failures_by_criterion(record: EvaluationRecord, arm: str, rubric: Rubric) -> dict[str, tuple[int, int]]:
    """Return by criterion how many of an arm's conversations fail it, and to how many it applies: a lawful NA is neither."""
    applied, failed = Counter[str](), Counter[str]()
    for trial in record.played:
        for name, answer in trial.answers.items() if trial.arm == arm and trial.complete else ():
            value = value_of(rubric.criteria[name], answer)
            applied[name] += value == 0 or answer is Answer.YES
            failed[name] += value == 0
    return {name: (failed[name], count) for name, count in applied.items() if count}


def heldout_replies(store: Store, pack: Pack, dataset: DatasetRef) -> list[list[dict[str, str]]]:
    """Return the corrections that a dataset keeps for validation, each as a conversation that ends with the corrected reply."""
    manifest = store.load_json(f"{dataset.path}/manifest.json")
    files = {entry["id"]: entry["source_file"] for entry in manifest["transcripts"]}
    rows = read_objects(store.read_bytes(f"{dataset.path}/{CONVERSATION_ROWS}"))
    kept = [store.load(files[str(row["transcript_id"])], Transcript) for row in rows if row["split"] == "validation" and row["round"]]
    return [chat(pack.system_of(item), item.exchanges) for item in kept]


def heldout_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> HeldOut:
    """Return the losses of the same replies by two files, as their jobs wrote them."""
    replies, tokens = len(after["losses"]), after["tokens"]
    means = [sum(map(sum, found["losses"])) / found["tokens"] for found in (before, after)]
    return HeldOut(replies=replies, tokens=tokens, before=means[0], after=means[1])


def sources_of(store: Store, dataset: DatasetRef, corrections: Sequence[str], others: Sequence[str]) -> dict[str, str | None]:
    """Return what the next dataset is made of: all that the one before was made of, and the corrections of all rounds.

    Args:
        corrections: batches of them, of the rounds so far.
        others: batches that stand for the sources of a dataset that does not name them.
    """
    known: dict[str, Any] = store.load_json(f"{dataset.path}/manifest.json").get("sources") or {"assessed": list(others)}
    batches = dict.fromkeys([*known["assessed"], *corrections])
    return {"assessed": ",".join(batches), "checkpoints": known.get("checkpoints"), "transcripts": known.get("transcripts")}


def summary_of(rounds: Sequence[Round], why: str, report: str) -> dict[str, str]:
    """Return the figures of a series in words."""
    said = {f"round {one.number}": _in_words(one) for one in rounds}
    return said | {"cost": f"{sum(one.usd for one in rounds):.4f} USD", **({"stopped": why} if why else {}), "report": report}


def changed_most(compared: Compared) -> list[tuple[str, float, float]]:
    """Return the criteria that failed before or after with their shares of failures, those that changed most first."""
    rows = [(name, before, after) for name, (before, after) in compared.criteria.items() if before or after]
    return sorted(rows, key=lambda row: (-abs(row[2] - row[1]), row[0]))


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1]


def _in_words(one: Round) -> str:
    gain = f"{100 * one.compared.gain:+.1f} points ({one.compared.verdict})" if one.compared else "not evaluated"
    loss = f"; loss on held-out corrections {one.heldout.before:.3f} before, {one.heldout.after:.3f} after" if one.heldout else ""
    return f"{one.corrections} corrections of {one.played} conversations, {gain}, {one.usd:.4f} USD{loss}"

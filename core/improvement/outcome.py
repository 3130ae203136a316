"""The outcome of a round: its evaluation against the round before, the loss on held-out corrections, and the facts for the report."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from core.dataset.build import CONVERSATION_ROWS
from core.dataset.slicing import chat
from core.evaluation.record import EvaluationRecord
from core.improvement.rounds import Compared, HeldOut, Round
from core.judging.scoring import value_of
from core.packs.pack import Pack
from core.packs.rubric import Rubric
from core.records import Answer, DatasetRef, Transcript
from core.settings.arms import BASE, UNDERSTUDY
from core.storage.json_lines import read_objects
from core.storage.store import Store


def compared_of(path: str, record: EvaluationRecord, rubric: Rubric) -> Compared:
    """Return the outcome of a round's evaluation, whose base is the understudy of the round before.

    Args:
        path: file of the evaluation's record.
        record: the evaluation's record.
    """
    comparison = record.comparison.comparisons[UNDERSTUDY]
    counts = {arm: failures_by_criterion(record, arm, rubric) for arm in (BASE, UNDERSTUDY)}
    both = [name for name in counts[BASE] if name in counts[UNDERSTUDY]]
    return Compared(
        path=path,
        decision=comparison.decided.decision,
        reason=comparison.decided.reason,
        before=comparison.score.base_mean,
        after=comparison.score.arm_mean,
        gain=comparison.score.difference,
        interval=comparison.score.interval,
        personas=comparison.score.personas,
        scripted=comparison.decided.scripted,
        criteria={name: (_share(counts[BASE][name]), _share(counts[UNDERSTUDY][name])) for name in both},
        applied={name: (counts[BASE][name][1], counts[UNDERSTUDY][name][1]) for name in both},
    )


def failures_by_criterion(record: EvaluationRecord, arm: str, rubric: Rubric) -> dict[str, tuple[int, int]]:
    """Return by criterion how many of an arm's conversations fail it, and to how many it applies; a valid NA counts in neither."""
    applied, failed = Counter[str](), Counter[str]()
    for trial in record.played:
        for name, answer in trial.answers.items() if trial.arm == arm and trial.complete else ():
            value = value_of(rubric.criteria[name], answer)
            applied[name] += value == 0 or answer is Answer.YES
            failed[name] += value == 0
    return {name: (failed[name], count) for name, count in applied.items() if count}


def heldout_replies(store: Store, pack: Pack, dataset: DatasetRef) -> list[list[dict[str, str]]]:
    """Return a dataset's corrections for validation, each as the messages of a conversation that ends with the corrected reply."""
    manifest = store.load_json(f"{dataset.path}/manifest.json")
    files = {entry["id"]: entry["source_file"] for entry in manifest["transcripts"]}
    rows = read_objects(store.read_bytes(f"{dataset.path}/{CONVERSATION_ROWS}"))
    heldout = [store.load(files[str(row["transcript_id"])], Transcript) for row in rows if row["split"] == "validation" and row["round"]]
    return [chat(pack.system_of(item), item.exchanges) for item in heldout]


def heldout_of(before: Mapping[str, Any], after: Mapping[str, Any]) -> HeldOut:
    """Return the losses of two GGUF files on the same replies, from what their jobs wrote."""
    replies, tokens = len(after["losses"]), after["tokens"]
    means = [sum(map(sum, result["losses"])) / result["tokens"] for result in (before, after)]
    return HeldOut(replies=replies, tokens=tokens, before=means[0], after=means[1])


def sources_of(store: Store, dataset: DatasetRef, corrections: Sequence[str], others: Sequence[str]) -> dict[str, str | None]:
    """Return the sources of the next dataset: those of the previous one, and the corrections of all rounds.

    Args:
        corrections: batches of corrections, of all rounds so far.
        others: batches to use if the manifest of the previous dataset does not name its sources.
    """
    sources: dict[str, Any] = store.load_json(f"{dataset.path}/manifest.json").get("sources") or {"assessed": list(others)}
    batches = dict.fromkeys([*sources["assessed"], *corrections])
    return {"assessed": ",".join(batches), "checkpoints": sources.get("checkpoints"), "transcripts": sources.get("transcripts")}


def summary_of(rounds: Sequence[Round], why: str, report: str) -> dict[str, str]:
    """Return the figures of a series in words.

    Args:
        why: why the series stopped; empty if it did not.
        report: place of the report.
    """
    summary = {f"round {item.number}": _in_words(item) for item in rounds}
    return summary | {"cost": f"{sum(item.usd for item in rounds):.4f} USD", **({"stopped": why} if why else {}), "report": report}


def changed_most(compared: Compared) -> list[tuple[str, float, float]]:
    """Return the criteria that failed before or after, with both shares of failures, those that changed most first."""
    rows = [(name, before, after) for name, (before, after) in compared.criteria.items() if before or after]
    return sorted(rows, key=lambda row: (-abs(row[2] - row[1]), row[0]))


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / counts[1]


def _in_words(item: Round) -> str:
    gain = f"{100 * item.compared.gain:+.1f} points ({item.compared.verdict})" if item.compared else "not evaluated"
    loss = f"; loss on held-out corrections {item.heldout.before:.3f} before, {item.heldout.after:.3f} after" if item.heldout else ""
    return f"{item.corrections} corrections of {item.played} conversations, {gain}, {item.usd:.4f} USD{loss}"

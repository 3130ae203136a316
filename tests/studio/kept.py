"""A data root with judged conversations as runs store them."""

from collections.abc import Sequence

from core.records import AssessmentBatch, AssessmentRef, Judged, TranscriptRef
from core.storage.batches import keep_batch
from core.storage.store import Store
from tests.core.judged import PACK


def keep(store: Store, judged: Sequence[Judged], folder: str = f"transcripts/{PACK.name}") -> str:
    """Store conversations and verdicts; return the batch's name."""
    refs = []
    for number, item in enumerate(judged):
        path = store.write_json(f"{folder}/{item.transcript.id if item.transcript.id.isalnum() else number}.json", item.transcript)
        own = {
            judge: store.write_json(f"assessments/{PACK.name}/{PACK.rubric.hash}/{folder.rpartition('/')[2]}-{number}-{place}.json", one)
            for place, (judge, one) in enumerate(item.by_judge.items())
        }
        final = (
            own[item.final.judge]
            if item.final.judge in own
            else store.write_json(f"assessments/{PACK.name}/{PACK.rubric.hash}/panels/{folder.rpartition('/')[2]}-{number}.json", item.final)
        )
        said = TranscriptRef(id=item.transcript.id, path=path, exchanges=len(item.transcript.exchanges))
        score = item.final.score
        refs.append(AssessmentRef(path=final, transcript=said, outcome=score.outcome, score=score.score, by_judge=own if len(own) > 1 else {}))
    judges = list(dict.fromkeys(judge for item in judged for judge in item.by_judge))
    return keep_batch(store, AssessmentBatch(domain=PACK.name, judges=judges, assessments=refs, left_out=[])).removeprefix("batches/").removesuffix(".json")

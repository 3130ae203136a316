"""A judged batch in a data root and a sample of it for labelling."""

from core.judging.scoring import applicable
from core.records import AssessmentBatch, AssessmentRef, TranscriptRef
from core.reports.review_files import make_sample
from core.storage.store import Store
from tests.core.judged import PACK, conversation, single

DUE = [one.id for one in applicable(PACK.rubric, 5)]


def sampled(store: Store, size: int = 4, judged: int = 6) -> str:
    """Store a batch in which the judge fails CP2 everywhere with a reason; return the name of a sample."""
    refs = []
    for number in range(judged):
        item = single(conversation(f"t-{number}", 5, user="It rains <script>alert(1)</script>"), {"CP2": "NO"})
        paths = [store.write_json(f"{kind}/{item.transcript.id}.json", one) for kind, one in (("transcripts", item.transcript), ("assessments", item.final))]
        transcript = TranscriptRef(id=item.transcript.id, path=paths[0], exchanges=5)
        refs.append(AssessmentRef(path=paths[1], transcript=transcript, outcome=item.final.score.outcome, score=item.final.score.score))
    batch = AssessmentBatch(domain=PACK.name, judges=["scripted/judge"], assessments=refs, left_out=[])
    return make_sample(store, PACK, store.write_json("batches/assessments-abc.json", batch), size)

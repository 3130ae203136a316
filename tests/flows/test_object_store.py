"""A data root on an object store: generation, assessment and nights need no shared disk."""

from core.records import AssessmentBatch, TranscriptBatch
from core.storage.store import open_store
from flows.assessment import assessment
from flows.generation import generation
from flows.nightly import nightly
from tests.flows.conftest import write_settings


async def test_conversations_verdicts_and_bills_are_kept_on_an_object_store(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv("UNDERSTUDY_DATA", bucket)
    settings = write_settings(tmp_path)
    batch = TranscriptBatch.model_validate_json(open_store().read(await generation(conversations=4, settings=settings)))
    assert len(batch.transcripts) == 4
    judged = await assessment(settings=settings)
    assessed = AssessmentBatch.model_validate_json(open_store().read(judged))
    assert [item.transcript.id for item in assessed.assessments] == [item.id for item in batch.transcripts]
    night = await nightly(conversations=2, night="2026-11-01", settings=settings)
    assert night.summary["made"].startswith("2 conversations")
    assert open_store().names("ledger")
    again = await generation(conversations=4, settings=settings)
    assert TranscriptBatch.model_validate_json(open_store().read(again)) == batch

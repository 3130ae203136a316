"""Publishing how well the simulated users of a batch played: as a report file and a Prefect artifact."""

from core.llm.run import Run
from core.records import TranscriptBatch
from core.reports.rehearsals import fidelity_markdown, fidelity_of, lengths_with_evaluation
from tasks.artifacts import publish_report, publish_studio_link


async def publish_rehearsals(batch_path: str, run: Run) -> None:
    """Write the report on how well the simulated users of a batch kept to their personas, and publish it in the Prefect UI."""
    store = run.store
    batch = store.load(batch_path, TranscriptBatch)
    text = fidelity_markdown(fidelity_of(run, batch.transcripts), batch.left_out, lengths_with_evaluation(run, batch.transcripts))
    store.write(batch_path.replace("batches/", "reports/").replace(".json", ".md"), text)
    await publish_report(text, key=f"rehearsals-{batch.domain}", description="How well the simulated users of a batch kept to their personas")
    await publish_studio_link(f"/{batch_path.removesuffix('.json')}", "conversations", "The conversations")

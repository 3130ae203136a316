"""The fidelity of a batch's simulated users: figures and their report."""

from collections.abc import Mapping, Sequence

from core.escaping import Markdown, render_markdown
from core.llm.run import Run
from core.records import LeftOut, Transcript, TranscriptRef
from core.rehearsal.fidelity import Report, measure_fidelity
from core.rehearsal.lengths import Lengths, planned_evaluation_lengths, summarise_lengths


def fidelity_of(run: Run, transcripts: Sequence[TranscriptRef]) -> Report:
    """Return how much of each persona shows in transcripts."""
    return measure_fidelity(run.pack, (run.store.load(item.path, Transcript) for item in transcripts))


def lengths_with_evaluation(run: Run, batch: Sequence[TranscriptRef]) -> dict[str, Lengths]:
    """Return the lengths of a batch's conversations and, for comparison, those planned for the evaluation."""
    sets = {"this batch": [item.exchanges for item in batch], "evaluation, as planned": planned_evaluation_lengths(run.pack, run.settings)}
    return {name: lengths for name, exchanges in sets.items() if (lengths := summarise_lengths(exchanges))}


def fidelity_markdown(fidelity: Report, left_out: Sequence[LeftOut] = (), lengths: Mapping[str, Lengths] | None = None) -> Markdown:
    """Return the report of a batch of rehearsals as Markdown.

    Args:
        fidelity: how much of each persona shows.
        left_out: items that were left out.
        lengths: lengths of the batch's conversations and of others for comparison, by name.
    """
    return render_markdown("reports/rehearsal", fidelity=fidelity, left_out=left_out, lengths=lengths or {})

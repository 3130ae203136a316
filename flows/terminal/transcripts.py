"""Folders of transcripts: how well their users keep to the personas, and how they would be cut into training examples."""

from pathlib import Path

from pydantic import ValidationError

from blocks.tokens import load_tokenizer
from core.dataset.example_files import statistics
from core.dataset.slicing import SliceReport, cut
from core.imports.transcript_files import find_transcripts
from core.packs.pack import load_pack
from core.paths import user_path
from core.records import Transcript
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.lengths import summarise_lengths
from core.reports.rehearsals import fidelity_markdown
from core.settings.pipeline import load_settings, load_training
from core.storage.store import open_store
from core.terminal import Answer, one_line, show
from core.training.windows import windowed_tokens


def fidelity(transcripts: str, domain: str = "therapeutic-coaching") -> Answer:
    """Measure how well the simulated users of a folder of transcripts keep to their personas.

    Args:
        transcripts: folder of transcripts.
        domain: name of a domain pack.
    """
    folder = user_path(transcripts)
    reading = find_transcripts(folder)
    for line in reading.notices():
        show(line, error=True)
    transcripts_read = [_own(folder / place) or transcript for place, transcript in reading.transcripts.items()]
    report = measure_fidelity(load_pack(domain), transcripts_read)
    lengths = summarise_lengths(len(transcript.exchanges) for transcript in transcripts_read)
    text = fidelity_markdown(report, (), {"these": lengths} if lengths else {})
    return Answer(text, {"report": report, "lengths": lengths, "left_out": reading.left_out})


def show_slices(transcripts: str, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> Answer:
    """Preview how a folder of transcripts is cut into training examples: their number, their length, and what is shortened.

    Args:
        transcripts: folder of transcripts.
        domain: name of a domain pack.
        settings: path of the settings file.
    """
    config, pack = load_settings(settings), load_pack(domain)
    reading, tokenizer = find_transcripts(user_path(transcripts)), load_tokenizer(config.dataset.tokenizer)
    for line in reading.notices():
        show(line, error=True)
    report = SliceReport()
    length = load_training(config.training).train.get("max-length")
    limit, tokens, once = length if isinstance(length, int) else None, list[int](), list[int]()
    for conversation, examples in cut(reading.transcripts.values(), pack.system_of, config.dataset.slicing, tokenizer, report):
        tokens += [example.tokens for example in examples]
        once += windowed_tokens(conversation.frame, conversation.sizes, conversation.slices, limit)
    figures = statistics(tokens, limit)
    most = max(figures["histogram"].values(), default=1)
    lines = [
        f"{len(reading.transcripts)} transcripts, {figures['examples']} examples; tokens of an example ({tokenizer.name}):",
        f"  {figures['min']:,} to {figures['max']:,}, mean {figures['mean']:,}",
        *(f"  up to {int(bound):>9,}  {count:>6}  {'#' * round(50 * count / most)}" for bound, count in figures["histogram"].items()),
    ]
    if length:
        lines.append(f"longer than the training length of {length:,} tokens, so cut with learn: slices: {figures['longer']} ({config.training})")
    lines.append(f"tokens of a pass: {sum(tokens):,} as slices; {sum(once):,} in {len(once)} rows if each reply is learnt once (learn)")
    shortened = {"shortened": report.shortened, "skipped": report.skipped}
    for what, entries in shortened.items():
        for entry in entries:
            exchanges = f"{entry['kept']} of {entry['exchanges']} exchanges, {entry['tokens']:,} tokens"
            lines.append(f"{what}: {entry['transcript']}, slice at {entry['slice']}: {exchanges}")
    lines += [f"too short: {name}" for name in report.too_short]
    data = {
        "transcripts": len(reading.transcripts),
        "tokenizer": tokenizer.name,
        **figures,
        **shortened,
        "tokens_once": sum(once),
        "too_short": report.too_short,
        "left_out": reading.left_out,
    }
    return Answer("\n".join(map(one_line, lines)), data)


def _own(path: Path) -> Transcript | None:
    """Return a transcript of this data root with the steering of its user; None if the file is from elsewhere or was edited so that it is not valid."""
    store = open_store()
    rehearsed = store.is_local and path.is_file() and path.resolve().is_relative_to(store.local("transcripts").resolve())
    try:
        return Transcript.model_validate_json(path.read_text(encoding="utf-8")) if rehearsed else None
    except ValidationError:
        return None

"""`make slices`: how a folder of transcripts would be cut into training examples."""

import sys

from core.dataset.example_files import statistics
from core.dataset.slicing import SliceReport, slices
from core.errors import SettingsError
from core.imports.transcript_files import find_transcripts
from core.packs.pack import load_pack
from core.paths import user_path
from core.settings.pipeline import load_settings, load_training
from core.terminal import show
from tasks.command_words import in_one_sentence, read_words
from tasks.tokens import load_tokenizer


def main(words: list[str]) -> int:
    """Print the summary; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "transcripts": "", "settings": "config/pipeline.yaml"})))


def _show(given: dict[str, str]) -> int:
    if not given["transcripts"]:
        raise SettingsError("No folder of transcripts was given. Say make slices TRANSCRIPTS=folder.")
    settings, pack = load_settings(given["settings"]), load_pack(given["domain"])
    found, tokenizer = find_transcripts(user_path(given["transcripts"])), load_tokenizer(settings.dataset.tokenizer)
    report, system = SliceReport(), pack.prompts["system"].render()
    tokens = [item.tokens for item in slices(found.transcripts.values(), system, settings.dataset.slicing, tokenizer, report)]
    length = load_training(settings.training).train.get("max-length")
    figures = statistics(tokens, length if isinstance(length, int) else None)
    show(f"{len(found.transcripts)} transcripts, {figures['examples']} examples; tokens of an example ({tokenizer.name}):")
    show(f"  {figures['min']:,} to {figures['max']:,}, mean {figures['mean']:,}")
    for bound, count in figures["histogram"].items():
        show(f"  up to {int(bound):>9,}  {count:>6}  {'#' * round(50 * count / max(figures['histogram'].values()))}")
    if length:
        show(f"longer than the training length of {length:,} tokens (config/training/{settings.training}.yaml): {figures['longer']}")
    for what, entries in (("shortened", report.shortened), ("skipped", report.skipped)):
        for entry in entries:
            show(f"{what}: {entry['transcript']}, slice at {entry['slice']}: {entry['kept']} of {entry['exchanges']} exchanges, {entry['tokens']:,} tokens")
    for name in report.too_short:
        show(f"too short: {name}")
    for line in found.told():
        show(line, error=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

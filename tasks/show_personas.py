"""`make personas`: the personas of a batch, and how they cover the taxonomy."""

import sys

from core.packs.pack import load_pack
from core.quantities import LARGEST_SEED
from core.rehearsal.coverage import coverage, table
from core.rehearsal.personas import sample_batch
from core.terminal import show, show_text
from tasks.command_words import in_one_sentence, read_words, whole_number


def main(words: list[str]) -> int:
    """Print a line for each persona and the coverage; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "count": "20", "first_seed": "0"})))


def _show(given: dict[str, str]) -> int:
    count, first = whole_number("count", given["count"], 1, 100_000), whole_number("first_seed", given["first_seed"], 0, LARGEST_SEED)
    pack = load_pack(given["domain"])
    personas = sample_batch(pack, first, count)
    for persona in personas:
        topics, flaws = ", ".join(topic.subtopic for topic in persona.topics), ", ".join(flaw.name for flaw in persona.flaws) or "none"
        show(f"{persona.seed:6}  {persona.name:12}  {persona.exchanges:3} exchanges  {persona.trajectory:14}  {topics}  (flaws: {flaws})")
    show_text(f"\n{table(coverage(pack, personas))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

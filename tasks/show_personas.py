"""`make personas`: the personas of a batch, and how they cover the taxonomy."""

import sys

from core.coverage import coverage, table
from core.errors import SettingsError, UnderstudyError
from core.pack import load_pack
from core.personas import sample_batch


def main(words: list[str]) -> int:
    """Print a line for each persona and the coverage; return the exit code."""
    given = {"domain": "therapeutic-coaching", "count": "20", "first_seed": "0"} | dict(word.partition("=")[::2] for word in words)
    try:
        if not given["count"].isdigit() or not given["first_seed"].isdigit() or int(given["count"]) < 1:
            raise SettingsError(f"Asked for count={given['count']} from first_seed={given['first_seed']}. Allowed: whole numbers, at least 1 persona.")
        pack = load_pack(given["domain"])
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    personas = sample_batch(pack, int(given["first_seed"]), int(given["count"]))
    for persona in personas:
        topics, flaws = ", ".join(topic.subtopic for topic in persona.topics), ", ".join(flaw.name for flaw in persona.flaws) or "none"
        print(f"{persona.seed:6}  {persona.name:12}  {persona.exchanges:3} exchanges  {persona.trajectory:14}  {topics}  (flaws: {flaws})")
    print(f"\n{table(coverage(pack, personas))}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""`make rescore`: recorded assessments, scored anew from their answers."""

import sys

from core.errors import CheckpointError
from core.judging.checkpoints import read_checkpoints, rescore
from core.packs.pack import load_pack
from core.paths import user_path
from core.terminal import show
from tasks.command_words import in_one_sentence, read_words

NEAR = 0.00051
"""Recorded scores are rounded to three places."""


def main(words: list[str]) -> int:
    """Print a line for each assessment; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "checkpoints": ""})))


def _show(given: dict[str, str]) -> int:
    if not given["checkpoints"]:
        raise CheckpointError("No checkpoint was given. Say make rescore CHECKPOINTS=file or folder.")
    rubric = load_pack(given["domain"]).rubric
    found = read_checkpoints([user_path(path.strip()) for path in given["checkpoints"].split(",")])
    same = 0
    for name, (_, line) in found.lines.items():
        score, unknown = rescore(line, rubric)
        near = score.score is not None and line.score is not None and abs(score.score - line.score) <= NEAR
        same += near and line.passed == (score.outcome == "pass")
        recorded, anew = ("none" if value is None else f"{value:.3f}" for value in (line.score, score.score))
        rest = ("" if near else "  DIFFERS") + (f"  not in the rubric: {', '.join(unknown)}" if unknown else "")
        show(f"{name:<40} recorded {recorded} {'pass' if line.passed else 'fail':<10}  anew {anew} {score.outcome.value:<10}{rest}")
    for line in found.told():
        show(line)
    show(f"{same} of {len(found.lines)} as recorded, {len(found.damaged)} not read")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

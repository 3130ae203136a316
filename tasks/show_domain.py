"""`make check-domain`: a pack loaded, reviewed, and each of its prompts as a model may read it."""

import sys

from core.authoring.pack_check import rendered_prompts, review_pack
from core.packs.pack import load_pack
from core.terminal import show, show_text
from tasks.command_words import in_one_sentence, read_words


def main(words: list[str]) -> int:
    """Print what was found; return 0 for a pack that lacks nothing, 1 for one that a person should look at, 2 for one that does not load."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "prompts": ""})))


def _show(given: dict[str, str]) -> int:
    pack = load_pack(given["domain"])
    found, prompts = review_pack(pack), rendered_prompts(pack)
    subtopics = sum(len(group.subtopics) for group in pack.taxonomy.topics.values())
    gates = sum(criterion.head.gate for criterion in pack.rubric.criteria.values())
    show(f"{pack.name} ({pack.hash}): {subtopics} subtopics, {len(pack.flaws.kinds)} flaws, {len(pack.rubric.criteria)} criteria, {gates} of them gates.")
    for name, text in prompts.items():
        show(f"  {name:<18} {len(text.split()):6,} words as a model reads it")
    show(*(f"- {text}" for text in found))
    if not found:
        show("Nothing is lacking that can be counted. Whether it is good, `make generate COUNT=5` and a person say.")
    if given["prompts"]:
        for name, text in prompts.items():
            show("", f"===== {name} =====", "")
            show_text(text)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

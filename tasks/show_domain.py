"""`make check-domain`: a pack loaded, reviewed, and each of its prompts as a model may read it."""

import sys

from core.errors import UnderstudyError
from core.pack import load_pack
from core.pack_review import rendered_prompts, review_pack


def main(arguments: list[str]) -> int:
    """Print what was found; return 0 for a pack that lacks nothing, 1 for one that a person should look at, 2 for one that does not load."""
    given = {"domain": "therapeutic-coaching", "prompts": ""} | dict(item.partition("=")[::2] for item in arguments)
    try:
        pack = load_pack(given["domain"])
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    found, prompts = review_pack(pack), rendered_prompts(pack)
    subtopics = sum(len(group.subtopics) for group in pack.taxonomy.topics.values())
    gates = sum(criterion.head.gate for criterion in pack.rubric.criteria.values())
    print(f"{pack.name} ({pack.hash}): {subtopics} subtopics, {len(pack.flaws.kinds)} flaws, {len(pack.rubric.criteria)} criteria, {gates} of them gates.")
    for name, text in prompts.items():
        print(f"  {name:<18} {len(text.split()):6,} words as a model reads it")
    print(
        "\n".join(f"- {text}" for text in found)
        if found
        else "Nothing is lacking that can be counted. Whether it is good, `make generate COUNT=5` and a person say."
    )
    if given["prompts"]:
        for name, text in prompts.items():
            print(f"\n===== {name} =====\n\n{text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

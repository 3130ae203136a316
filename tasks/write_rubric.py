"""`make rubric`: a domain's rubric as a page for people, docs/rubric.md."""

import sys

from core.packs.pack import load_pack
from core.paths import user_path
from core.reports.render import rubric_markdown
from tasks.command_words import in_one_sentence, read_words


def main(words: list[str]) -> int:
    """Write the page of the domain; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"domain": "therapeutic-coaching", "to": "docs/rubric.md"})))


def _show(given: dict[str, str]) -> int:
    user_path(given["to"]).write_text(rubric_markdown(load_pack(given["domain"])), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

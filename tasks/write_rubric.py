"""`make rubric`: a domain's rubric as a page for people, docs/rubric.md."""

import sys

from core.errors import UnderstudyError
from core.pack import load_pack
from core.reports import rubric_markdown
from core.store import CHECKOUT


def main(arguments: list[str]) -> int:
    """Write the page of the domain; return the exit code."""
    given = {"domain": "therapeutic-coaching", "to": "docs/rubric.md"} | dict(item.partition("=")[::2] for item in arguments)
    try:
        (CHECKOUT / given["to"]).write_text(rubric_markdown(load_pack(given["domain"])), encoding="utf-8")
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

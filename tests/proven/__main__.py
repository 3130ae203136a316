"""Write docs/proven.md: `python -m tests.proven`."""

from tests.proven import PAGE, proven_page

PAGE.write_text(proven_page(), encoding="utf-8")

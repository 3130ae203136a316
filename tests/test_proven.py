"""docs/proven.md says what was tried: it is current, its tests exist, and it leaves nothing out that a user chooses."""

from blocks.chat import PROVIDERS
from tests.conftest import CHECKOUT
from tests.proven import PAGE, groups, proven_page


def test_the_page_is_as_the_list_has_it():
    assert PAGE.read_text(encoding="utf-8") == proven_page(), "run python -m tests.proven"


def test_what_was_tried_names_its_tests_or_its_day_and_the_tests_exist():
    rows = [row for group in groups() for row in group.rows]
    assert [row.thing for row in rows if not (row.tests or row.on or row.how.startswith("not tried"))] == []
    assert [name for row in rows for name in row.tests if not (CHECKOUT / name).exists()] == []


def test_every_provider_is_on_the_page():
    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in PROVIDERS if name.partition("-")[0] not in page.lower() and name != "scripted"] == []

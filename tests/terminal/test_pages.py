"""The pages of the docs that the settings write are those of today's settings."""

import pytest

from core.errors import SettingsError
from flows.terminal.configuration import PAGE, configuration_page, undescribed
from flows.terminal.costs import costs
from tests.conftest import CHECKOUT


def test_every_setting_has_a_meaning():
    assert [row.name for row in undescribed()] == []


def test_the_page_of_the_configuration_is_that_of_the_settings():
    assert (CHECKOUT / PAGE).read_text(encoding="utf-8") == configuration_page(), "run make configuration"


def test_the_page_of_costs_is_that_of_the_settings():
    assert (CHECKOUT / "docs/costs.md").read_text(encoding="utf-8") == costs().text


@pytest.mark.parametrize("sizes", ["ten", "0", "10,,20", "-5"])
def test_sizes_that_are_no_numbers_are_refused(sizes):
    with pytest.raises(SettingsError, match="numbers of transcripts"):
        costs(sizes=sizes)

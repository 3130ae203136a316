"""A batch that came to nothing is not called completed."""

import pytest

from core.errors import NothingMadeError
from core.records import LeftOut
from core.reports.left_out import TELLING, fail_if_none_passes, fail_if_nothing


def test_a_batch_in_which_everything_failed_says_why():
    lost = [LeftOut(name=f"persona {number}", reason="the provider failed.") for number in range(3)]
    with pytest.raises(NothingMadeError, match=r"0 of 3 conversations were made\. 3 times: the provider failed\."):
        fail_if_nothing(0, lost, "conversations")
    fail_if_nothing(1, lost, "conversations")
    fail_if_nothing(0, [], "conversations")  # there was nothing to do


def test_a_batch_of_which_nothing_passes_says_where_to_read_on_unless_chance_may_have_been_it():
    with pytest.raises(NothingMadeError, match=f"None of the {TELLING} judged conversations passes. Their verdicts are kept: page.html"):
        fail_if_none_passes(0, TELLING, "page.html")
    for passed, judged in ((1, TELLING), (0, TELLING - 1), (0, 0)):
        fail_if_none_passes(passed, judged, "page.html")

"""A batch without results is not reported as completed."""

import pytest

from core.errors import NothingMadeError
from core.records import LeftOut
from core.reports.left_out import TELLING, fail_if_none_passes, fail_if_nothing


def test_a_batch_with_only_failures_is_reported_with_the_reason():
    lost = [LeftOut(name=f"persona {number}", reason="the provider failed.") for number in range(3)]
    with pytest.raises(NothingMadeError, match=r"0 of 3 conversations were made\. 3 times: the provider failed\."):
        fail_if_nothing(0, lost, "conversations")
    fail_if_nothing(1, lost, "conversations")
    fail_if_nothing(0, [], "conversations")  # no work, so no failure


def test_a_batch_without_a_pass_gets_advice_unless_chance_explains_it():
    with pytest.raises(NothingMadeError, match=f"None of the {TELLING} judged conversations passes. Their verdicts are kept: page.html"):
        fail_if_none_passes(0, TELLING, "page.html")
    for passed, judged in ((1, TELLING), (0, TELLING - 1), (0, 0)):
        fail_if_none_passes(passed, judged, "page.html")

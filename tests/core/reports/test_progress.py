"""Progress: items done, speed, cost and time left."""

import pytest

from core.llm.bills import Bill
from core.reports.progress import Progress


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_speed_and_time_left_count_only_this_runs_items():
    clock = Clock()
    progress = Progress(4, 40, clock=clock)
    progress.resume("a", 9)  # a killed run left these
    progress.end("b", 10, 10)  # and a whole conversation
    for _ in range(6):
        progress.say("a")
    clock.now += 3
    assert progress.line(Bill(usd=1.5)) == "1 of 4 conversations, 25 of 40 exchanges, 2.0 exchanges/s, 1.50 USD so far, about 8 s left"


def test_an_early_end_of_a_conversation_reduces_the_remaining_exchanges():
    clock = Clock()
    progress = Progress(2, 20, clock=clock)
    for _ in range(4):
        progress.say("a")
    progress.end("a", 10, 4)
    assert (progress.exchanges, progress.said, progress.percent) == (14, 4, pytest.approx(100 * 4 / 14))


def test_the_progress_line_does_not_change_after_completion():
    clock = Clock()
    progress = Progress(1, 4, clock=clock)
    clock.now += 2
    for _ in range(4):
        progress.say("a")
    progress.end("a", 4, 4)
    done = progress.line(Bill())
    clock.now += 2  # Prefect records the ends of tasks later
    assert done == progress.line(Bill()) == "1 of 1 conversations, 4 of 4 exchanges, 2.0 exchanges/s"


@pytest.mark.parametrize(("seconds", "said"), [(60, "about 60 s left"), (600, "about 10 min left"), (9000, "about 2.5 h left")])
def test_time_left_is_reported_in_a_suitable_unit(seconds, said):
    clock = Clock()
    progress = Progress(1, 1 + seconds, clock=clock)
    progress.say("a")
    progress.say("a")
    clock.now += 2
    progress.exchanges = 2 + seconds
    assert progress.line(Bill()).endswith(said)


def test_no_speed_is_reported_within_the_first_second():
    clock = Clock()
    progress = Progress(1, 5, clock=clock)
    progress.say("a")
    assert progress.line(Bill()) == "0 of 1 conversations, 1 of 5 exchanges"

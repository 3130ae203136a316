"""Nights: no persona twice, no conversation forgotten, and an end by local time."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.reports.nights import Night, bar, ends_at, left_by, plan_night


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.sets(st.integers(0, 60)), st.integers(0, 5))
def test_no_night_repeats_a_persona(sizes, made, first):
    nights = []
    for number, size in enumerate(sizes):
        nights.append(plan_night(f"night {number}", size, nights, made, first))
    seeds = [seed for night in nights for seed in night.seeds]
    assert len(seeds) == len(set(seeds)) == sum(sizes)
    assert not set(seeds) & made
    assert min(seeds) >= first


def test_a_night_continues_unfinished_conversations_in_order():
    nights = [Night(name="b", first_seed=3, conversations=3), Night(name="a", first_seed=0, conversations=3)]
    assert left_by(nights, {1, 4, 5}) == [0, 2, 3]
    assert left_by(nights, range(6)) == []


@pytest.mark.parametrize(
    ("now", "end"),
    [
        ("2026-11-27T01:00+00:00", "2026-11-27T05:00+00:00"),  # winter: 06:00 in Berlin is 05:00 UTC
        ("2026-11-27T05:00+00:00", "2026-11-28T05:00+00:00"),  # on the hour: the next one
        ("2026-03-28T22:00+00:00", "2026-03-29T04:00+00:00"),  # in this night the clocks go forward
        ("2026-10-24T22:00+00:00", "2026-10-25T05:00+00:00"),  # and back
    ],
)
def test_the_nightly_hour_is_local_time_in_summer_and_winter(now, end):
    assert ends_at("06:00", "Europe/Berlin", datetime.fromisoformat(now)).astimezone(UTC) == datetime.fromisoformat(end)


@given(st.one_of(st.none(), st.floats(0, 1)))
def test_a_progress_bar_always_has_the_same_length(share):
    assert len(bar(share)) == 20

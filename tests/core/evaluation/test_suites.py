"""A subset of a suite is spread evenly over its kinds, and a larger subset contains the smaller ones."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.suites import spread_over

ITEMS = st.lists(st.sampled_from("abcde"), max_size=30).map(lambda kinds: list(enumerate(kinds)))


def kind_of(item: tuple[int, str]) -> str:
    return item[1]


@given(items=ITEMS, count=st.integers(min_value=1, max_value=40))
def test_a_subset_of_a_suite_is_spread_evenly_and_in_order(items, count):
    chosen = spread_over(items, kind_of, count)
    assert len(chosen) == min(count, len(items))
    assert list(chosen) == sorted(set(chosen))
    there, taken = Counter(map(kind_of, items)), Counter(map(kind_of, chosen))
    # a part has fewer than another only if it has no more to give
    assert all(taken[one] >= taken[other] - 1 or taken[one] == there[one] for one in there for other in there)


@given(items=ITEMS, count=st.integers(min_value=1, max_value=40))
def test_a_larger_subset_contains_the_smaller_one(items, count):
    assert set(spread_over(items, kind_of, count)) <= set(spread_over(items, kind_of, count + 1))
    assert spread_over(items, kind_of, count) == spread_over(items, kind_of, count)


def test_without_a_number_the_whole_suite_is_used():
    items = [(1, "a"), (2, "b"), (3, "a")]
    assert spread_over(items, kind_of, None) == tuple(items)

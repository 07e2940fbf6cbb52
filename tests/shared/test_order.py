"""Which tests begin first."""

from hypothesis import given
from hypothesis import strategies as st

from tests.order import long_ones_first


def test_each_of_four_workers_begins_with_what_is_long() -> None:
    tests = [*range(96), "a", "b", "c", "d"]
    order = long_ones_first(tests, tests[96:], 4)
    assert [order[first] for first in range(0, 100, 25)] == ["a", "b", "c", "d"]
    assert [each for each in order if isinstance(each, int)] == list(range(96))


@given(st.integers(0, 60), st.integers(1, 12), st.data())
def test_none_is_lost_or_doubled_and_the_others_keep_their_order(
    count: int, workers: int, data: st.DataObject
) -> None:
    tests = list(range(count))
    long = data.draw(st.lists(st.sampled_from(tests), unique=True)) if tests else []
    order = long_ones_first(tests, long, workers)
    assert sorted(order) == tests
    assert [each for each in order if each not in long] == [each for each in tests if each not in long]

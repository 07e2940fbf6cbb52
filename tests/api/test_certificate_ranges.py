"""Which numbers are not there, found of counts of blocks, held to what one sees by looking at each."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.certificate.digests import block_of
from api.certificate.ranges import Range, holes, in_words, joined, without


def numbers(ranges: list[Range]) -> set[int]:
    return {n for first, last in ranges for n in range(first, last + 1)}


@given(
    there=st.sets(st.integers(1, 4_500), max_size=300),
    whole=st.sets(st.integers(0, 4)),
    low=st.integers(1, 3_000),
    high=st.integers(0, 5_000),
)
def test_blocks_that_are_full_are_passed_over_and_nothing_else(
    there: set[int], whole: set[int], low: int, high: int
) -> None:
    there = {
        n
        for n in there | {n for b in whole for n in range(b * 1000 + 1, b * 1000 + 1001)}
        if low <= n <= high
    }
    counts: dict[int, int] = {}
    for n in there:
        counts[block_of(n)] = counts.get(block_of(n), 0) + 1
    found = holes(sorted(counts.items()), low, high)
    absent, partial = numbers(found.absent), numbers(found.partial)
    wanted = set(range(low, high + 1)) - there
    assert absent <= wanted
    assert wanted <= absent | partial
    assert {block_of(n) for n in partial} == {block_of(n) for n in wanted - absent}


RANGES = st.lists(
    st.tuples(st.integers(1, 60), st.integers(0, 9)).map(lambda r: (r[0], r[0] + r[1])), max_size=12
)


@given(ranges=RANGES, others=RANGES)
def test_ranges_are_sets_of_numbers(ranges: list[Range], others: list[Range]) -> None:
    whole = joined(ranges)
    assert numbers(whole) == numbers(ranges)
    assert all(one[1] + 1 < next_one[0] for one, next_one in itertools.pairwise(whole))
    assert numbers(list(without(whole, joined(others)))) == numbers(ranges) - numbers(others)


def test_ranges_are_said_as_people_say_them() -> None:
    assert in_words([(5, 5), (1_200, 1_204)]) == "5, 1,200 to 1,204"
    assert (
        in_words([(n, n) for n in range(1, 24, 2)]) == "1, 3, 5, 7, 9, 11, 13, 15, 17, 19 and 2 more ranges"
    )


def test_many_ranges_are_looked_at_once_each() -> None:
    """A device decides how many there are, and the event loop waits."""

    class Counted(list[Range]):
        looks = 0

        def __getitem__(self, at: Any) -> Any:
            found = super().__getitem__(at)
            self.looks += len(found) if isinstance(at, slice) else 1
            return found

    ranges, others = [(n, n) for n in range(1, 20_000, 2)], Counted((n, n) for n in range(1, 20_000, 4))
    assert list(without(ranges, others)) == [(n, n) for n in range(3, 20_000, 4)]
    assert others.looks < 10 * len(ranges)

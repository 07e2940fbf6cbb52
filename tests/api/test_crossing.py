"""Crossings, made of passings, are those that the reads themselves make, whatever the gap."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.crossings.crossing import (
    KEPT,
    Crossing,
    Point,
    ReadAt,
    Rule,
    by_point,
    counting_first,
    crossings,
    rule_at,
)
from tests.api.passed import Seen, passings, runs

GUN = datetime(2026, 5, 3, 10, 0)  # noqa: DTZ001 - a reader's own clock
MAT, TWIN, BEYOND = (UUID(int=n) for n in (1, 2, 3))
HUNDREDTH = timedelta(milliseconds=10)
GAP = timedelta(seconds=5)
RULES: Sequence[Rule] = ("first", "last")


def seen(*at: float, tag: str = "a", mat: UUID = MAT, first_seq: int = 1) -> list[Seen]:
    """Return reads at so many seconds, numbered in the order in which they are given."""
    return [Seen.at(tag, mat, 1, first_seq + n, GUN + timedelta(seconds=each)) for n, each in enumerate(at)]


def made(*reads: Sequence[Seen], gap: timedelta = GAP, rule: Rule = "first") -> list[Crossing]:
    return list(crossings(passings(each for those in reads for each in those), gap=gap, rule=rule))


def times(found: Sequence[Crossing]) -> list[float]:
    return [(each.counting.read_at - GUN).total_seconds() for each in found]


# Hundredths of a second, as readers say them, close enough together that gaps of a second and of a minute both occur
# and that two reads have one time; two streams of one point, two epochs, two chips of one person, in any order.
_READS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b"]),
        st.sampled_from([MAT, TWIN]),
        st.integers(1, 2),
        st.one_of(st.integers(0, 1200), st.integers(0, 40_000)),
    ),
    min_size=1,
    max_size=40,
).map(
    lambda rows: [
        Seen.at(tag, mat, epoch, seq, GUN + at * HUNDREDTH)
        for seq, (tag, mat, epoch, at) in enumerate(rows, 1)
    ]
)


@given(reads=_READS, gap=st.integers(100, 6000), rule=st.sampled_from(RULES))
def test_crossings_of_passings_are_those_of_the_reads(reads: list[Seen], gap: int, rule: Rule) -> None:
    found = crossings(passings(reads), gap=gap * HUNDREDTH, rule=rule)
    by_reads = runs([each.read for each in reads], gap * HUNDREDTH)
    assert [(each.counting, each.first, each.last, each.reads) for each in found] == [
        (run[0] if rule == "first" else run[-1], run[0], run[-1], len(run)) for run in by_reads
    ]


@given(reads=_READS, gap=st.integers(100, 6000), rule=st.sampled_from(RULES))
def test_the_runner_up_counts_once_the_counting_read_is_not_there(
    reads: list[Seen], gap: int, rule: Rule
) -> None:
    for run in runs([each.read for each in reads], gap * HUNDREDTH):
        counting, *others = counting_first(run, rule)
        left = passings(each for each in reads if each.read in others)
        without = list(crossings(left, gap=gap * HUNDREDTH, rule=rule))
        assert [each.counting for each in without] == others[:1]
        assert counting not in others


def test_exactly_the_gap_apart_is_two() -> None:
    assert times(made(seen(0, 5))) == [0, 5]
    assert times(made(seen(0, 4.99))) == [0]


def test_the_gap_goes_from_the_last_read_not_from_the_first() -> None:
    # A window is anchored, a crossing is not: who stands on the mat for a minute has crossed it once.
    assert times(made(seen(*range(0, 60, 4)))) == [0]


def test_a_passing_within_the_time_of_another_does_not_end_it() -> None:
    long = seen(*(n / 2 for n in range(41)))
    short = seen(3, mat=TWIN)
    assert times(made(long, short, seen(24, tag="b", first_seq=50))) == [0]


def test_twin_mats_and_several_chips_of_one_person_are_one_crossing() -> None:
    twins = seen(0.1, 0.3), seen(0.0, 0.4, mat=TWIN), seen(0.2, tag="b", first_seq=9)
    [first] = made(*twins)
    assert (first.counting.stream_id, first.reads, times([first])) == (TWIN, 5, [0.0])
    [last] = made(*twins, rule="last")
    assert (last.counting.stream_id, times([last])) == (TWIN, [0.4])


@pytest.mark.parametrize(("rule", "seq"), [("first", 1), ("last", 3)])
def test_of_one_time_the_number_decides(rule: Rule, seq: int) -> None:
    # The last of them as a last-seen line has it: it carries the time at which the chip was first seen.
    [found] = made(seen(0, 0, 0), rule=rule)
    assert found.counting == ReadAt(GUN, MAT, 1, seq)


def test_the_order_of_arrival_is_nothing_to_a_crossing() -> None:
    late = made(seen(8, 0, 0.5, 7.5))
    assert times(late) == [0, 7.5]
    assert [each.counting.seq for each in late] == [2, 4]


def test_only_the_first_of_several_points_is_a_start() -> None:
    assert [rule_at(place, places=3) for place in (1, 2, 3, None)] == ["last", "first", "first", "first"]
    assert rule_at(1, places=1) == "first"


@pytest.mark.parametrize("rule", RULES)
def test_a_chip_that_lies_on_a_mat_is_one_crossing_of_which_no_more_is_kept_than_is_needed(
    rule: Rule,
) -> None:
    # Beside it a chip of the same person that is seen all the time, and so leaves last what came first.
    lying = seen(*(2 * n for n in range(10 * KEPT)))
    [found] = made(lying, seen(*(n / 2 for n in range(40 * KEPT)), mat=TWIN), rule=rule)
    assert (found.reads, found.tags, len(found.passings)) == (50 * KEPT, frozenset("a"), KEPT)
    assert found.counting in {getattr(each, rule) for each in found.passings}
    whole = passings([*lying, *seen(*(n / 2 for n in range(40 * KEPT)), mat=TWIN)])
    nearest = sorted(whole, key=lambda each: each.first if rule == "first" else each.last)
    assert set(found.passings) == set(nearest[:KEPT] if rule == "first" else nearest[-KEPT:])


def test_each_point_has_its_own_and_a_stream_of_none_is_one_by_itself() -> None:
    alone = uuid4()
    start, finish = Point("1", "last"), Point("2", "first")
    points = {MAT: start, TWIN: start, BEYOND: finish}
    reads = [*seen(0, 0.5), *seen(0.7, mat=TWIN), *seen(600, 600.5, mat=BEYOND), *seen(300, mat=alone)]
    found = by_point(passings(reads), points, gap=GAP)
    assert [(point.at, crossing.reads) for point, crossing in found] == [
        ("1", 3),
        (str(alone), 1),
        ("2", 2),
    ]
    assert times([crossing for _, crossing in found]) == [0.7, 300, 600]


def test_nobody_was_nowhere() -> None:
    assert by_point([], {}, gap=GAP) == []

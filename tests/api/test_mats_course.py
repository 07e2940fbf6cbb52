"""Which points are looked at, from where people come, and what is made of many. Pure."""

from random import Random
from typing import Any
from uuid import UUID

import pytest

from api.mats.course import AT_ONCE, courses, feeder_of, watch_of
from api.mats.store.kept import Point
from api.mats.store.ways import Way
from tests.api.watching import NOW

RACE = UUID(int=1)


def point(place: int, **said: Any) -> Point:
    """A point where reads come, that was looked at a minute ago, but for what is given."""
    usual = Point(RACE, place, f"{place}", False, [UUID(int=place)], True, 1.0, f"at {place}", "old", 60.0, 1)
    return usual._replace(**said)


def chosen(*points: Point) -> list[int]:
    return [each.place for course in courses(points).values() for each in course.chosen]


def test_silent_points_come_first_then_new_ones_then_those_that_have_waited_longest() -> None:
    many = [point(place, made_s=100.0 + place) for place in range(1, AT_ONCE + 1)]
    silent = point(40, silent_s=30.0, made_s=6.0)
    fresh = point(50, made_s=None)
    assert chosen(*many, silent, fresh) == [*range(3, AT_ONCE + 1), 40, 50]


def test_a_point_where_reads_come_is_looked_at_seldom_and_one_that_is_silent_often() -> None:
    assert chosen(point(1, made_s=44.0), point(2, made_s=46.0)) == [2]
    assert chosen(point(1, made_s=4.0, silent_s=30.0), point(2, made_s=6.0, silent_s=30.0)) == [2]
    # Nobody waits for a closed one.
    assert chosen(point(1, made_s=44.0, silent_s=30.0, closed=True)) == []


def test_of_what_nothing_has_changed_nothing_is_made() -> None:
    (course,) = courses([point(1), point(2)]).values()
    assert chosen(point(1, made_of=course.frame), point(2, made_of=course.frame)) == []
    assert chosen(point(1, made_of=course.frame), point(2, made_of=course.frame, filled="more")) == [1, 2]


def test_people_come_from_the_nearest_point_that_was_not_given_up() -> None:
    start, dead, given_up, finish = point(1), point(2, has_reads=False), point(3, closed=True), point(4)
    course = [start, dead, given_up, finish]
    assert feeder_of(finish, course) == start
    assert feeder_of(finish, [start, dead, point(3), finish]) == point(3)
    assert feeder_of(start, course) is None
    # Nor does one that is silent itself, or whose box is gone, or where none of those who left has come.
    for fails in ({"told": True}, {"online": False}, {"silent_s": 90.0, "through": 0}):
        assert feeder_of(finish, [start, point(3, **fails), finish]) == start
        assert feeder_of(finish, [point(1, **fails), finish]) == point(1, **fails)
    for through in (40, None):
        quiet = point(3, silent_s=90.0, through=through)
        assert feeder_of(finish, [start, quiet, finish]) == quiet
    # A start is closed when all have left, and says who did.
    closed = point(1, closed=True)
    assert feeder_of(finish, [closed, dead, given_up, finish]) == closed


def way(people: int) -> Way:
    """A leg on which somebody leaves each second or more often, and takes some ten minutes."""
    random = Random(5)
    crossed = [-1800.0 * number / people for number in range(people)]
    took = [random.gauss(600, 60) for _ in range(people)]
    came = [each if left + each <= 0 else None for left, each in zip(crossed, took, strict=True)]
    random.shuffle(order := list(range(people)))
    return Way(
        2, NOW, people, [crossed[n] for n in order], [None] * people, [came[n] for n in order], [-2.0, -1.0]
    )


@pytest.mark.parametrize("people", [1_000, 9_000])
def test_of_many_some_stand_for_all(people: int) -> None:
    made = watch_of(way(people), made_of="frame", one_in=1, before=1)
    assert made.due is not None
    # As many come in the next five minutes as have left in any.
    assert sum(made.due[:30]) == pytest.approx(people / 6, rel=0.1)
    assert made.one_in == max(1, people // 1_500)


def test_of_one_in_three_three_times_as_many_are_due() -> None:
    made = watch_of(way(1_000), made_of="frame", one_in=3, before=1)
    assert made.due is not None
    assert sum(made.due[:30]) == pytest.approx(1_000 / 2, rel=0.1)
    # Nor is a third of a third taken the next time.
    assert made.one_in == 2


def test_where_nobody_was_read_yet_nothing_is_made() -> None:
    made = watch_of(None, made_of="frame", one_in=1, before=None)
    assert (made.due, made.travel_s, made.from_place) == (None, (), None)


@pytest.mark.parametrize(("through", "may_come"), [(20, 28), (4, 0), (29, 19), (44, 0)])
def test_of_a_small_field_it_is_known_who_may_come_yet(through: int, may_come: int) -> None:
    took = [1_000.0 + each if each < through else None for each in range(48)]
    came = [5.0 * each - 100.0 for each in range(through)]
    small = Way(2, NOW, through, [-1_100.0] * 48, [None] * 48, took, came)
    made = watch_of(small, made_of="frame", one_in=1, before=1)
    if made.due is None:
        assert (made.due_in_all, made.usual_gap_s) == (may_come, 5.0)

"""Which points of races are to be looked at, from where people come to each, and what is made of what is known.
Pure.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import groupby
from statistics import median
from typing import NamedTuple
from uuid import UUID

from api.mats.forecast import LAST_SHARE, Curve, Runner, curve, forecast, longest_gap, usual_gap
from api.mats.store.kept import Point, Watch
from api.mats.store.ways import Way

__all__ = ["AT_ONCE", "READS_NOTHING_S", "Course", "courses", "feeder_of", "watch_of"]

# So many points at once, those that are silent before all, then those that have waited longest: where reads come it is
# only shown what is expected.
AT_ONCE = 12
SILENT_S = 8.0
# Nobody has come from the point before, and no chip at all for so long: it reads nothing.
READS_NOTHING_S = 60.0
OFTEN_S, SELDOM_S = 5.0, 45.0
# Of many who are on the way a sample says as much.
RUNNERS = 1_500
# How long it takes is told by so many of those who come: a quantile for each.
QUANTILES = 20
# With fewer who are through than tell who is due, how long it takes between two is known of so many.
SOME_THROUGH = 5


class Course(NamedTuple):
    """The points of a race in their order, those that are to be looked at, and what is another when any of them is."""

    points: Sequence[Point]
    chosen: Sequence[Point]
    frame: str


def courses(points: Sequence[Point]) -> dict[UUID, Course]:
    """Return the races of which points are to be looked at; points: those of all races, in course order."""
    by_race = {race_id: list(those) for race_id, those in groupby(points, key=lambda each: each.race_id)}
    frames = {race_id: _frame(those) for race_id, those in by_race.items()}
    wanted = [each for each in points if _is_due(each, frames[each.race_id])]
    wanted.sort(key=lambda each: (not _is_silent(each), each.made_s is not None, -(each.made_s or 0.0)))
    chosen = {(each.race_id, each.place) for each in wanted[:AT_ONCE]}
    return {
        race_id: Course(those, taken, frames[race_id])
        for race_id, those in by_race.items()
        if (taken := [each for each in those if (race_id, each.place) in chosen])
    }


def _is_due(point: Point, frame: str) -> bool:
    if point.made_of == frame:
        return False
    return point.made_s is None or point.made_s >= (OFTEN_S if _is_silent(point) else SELDOM_S)


def _is_silent(point: Point) -> bool:
    return point.has_reads and not point.closed and (point.silent_s or 0.0) >= SILENT_S


def _frame(points: Sequence[Point]) -> str:
    told = repr(
        [
            (each.place, each.title, each.closed, each.filled, each is not points[0] and _sees_nobody(each))
            for each in points
        ]
    )
    return blake2b(told.encode(), digest_size=16).hexdigest()


def feeder_of(point: Point, course: Sequence[Point]) -> Point | None:
    """Return from where people come to a point: the nearest before it where any were read; one that was given up on the
    way, or is silent itself, says nothing of those who came since. But the first says who left, also when it is closed,
    and is silent when all have.
    """
    before = [each for each in course if each.place < point.place and each.has_reads]
    sees = [each for each in before if each is course[0] or not (each.closed or _sees_nobody(each))]
    return sees[-1] if sees else None


def _sees_nobody(point: Point) -> bool:
    """Return whether who passes it now is not known: by an alert, for want of its box, or since none came yet."""
    reads_nothing = point.through == 0 and (point.silent_s or 0.0) >= READS_NOTHING_S
    return point.told or not point.online or reads_nothing


def watch_of(way: Way | None, *, made_of: str, one_in: int, before: int | None) -> Watch:
    """Return what is made of a way; way: None where nobody was read at the point yet, or nobody comes from
    elsewhere.
    """
    if way is None:
        return Watch(made_of, from_place=before)
    runners, of_so_many = runners_of(way), len(way.crossed)
    # The first look at a race that goes on already finds all of them: some are taken, in the order in which they come.
    runners = runners[:: max(1, of_so_many // RUNNERS)]
    weight = one_in * of_so_many / len(runners) if runners else 1.0
    told = forecast(runners, 0.0) if runners else None
    watch = Watch(
        made_of=made_of,
        # As many as are wanted at the next look, by how many there were at this.
        one_in=max(1, round(one_in * of_so_many / RUNNERS)),
        from_place=before,
        through=way.through,
        newest_at=way.newest_at,
        usual_gap_s=usual_gap(way.came),
    )
    if told is None:
        waiting = weight * sum(each.took is None for each in runners)
        # Of the last tenth nobody can tell, as elsewhere: some have left the race.
        is_told = way.through >= SOME_THROUGH and waiting > LAST_SHARE * weight * len(runners)
        return watch._replace(due_in_all=waiting if is_told else 0.0, usual_gap_s=longest_gap(way.came))
    due, surely = ([weight * each for each in bins] for bins in (told.due, told.surely_due))
    travel_s, arrive = _quantiles(curve([each._replace(own=None) for each in runners], 0.0))
    return watch._replace(due=due, surely_due=surely, due_in_all=sum(due), travel_s=travel_s, arrive=arrive)


def runners_of(way: Way) -> list[Runner]:
    """Return who is or was on the way; she of whom it is not known how long she was on her way before is as the
    others.
    """
    known = [each for each in way.own if each is not None and each > 0]
    usual = median(known) if known else None
    return [
        Runner(crossed, (own if own and own > 0 else usual), took)
        for crossed, own, took in zip(way.crossed, way.own, way.took, strict=True)
    ]


def _quantiles(how: Curve | None) -> tuple[list[float], float]:
    """Return how long it takes, in seconds, of so many shares of those who come; and how many come."""
    if how is None:
        return [], 0.0
    arrive = 1 - how.shares[-1]
    wanted = [1 - arrive * (each + 0.5) / QUANTILES for each in range(QUANTILES)]
    times = (
        next(
            (time for time, share in zip(how.times, how.shares, strict=True) if share <= level), how.times[-1]
        )
        for level in wanted
    )
    return list(times), arrive

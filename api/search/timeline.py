"""What was read of somebody as a story: crossings, their reads, where she was not seen, where she is due. Pure."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from api.crossings.crossing import Crossing, Passing, Point, ReadAt, by_point, rule_at
from api.search.store import Place
from api.search.types import State, TimelineCrossing, TimelinePoint, TimelineRead

__all__ = ["Expected", "Seen", "crossings", "few_enough", "legs", "points", "reads", "seen"]


class Seen(NamedTuple):
    """Somebody at a point, once. place: in the course; None: of a stream that stands at none."""

    place: int | None
    name: str
    crossing: Crossing

    @property
    def at(self) -> datetime:
        """When that was."""
        return self.crossing.counting.read_at


class Expected(NamedTuple):
    """A place where somebody was not seen, and the crossing of the place before that she was seen at."""

    place: int
    since: Seen
    is_due: bool


def seen(passings: Iterable[Passing], places: Sequence[Place], *, gap: timedelta) -> list[Seen]:
    """Return all crossings of somebody, in the order of their times."""
    last = max((each.place for each in places if each.place is not None), default=0)
    points: dict[UUID, Point] = {}
    known: dict[str, tuple[int | None, str]] = {}
    for each in places:
        if each.stream_id is not None:
            at = str(each.stream_id if each.place is None else each.place)
            points[each.stream_id] = Point(at, rule_at(each.place, places=last))
            known[at] = each.place, each.name
    return [
        Seen(*known.get(point.at, (None, point.at)), crossing)
        for point, crossing in by_point(passings, points, gap=gap)
    ]


def legs(found: Sequence[Seen], places: Sequence[Place]) -> list[Expected]:
    """Return where she was not seen though she was further on, and the next place, where she is due."""
    placed = [each for each in found if each.place is not None]
    if not placed:
        return []
    last = placed[-1]
    latest = {each.place: each for each in placed}
    expected, before = [], None
    for place in sorted({each.place for each in places if each.place is not None}):
        if place in latest:
            before = latest[place]
        elif before is not None and place < (last.place or 0):
            expected.append(Expected(place, before, is_due=False))
        elif place > (last.place or 0):
            return [*expected, Expected(place, last, is_due=True)]
    return expected


def points(
    found: Sequence[Seen],
    places: Sequence[Place],
    expected: Mapping[int, tuple[Expected, datetime | None, int]],
    crowd: Mapping[int, int],
) -> list[TimelinePoint]:
    """Return the course as it is for her. expected: by place, with the time and of how many that is the median."""
    at = {each.place: each.at for each in found}
    names = {each.place: each.name for each in places if each.place is not None}
    last = next((each.place for each in reversed(found) if each.place is not None), 0)
    told = []
    for place, name in names.items():
        leg, when, others = expected.get(place, (None, None, 0))
        state: State = "seen" if place in at else "not_seen" if place < last else "ahead"
        point = TimelinePoint(place=place, name=name, state=state, at=at.get(place))
        if leg is not None:
            point.state = "due" if leg.is_due else "not_seen"
            point.expected_at, point.others = when, others
            if when is not None and not leg.is_due:
                point.others_in_that_minute = crowd.get(place, 0)
        told.append(point)
    return told


def crossings(found: Sequence[Seen]) -> list[TimelineCrossing]:
    """Return the crossings, each with the time since the one before."""
    told = []
    for before, each in zip([None, *found], found, strict=False):
        crossing = each.crossing
        told.append(
            TimelineCrossing(
                place=each.place,
                point=each.name,
                at=each.at,
                rule=crossing.rule,
                first_read_at=crossing.first.read_at,
                last_read_at=crossing.last.read_at,
                reads=crossing.reads,
                since_s=None if before is None else (each.at - before.at).total_seconds(),
            )
        )
    return told


def few_enough(found: Sequence[Seen], *, most_events: int, most_reads: int) -> list[Passing]:
    """Return the passings whose reads are shown: the newest ones, while what must be looked at stays within a bound."""
    chosen: list[Passing] = []
    for each in reversed(found):
        for passing in each.crossing.passings:
            most_events -= passing.high_seq - passing.low_seq + 1
            most_reads -= passing.reads
            if most_events < 0 or most_reads < 0:
                return chosen
            chosen.append(passing)
    return chosen


def reads(found: Sequence[Seen], given: Iterable[tuple[ReadAt, str]]) -> list[TimelineRead]:
    """Return the reads in the order of their times, each with its crossing."""
    crossing_of = _numbers(found)
    told: list[TimelineRead] = []
    before: datetime | None = None
    # Passings of a chip may lie among the same numbers: what lies among those of two was looked at for both.
    for read, chip_id in sorted(set(given)):
        number = crossing_of(read, chip_id)
        if number is None:
            continue  # stored since the passings were looked at
        told.append(
            TimelineRead(
                read_at=read.read_at,
                chip_id=chip_id,
                point=found[number].name,
                stream_id=read.stream_id,
                stream_epoch=read.stream_epoch,
                seq=read.seq,
                gap_s=None if before is None else (read.read_at - before).total_seconds(),
                counts=read == found[number].crossing.counting,
                crossing=number,
            )
        )
        before = read.read_at
    return told


def _numbers(found: Sequence[Seen]) -> Callable[[ReadAt, str], int | None]:
    """Return what says of which crossing a read is; None: of none of these."""
    of_chip: dict[tuple[UUID, int, str], list[tuple[datetime, datetime, int]]] = {}
    for number, each in enumerate(found):
        for passing in each.crossing.passings:
            key = (passing.stream_id, passing.stream_epoch, passing.tag_id)
            of_chip.setdefault(key, []).append((passing.first_read_at, passing.last_read_at, number))

    def crossing_of(read: ReadAt, chip_id: str) -> int | None:
        within = of_chip.get((read.stream_id, read.stream_epoch, chip_id), [])
        return next((number for first, last, number in within if first <= read.read_at <= last), None)

    return crossing_of

"""What a crossing is, made of passings. Pure: no database, no clock.

- A passing is what a chip left at one stream in one epoch without a gap of a second or more, by reader time (the table
  `passings`). A crossing is the passings of one person at one point that are less than the gap apart: of all streams of
  the point and all chips of the person. So are its reads, because no gap is smaller than a passing's.
- Reads go in the order of reader time, and those of one time by stream, epoch and number: an order that is the same
  for everybody, and no other than that of the views of reads.
- One read counts. At the start of a course people wait on the mat: there it is the last before they leave, elsewhere
  the first. A course of one point has no start, and nor has a stream that stands at none.
- The runner-up is the read that would count if the one that does were not. Passings do not tell it, events do.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, TypeAlias
from uuid import UUID

__all__ = [
    "DEFAULT_GAP_S",
    "KEPT",
    "LARGEST_GAP_S",
    "SMALLEST_GAP_S",
    "Crossing",
    "Merging",
    "Passing",
    "Point",
    "ReadAt",
    "Rule",
    "by_point",
    "counting_first",
    "crossings",
    "rule_at",
]

# Passings know of no gap below a second.
SMALLEST_GAP_S, DEFAULT_GAP_S, LARGEST_GAP_S = 1, 5, 60

# Of one crossing, which may last as long as a chip lies on a mat.
KEPT = 100

Rule: TypeAlias = Literal["first", "last"]


class Passing(NamedTuple):
    """A row of the table, its columns in their order."""

    stream_id: UUID
    stream_epoch: int
    tag_id: str
    first_read_at: datetime
    first_seq: int
    last_read_at: datetime
    last_seq: int
    low_seq: int
    high_seq: int
    reads: int
    position: int

    @property
    def first(self) -> "ReadAt":
        """The earliest of its reads."""
        return ReadAt(self.first_read_at, self.stream_id, self.stream_epoch, self.first_seq)

    @property
    def last(self) -> "ReadAt":
        """The latest of its reads."""
        return ReadAt(self.last_read_at, self.stream_id, self.stream_epoch, self.last_seq)


class ReadAt(NamedTuple):
    """A read by its key, and when it was by its reader's clock. Sorted, they are in the order in which reads go."""

    read_at: datetime
    stream_id: UUID
    stream_epoch: int
    seq: int


class Point(NamedTuple):
    """A point of a race: what it is known by, and which read counts there."""

    at: str
    rule: Rule


class Crossing(NamedTuple):
    """Somebody at a point, once: of how many reads, by which chips, and the passings, of very many the KEPT that are
    nearest to the read that counts. begun: the first read of the passing that began last.
    """

    rule: Rule
    passings: Sequence[Passing]
    first: ReadAt
    last: ReadAt
    reads: int
    tags: frozenset[str]
    begun: ReadAt

    @property
    def counting(self) -> ReadAt:
        """The read that counts: its time is the time of the crossing."""
        return self.first if self.rule == "first" else self.last


def rule_at(place: int | None, *, places: int) -> Rule:
    """Return which read counts at a place of a course that has so many; None: at a stream without one."""
    return "last" if place == 1 and places > 1 else "first"


def crossings(passings: Iterable[Passing], *, gap: timedelta, rule: Rule) -> Iterator[Crossing]:
    """Return the crossings of one person at one point, in the order of time. Those exactly the gap apart are two."""
    merging = Merging(gap=gap, rule=rule)
    for each in sorted(passings, key=lambda passing: passing.first):
        yield from merging.take(each)
    yield from merging.end()


class Merging:
    """Makes crossings of passings that come in the order of their first reads, and keeps no more than KEPT, twice."""

    def __init__(self, *, gap: timedelta, rule: Rule) -> None:
        self._gap = gap
        self._rule: Rule = rule
        self._now: Crossing | None = None
        self._kept: list[Passing] = []

    def take(self, passing: Passing) -> Iterator[Crossing]:
        """Take the next one, and yield the crossing that is over by it."""
        # A passing may lie wholly within another one's time: the latest read of all so far says when somebody left.
        if self._now is not None and passing.first_read_at - self._now.last.read_at >= self._gap:
            yield from self.end()
        self._kept.append(passing)
        if len(self._kept) > 2 * KEPT:
            self._kept = self._nearest()
        now, tags = self._now, frozenset((passing.tag_id,))
        self._now = (
            Crossing(self._rule, (), passing.first, passing.last, passing.reads, tags, passing.first)
            if now is None
            else now._replace(
                last=max(now.last, passing.last),
                reads=now.reads + passing.reads,
                tags=now.tags | tags,
                begun=passing.first,
            )
        )

    def end(self) -> Iterator[Crossing]:
        """Yield the last one: nobody comes any more."""
        if self._now is not None:
            yield self._now._replace(passings=self._nearest())
        self._now, self._kept = None, []

    def _nearest(self) -> list[Passing]:
        if self._rule == "first" or len(self._kept) <= KEPT:
            return self._kept[:KEPT]
        return sorted(sorted(self._kept, key=lambda each: each.last)[-KEPT:], key=lambda each: each.first)


def by_point(
    passings: Iterable[Passing], points: Mapping[UUID, Point], *, gap: timedelta
) -> list[tuple[Point, Crossing]]:
    """Return all crossings of one person, in the order of their times. A stream of no point is one by itself."""
    at: dict[Point, list[Passing]] = {}
    for each in passings:
        at.setdefault(points.get(each.stream_id, Point(str(each.stream_id), "first")), []).append(each)
    found = [
        (point, crossing)
        for point, those in at.items()
        for crossing in crossings(those, gap=gap, rule=point.rule)
    ]
    return sorted(found, key=lambda pair: pair[1].counting)


def counting_first(reads: Iterable[ReadAt], rule: Rule) -> list[ReadAt]:
    """Return reads of a crossing in the order in which they would count: the one that does, the runner-up, the rest."""
    return sorted(reads, reverse=rule == "last")

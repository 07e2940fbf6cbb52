"""Crossings of a race, as they are asked for and shown."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from api.crossings.crossing import DEFAULT_GAP_S, LARGEST_GAP_S, SMALLEST_GAP_S, Rule
from api.http.types import Answer, CrossingCursor, Request, Tag, WallClock
from api.races.types import Bib

__all__ = [
    "MOST_CHIPS",
    "MOST_SHOWN",
    "READS_SHOWN",
    "Crossing",
    "CrossingFilter",
    "CrossingPage",
    "CrossingQuery",
    "CrossingRead",
    "CrossingsFollowed",
    "CrossingsTold",
    "Gap",
]

Gap = Annotated[int, Meta(ge=SMALLEST_GAP_S, le=LARGEST_GAP_S)]
# What explains a row: so many of its reads, and at a time so many of the newest of one person at one point.
READS_SHOWN = 20
MOST_SHOWN = 20
MOST_CHIPS = 20


class CrossingsFollowed(Request):
    """gap: reads of a person at a point that are so many seconds apart, by reader time, are two crossings; from 1 to
    60.
    """

    gap: Gap = DEFAULT_GAP_S


class CrossingFilter(CrossingsFollowed):
    """Which crossings: of one point (its place in the course, from 1 on, or the id of a stream that stands at none), of
    one bib, of one chip (in either case). gap: reads of a person at a point that are so many seconds apart, by reader
    time, are two crossings; from 1 to 60.
    """

    point: Tag | None = None
    bib: Bib | None = None
    chip: Tag | None = None

    @property
    def at(self) -> str | None:
        """The point by what it is known by."""
        return None if self.point is None else self.point.strip().lower()

    @property
    def tag_id(self) -> str | None:
        """The chip as reads have it."""
        return None if self.chip is None else self.chip.strip().lower()


class CrossingQuery(CrossingFilter):
    """A page of crossings, the newest first by reader time; of one point, of one bib, of one chip, if asked."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 100
    cursor: CrossingCursor | None = None


class CrossingRead(Answer):
    """A read, by its key: what it says stands in the stream's reads."""

    stream_id: UUID
    stream_epoch: int
    seq: int
    read_at: WallClock


class Crossing(Answer):
    """Somebody at a point, once. point: what `point` asks for; place: its place in the course, null of a stream that
    stands at none. bib: null for a chip that is nobody's; chips: by which it was read, 20 at the most. crossed_at: when
    the read was that counts (counted), by its reader's clock; rule: which of the read_count reads that is, in words in
    `why`.
    reads: those behind it in the order in which they would count, so the first is the one that does, and the second is
    the runner-up, which would count if that one were not; 20 at the most, and more_reads is how many besides. Pages
    have these; in what is followed reads is empty and runner_up null: ask for a page of the bib or chip.
    """

    point: str
    place: int | None
    point_name: str
    bib: int | None
    first_name: str | None
    last_name: str | None
    chips: list[str]
    crossed_at: WallClock
    rule: Rule
    why: str
    read_count: int
    counted: CrossingRead
    first_read: CrossingRead
    last_read: CrossingRead
    runner_up: CrossingRead | None
    reads: list[CrossingRead]
    more_reads: int


class CrossingPage(Answer):
    """A page of crossings; next_cursor is null on the last one, and it alone says so: a page may hold fewer than were
    asked for. gap: in seconds. waiting_events: so many stored events of the race's streams are not in crossings yet.
    """

    gap: int
    crossings: list[Crossing]
    next_cursor: str | None
    waiting_events: int


class CrossingsTold(Answer):
    """All crossings of a person (a bib, or a chip that is nobody's) at a point, in place of what was known of that
    person there: the newest first, 20 at the most; more: how many besides.
    """

    type: Literal["crossings"]
    point: str
    bib: int | None
    chip: str | None
    crossings: list[Crossing]
    more: int

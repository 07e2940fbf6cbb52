"""Pages of reads and conflicts, and the filters of pages and exports."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import Meta

from api.http.types import (
    Answer,
    ConflictCursor,
    Flag,
    Limit,
    Number,
    PositionCursor,
    ReadCursor,
    Request,
    Streams,
    Tag,
    Tags,
    Time,
    WallClock,
)

__all__ = [
    "Acknowledged",
    "Conflict",
    "ConflictPage",
    "ConflictPath",
    "ConflictQuery",
    "Dedup",
    "EpochFilter",
    "EventFilter",
    "LatestQuery",
    "LatestReads",
    "Read",
    "ReadPage",
    "ReadQuery",
    "ViewQuery",
]


Dedup = Literal["none", "first", "last"]
WindowSecs = Annotated[int, Meta(ge=0, le=86_400)]
# Beyond it no page is of use to anybody; what lies before a page is walked through.
Offset = Annotated[int, Meta(ge=0, le=10_000_000)]


class EpochFilter(Request):
    """Which events of an epoch: of one chip (in either case), received since and until, both included."""

    tag_id: Tag | None = None
    since: Time | None = None
    until: Time | None = None


class EventFilter(EpochFilter):
    """Which events: of one epoch, of one chip (in either case), received since and until, both included."""

    epoch: Number | None = None


class ViewQuery(EventFilter):
    """A view of reads, by arrival: the newest first, unless asked otherwise. Of the current epoch, unless another is
    named. dedup: of what a chip says within `window_secs` by reader time, all, the first or the last; offset: how many
    reads of the view come before the page; corrected: with `corrected_at` of each.
    """

    dedup: Dedup | None = None
    window_secs: WindowSecs = 5
    order: Literal["asc", "desc"] = "desc"
    limit: Limit = 100
    offset: Offset | None = None
    corrected: Flag = "false"


class ReadQuery(ViewQuery):
    """A page of reads, by (epoch, seq): the newest first, unless asked otherwise. It also ends at 1 MiB of lines. With
    `dedup` or `offset` a page of a view instead.
    """

    cursor: ReadCursor | None = None

    @property
    def is_view(self) -> bool:
        """Whether a view is asked for."""
        return self.dedup is not None or self.offset is not None


class Read(Answer):
    """A stored event, and of which race and whose it is, where that is known: bib_ambiguous where the chip has other
    bibs too. visit: of a known bib, whether it is the first read at its point of the race, or comes again;
    point_before: where it was last seen before that, and since_point_before_ms: how long ago that crossing was.
    corrected_at: when it was really made, by the server's clock, if that was asked for and is known.
    """

    stream_id: UUID
    stream_epoch: int
    seq: int
    reader_timestamp: str
    raw_read_line: str
    read_type: str
    tag_id: str | None
    read_at: WallClock | None
    received_at: Time
    parse_error: str | None
    race_id: UUID | None = None
    bib: int | None = None
    bib_ambiguous: bool = False
    first_name: str | None = None
    last_name: str | None = None
    visit: Literal["first", "again"] | None = None
    point_before: str | None = None
    since_point_before_ms: int | None = None
    corrected_at: Time | None = None


class ReadPage(Answer):
    """A page of reads; next_cursor is null on the last one, and it alone says so. total: how many the view has, null
    where that would have to be counted. limit: how many were asked for; offset: how many came before.
    """

    reads: list[Read]
    next_cursor: str | None
    total: int | None
    limit: int
    offset: int


class LatestQuery(Request):
    """The newest reads; of one stream or of up to 50 (`stream_ids`, with commas between them), of one chip or of up to
    200 with commas between them (in either case), among some 20,000 of the newest of those streams, or of all.
    after: the cursor of an earlier answer of the same stream: only what was stored since. corrected: with
    `corrected_at` of each.
    """

    limit: Annotated[int, Meta(ge=1, le=200)] = 50
    stream_id: UUID | None = None
    stream_ids: Streams | None = None
    tag_id: Tags | None = None
    after: PositionCursor | None = None
    corrected: Flag = "false"


class LatestReads(Answer):
    """The newest reads over all streams, the newest first; no more once their lines make 1 MiB. cut: that is why there
    are fewer than were asked for, though older ones would follow. cursor: of one stream, what to ask for what comes
    after them; null for all.
    """

    reads: list[Read]
    cut: bool
    cursor: str | None


class ConflictPath(Request):
    """A conflict."""

    conflict_id: Number


class Acknowledged(Answer):
    """How many conflicts were acknowledged now."""

    acknowledged: int


class ConflictQuery(Request):
    """A page of conflicts, the newest first; of one stream, or of all. It also ends at 1 MiB of lines."""

    stream_id: UUID | None = None
    limit: Limit = 100
    cursor: ConflictCursor | None = None


class Conflict(Answer):
    """A line that came under an identity which another line has: that one was kept, this one set aside.

    kept_line is null when that read was deleted since.
    """

    conflict_id: int
    stream_id: UUID
    stream_epoch: int
    seq: int
    kept_line: str | None
    rejected_line: str
    received_at: Time
    session_id: UUID
    acknowledged_at: Time | None


class ConflictPage(Answer):
    """A page of conflicts; next_cursor is null on the last one, and it alone says so."""

    conflicts: list[Conflict]
    next_cursor: str | None

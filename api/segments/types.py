"""What is said of segments, and what is asked of them."""

from typing import Annotated, Literal
from uuid import UUID

from msgspec import UNSET, Meta, UnsetType

from api.http.types import Answer, Number, Request, Time, WallClock

__all__ = [
    "MOST_SEGMENTS",
    "Axis",
    "AxisQuery",
    "Bin",
    "Bound",
    "Change",
    "ChangePath",
    "Changed",
    "MovedReads",
    "NewSegment",
    "NewSegments",
    "Range",
    "ReadThere",
    "Rule",
    "Segment",
    "SegmentedStream",
    "Segments",
    "SegmentsQuery",
    "ShownBound",
    "Undo",
]

Rule = Literal["segment", "epoch", "forwarder"]
Fingerprint = Annotated[str, Meta(min_length=16, max_length=16, pattern=r"^[0-9a-f]{16}$")]
MOST_SEGMENTS = 100


class ChangePath(Request):
    """What was done to the segments of a race."""

    race_id: UUID
    change_id: Number


class ReadThere(Answer):
    """A read of the stream; at: by its reader's clock, null where the line says none."""

    epoch: int
    seq: int
    at: WallClock | None
    tag_id: str | None


class ShownBound(Answer):
    """Where a segment begins, or ends. read: the first read of the stream from there on, null where none has come."""

    epoch: int
    seq: int
    read: ReadThere | None


class Segment(Answer):
    """What of a stream's reads is of the race: those from `begins` on, up to and without `ends` (null: all that come).
    rule: `segment`, where somebody has said so; `epoch`, what is left of an epoch that was given to the race;
    `forwarder`, of one that is the race's because the forwarder is.
    """

    begins: ShownBound
    ends: ShownBound | None
    rule: Rule


class Range(Answer):
    """Reads of one epoch, from_seq up to and without to_seq (null: to its end), and whose they are: of no race where
    race_id is null. first_at, last_at: of the first and the last of these reads that say a time, by the reader.
    """

    epoch: int
    from_seq: int
    to_seq: int | None
    race_id: UUID | None
    race: str | None
    rule: Rule
    reads: int
    first_at: WallClock | None
    last_at: WallClock | None


class SegmentedStream(Answer):
    """A stream of a race. segments: what of it is the race's. ranges: its newest 50 epochs, and whose each of their
    reads is. fingerprint: what to expect where something of it is changed.
    """

    stream_id: UUID
    forwarder_id: str
    title: str
    stream_epoch: int
    fingerprint: str
    segments: list[Segment]
    ranges: list[Range]


class Change(Answer):
    """What was done to the segments of a race in a stream: those that it had before, and those that it had afterwards.
    undoes: the change that it took back. undoable: they are still as it has left them.
    """

    change_id: int
    stream_id: UUID
    stream: str
    before: list[list[int | None]]
    after: list[list[int | None]]
    changed_at: Time
    changed_by: str
    undoes: int | None
    undoable: bool


class Segments(Answer):
    """The streams of a race with their segments, 100 of them in the order of creation, and the newest 100 changes, the
    last first. next_cursor: null where there are no more streams.
    """

    race_id: UUID
    streams: list[SegmentedStream]
    next_cursor: UUID | None
    changes: list[Change]


class SegmentsQuery(Request):
    """cursor: the next_cursor of an earlier answer; what follows it."""

    cursor: UUID | None = None


class Bound(Request):
    """Where a segment begins or ends: a read by `epoch` and `seq`, or the first read, in the order of numbers, whose
    reader said `at` or later; of the whole stream, or of one epoch.
    """

    epoch: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    seq: Number | None = None
    at: WallClock | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.at is None) == (self.seq is None) or (self.seq is not None and self.epoch is None):
            raise ValueError("a boundary is `epoch` and `seq`, or a time `at` by the reader's clock")


class NewSegment(Request):
    """Reads from `begins` on, up to and without `ends`; null: open, all that come are the race's."""

    begins: Bound
    ends: Bound | None


class NewSegments(Request):
    """All that is to be said of the race in the stream; nothing: its epochs are whole again. preview: say what would
    become of it, and change nothing. expected_fingerprint: the stream's, as whoever asks has seen it; only a preview
    goes without.
    """

    segments: Annotated[list[NewSegment], Meta(max_length=MOST_SEGMENTS)]
    preview: bool = False
    expected_fingerprint: Fingerprint | UnsetType = UNSET


class Undo(Request):
    """preview: say what would become of it, and change nothing."""

    preview: bool = False


class MovedReads(Answer):
    """Reads that change sides: whose they were, and whose they are; null: nobody's."""

    reads: int
    was_race_id: UUID | None
    was_race: str | None
    becomes_race_id: UUID | None
    becomes_race: str | None
    first: ReadThere | None
    last: ReadThere | None


class Changed(Answer):
    """What has become of the segments of a race in a stream, or would. The stream's fingerprint is what to expect with
    the next change, and after a preview with this one. before: what was said until then: the same again undoes this.
    change_id: by which it is undone; null: nothing was changed.
    """

    applied: bool
    change_id: int | None
    stream: SegmentedStream
    before: list[list[int | None]]
    moved: list[MovedReads]


class AxisQuery(Request):
    """since, until: by the reader's clock, 31 days apart at the most. Left out: half an hour before the first read of
    the race until five minutes behind its last, of that the last 36 hours; without a read the stream's last two hours.
    """

    since: WallClock | None = None
    until: WallClock | None = None


class Bin(Answer):
    """Reads of an epoch, by the bin in which their chips came."""

    epoch: int
    number: int
    reads: int


class Axis(Answer):
    """When the reads of a stream came, by its reader's clock; since, until: null where none has. bins: those that have
    reads, by epoch and number, each bin_s long, from `since` on: at most 600 of an epoch, and 6,000 in all.
    """

    stream_id: UUID
    since: WallClock | None
    until: WallClock | None
    bin_s: int
    bins: list[Bin]

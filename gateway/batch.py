"""What becomes of a batch: parts to be staged, and the ack that is owed once all of them are stored.

Pure: no socket, no database, no clock.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from secrets import randbits
from uuid import UUID

from shared.errors import ProtocolError
from shared.protocol.ipico import annotate, annotate_frame
from shared.protocol.v1 import HIGHEST_EPOCH, AckEntry, ReadEvent

__all__ = ["SPLIT_AT_ONCE", "Batch", "Part", "split", "split_in_turns"]

# What is written to the database in one go, by us and by a writer's drain; real batches have one part a reader.
PART_EVENTS = 2_000
PART_BYTES = 1024 * 1024
# They take some 3 ms: others have their turn in between.
SPLIT_AT_ONCE = 500
# Readers and epochs of a batch, which a device makes up: each costs several times what its reads do.
MAX_GROUPS = 2_000

# How read types begin that servers in the field use among themselves. What a device sends under one is no read of a
# chip, whatever its line says.
INTERNAL_TYPE = "__"

_NOWHERE = UUID(int=0)


@dataclass(slots=True, eq=False)
class Part:
    """What a batch holds of one reader and epoch in one form, or some of it: columns of equal length, in the order of
    the batch.

    framed: whether its lines came as bytes. part_id is 0 until it is staged for the first time; it stays the same when
    it is staged again. receipt: a number that nobody can guess; who knows it has learned that the part was committed
    (migrations/routines/drain.sql). stream_id: of nothing until the batch knows its streams. size: bytes of its lines.
    """

    batch: "Batch"
    reader_ip: str
    stream_epoch: int
    framed: bool = False
    stream_id: UUID = _NOWHERE
    part_id: int = 0
    receipt: int = field(default_factory=partial(randbits, 63))
    size: int = 0
    seqs: list[int] = field(default_factory=list)
    raw_frames: list[bytes] = field(default_factory=list)
    reader_timestamps: list[str] = field(default_factory=list)
    read_types: list[str] = field(default_factory=list)
    tag_ids: list[str | None] = field(default_factory=list)
    read_ats: list[datetime | None] = field(default_factory=list)
    parse_errors: list[str | None] = field(default_factory=list)

    def extend(self, events: Sequence[ReadEvent]) -> None:
        """Add events, annotated with what their lines say."""
        said: list[tuple[str | None, datetime | None, str | None]]
        if self.framed:
            raw_frames = [bytes(event.raw_frame or ()) for event in events]
            said = [*map(annotate_frame, raw_frames)]
        else:
            lines = [event.raw_read_line or "" for event in events]
            raw_frames = [line.encode() for line in lines]
            said = [*map(annotate, lines)]
        read_types = [event.read_type for event in events]
        if any(kind.startswith(INTERNAL_TYPE) for kind in set(read_types)):
            said = [
                (None, None, "type") if kind.startswith(INTERNAL_TYPE) else each
                for kind, each in zip(read_types, said, strict=True)
            ]
        tag_ids, read_ats, parse_errors = zip(*said, strict=True)
        self.size += sum(map(len, raw_frames))
        self.seqs += [event.seq for event in events]
        self.raw_frames += raw_frames
        self.reader_timestamps += [event.reader_timestamp for event in events]
        self.read_types += read_types
        self.tag_ids += tag_ids
        self.read_ats += read_ats
        self.parse_errors += parse_errors

    @property
    def full(self) -> bool:
        """Whether what comes next belongs into another part."""
        return len(self.seqs) >= PART_EVENTS or self.size >= PART_BYTES


@dataclass(slots=True, eq=False)
class Batch:
    """One message of a forwarder, until it is acked.

    streams: the session's stream ids by reader_ip. size: bytes as received. on_settled: called once when it is settled:
    every part is stored, of which `conflicts` has the readers that had some, and in which epoch, or `refusal` is what
    the device is owed instead of an ack. parts: in the order of their first events; of one reader and epoch there are
    several when it has much. groups: by reader, epoch and form, the part that takes what comes next. left_out: the
    lowest epoch of each reader of which nothing is stored, so that nothing from there on may be acked either: the
    device sends it again.
    """

    forwarder_id: str
    session_id: UUID
    fence: int
    display_name: str | None
    streams: dict[str, UUID]
    batch_id: str | None
    received_at: datetime
    size: int
    on_settled: Callable[[], None]
    parts: list[Part] = field(default_factory=list)
    groups: dict[tuple[str, int, bool], Part] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    open_parts: int = 0
    conflicts: dict[str, int] = field(default_factory=dict)
    refusal: ProtocolError | None = None
    settled: bool = False

    def settle(self, refusal: ProtocolError | None = None) -> None:
        """Note that all parts are stored, or that there is a refusal; what comes later changes nothing."""
        if not self.settled:
            self.settled, self.refusal = True, refusal
            self.on_settled()

    @property
    def event_count(self) -> int:
        """How many events it holds, retransmits included."""
        return sum(len(part.seqs) for part in self.parts)

    def ack(self) -> list[AckEntry]:
        """Return the entries of the ack, one for each reader: its lowest epoch only.

        A forwarder keeps one cursor per reader and moves it only forward: to ack the higher epoch would
        abandon what is unacked of the lower. The rest comes again as retransmits (protocol.md, section 4.3).
        """
        last: dict[str, tuple[int, int]] = {}
        for part in self.parts:
            here = (-part.stream_epoch, max(part.seqs))
            last[part.reader_ip] = max(here, last.get(part.reader_ip, here))
        return [
            AckEntry(self.forwarder_id, reader_ip, -lowest, last_seq)
            for reader_ip, (lowest, last_seq) in last.items()
            if -lowest < self.left_out.get(reader_ip, HIGHEST_EPOCH + 1)
        ]

    def place(self) -> None:
        """Tell the parts their streams, and leave out those that have none; no event is added any more."""
        self.groups.clear()
        for part in self.parts:
            part.stream_id = self.streams.get(part.reader_ip, _NOWHERE)
            if part.stream_id == _NOWHERE:
                self.left_out[part.reader_ip] = 0
        self.parts = [part for part in self.parts if part.stream_id != _NOWHERE]

    def leave_out(self, epochs: Collection[tuple[str, int]]) -> None:
        """Leave out what is of these epochs of readers."""
        for reader_ip, stream_epoch in epochs:
            self._note_left_out(reader_ip, stream_epoch)
        self.parts = [part for part in self.parts if (part.reader_ip, part.stream_epoch) not in epochs]

    def _note_left_out(self, reader_ip: str, stream_epoch: int) -> None:
        self.left_out[reader_ip] = min(stream_epoch, self.left_out.get(reader_ip, stream_epoch))

    def part_for(self, reader_ip: str, stream_epoch: int, framed: bool) -> Part | None:
        """Return the part that takes the next events of a reader and epoch in a form; None when they are left out."""
        part = self.groups.get((reader_ip, stream_epoch, framed))
        if part is None and len(self.groups) >= MAX_GROUPS:
            self._note_left_out(reader_ip, stream_epoch)
            return None
        if part is None or part.full:
            stream_id = self.streams.get(reader_ip, _NOWHERE)
            part = Part(self, reader_ip, stream_epoch, framed, stream_id)
            self.groups[reader_ip, stream_epoch, framed] = part
            self.parts.append(part)
        return part


def split(batch: Batch, events: Iterable[ReadEvent]) -> None:
    """Add events to the batch's parts, in their order; may be called again with more."""
    groups: dict[tuple[str, int, bool], list[ReadEvent]] = {}
    for event in events:
        groups.setdefault((event.reader_ip, event.stream_epoch, event.raw_frame is not None), []).append(
            event
        )
    for key, group in groups.items():
        for portion in _portions(group, batch.size):
            if part := batch.part_for(*key):
                part.extend(portion)


def split_in_turns(batch: Batch, pieces: Iterable[list[ReadEvent]]) -> Iterator[None]:
    """Add the events of a large message, and yield whenever others should have their turn."""
    for events in pieces:
        # Once a piece, too: acks and pings of all others wait while one is made.
        yield
        for start in range(0, len(events), SPLIT_AT_ONCE):
            split(batch, events[start : start + SPLIT_AT_ONCE])
            yield


def _portions(events: list[ReadEvent], size: int) -> Iterator[list[ReadEvent]]:
    """Share events out so that none of what comes out is larger than a part by itself, unless it is one line. size:
    bytes of their message, whose lines are not longer together: of nearly all that is enough to know.
    """
    small = PART_BYTES // 4
    if size <= small or sum(len(event.raw_read_line or event.raw_frame or ()) for event in events) <= small:
        yield events
    else:
        for event in events:
            yield [event]

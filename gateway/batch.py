"""What becomes of a batch: parts to be staged, and the ack that is owed once all of them are stored.

Pure: no socket, no database, no clock.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.ipico import annotate
from shared.messages import AckEntry, ReadEvent

__all__ = ["Batch", "Part", "split"]


@dataclass(slots=True, eq=False)
class Part:
    """What a batch holds of one reader and epoch: columns of equal length, in the order of the batch.

    part_id is 0 until it is staged for the first time; it stays the same when it is staged again.
    """

    batch: "Batch"
    reader_ip: str
    stream_epoch: int
    stream_id: UUID
    part_id: int = 0
    seqs: list[int] = field(default_factory=list)
    raw_frames: list[bytes] = field(default_factory=list)
    reader_timestamps: list[str] = field(default_factory=list)
    read_types: list[str] = field(default_factory=list)
    tag_ids: list[str | None] = field(default_factory=list)
    read_ats: list[datetime | None] = field(default_factory=list)
    parse_errors: list[str | None] = field(default_factory=list)

    def append(self, event: ReadEvent) -> None:
        """Add an event, annotated with what its line says."""
        tag_id, read_at, parse_error = annotate(event.raw_read_line)
        self.seqs.append(event.seq)
        self.raw_frames.append(event.raw_read_line.encode())
        self.reader_timestamps.append(event.reader_timestamp)
        self.read_types.append(event.read_type)
        self.tag_ids.append(tag_id)
        self.read_ats.append(read_at)
        self.parse_errors.append(parse_error)


@dataclass(slots=True, eq=False)
class Batch:
    """One message of a forwarder, until it is acked.

    streams: the session's stream ids by reader_ip. size: bytes as received. outcome ends when every part is
    stored, with the readers that had conflicts; or with the ProtocolError that the session is owed instead of
    an ack. parts: by reader and epoch, in the order in which these first appear.
    """

    forwarder_id: str
    session_id: UUID
    fence: int
    display_name: str | None
    streams: dict[str, UUID]
    batch_id: str | None
    received_at: datetime
    size: int
    outcome: asyncio.Future[set[str]]
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    open_parts: int = 0
    conflicts: set[str] = field(default_factory=set)

    @property
    def event_count(self) -> int:
        """How many events it holds, retransmits included."""
        return sum(len(part.seqs) for part in self.parts.values())

    def ack(self) -> list[AckEntry]:
        """Return the entries of the ack, one for each reader: its lowest epoch only.

        A forwarder keeps one cursor per reader and moves it only forward: to ack the higher epoch would
        abandon what is unacked of the lower. The rest comes again as retransmits (protocol.md, section 4).
        """
        lowest: dict[str, Part] = {}
        for part in self.parts.values():
            known = lowest.get(part.reader_ip)
            if known is None or part.stream_epoch < known.stream_epoch:
                lowest[part.reader_ip] = part
        return [
            AckEntry(self.forwarder_id, part.reader_ip, part.stream_epoch, max(part.seqs))
            for part in lowest.values()
        ]


def split(batch: Batch, events: Iterable[ReadEvent]) -> None:
    """Add events to the batch's parts, in their order; may be called again with more.

    The batch must know the stream of every reader named.
    """
    for event in events:
        key = (event.reader_ip, event.stream_epoch)
        part = batch.parts.get(key)
        if part is None:
            part = batch.parts[key] = Part(batch, *key, batch.streams[event.reader_ip])
        part.append(event)

"""What becomes of a batch: parts to be staged, and the ack that is owed once all of them are stored.

Pure: no socket, no database, no clock.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from shared.errors import ProtocolError
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

    def extend(self, events: Sequence[ReadEvent]) -> None:
        """Add events, annotated with what their lines say."""
        tag_ids, read_ats, parse_errors = zip(
            *[annotate(event.raw_read_line) for event in events], strict=True
        )
        self.seqs += [event.seq for event in events]
        self.raw_frames += [event.raw_read_line.encode() for event in events]
        self.reader_timestamps += [event.reader_timestamp for event in events]
        self.read_types += [event.read_type for event in events]
        self.tag_ids += tag_ids
        self.read_ats += read_ats
        self.parse_errors += parse_errors


@dataclass(slots=True, eq=False)
class Batch:
    """One message of a forwarder, until it is acked.

    streams: the session's stream ids by reader_ip. size: bytes as received. on_settled: called once when it is settled:
    every part is stored, of which `conflicts` names the readers that had some, or `refusal` is what the device is owed
    instead of an ack. parts: by reader and epoch, in the order in which these first appear.
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
    parts: dict[tuple[str, int], Part] = field(default_factory=dict)
    open_parts: int = 0
    conflicts: set[str] = field(default_factory=set)
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
    groups: dict[tuple[str, int], list[ReadEvent]] = {}
    for event in events:
        groups.setdefault((event.reader_ip, event.stream_epoch), []).append(event)
    for key, group in groups.items():
        part = batch.parts.get(key)
        if part is None:
            part = batch.parts[key] = Part(batch, *key, batch.streams[key[0]])
        part.extend(group)

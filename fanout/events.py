"""Events as they go out: encoded once for the node, joined once for all receivers at the same place.

Pure: no socket, no database.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from fanout.store.events import EventRow
from shared.protocol.lines import shown_line
from shared.protocol.v1 import StreamRef

__all__ = [
    "BATCH_SUFFIX",
    "MESSAGE_BYTES",
    "Event",
    "Sent",
    "Slice",
    "batch_prefix",
    "encode",
    "fitting",
    "slice_of",
]

BATCH_SUFFIX = b"]}"
# A message takes no more events once it is so long; receivers in the field refuse a frame of 16 MiB.
MESSAGE_BYTES = 1024 * 1024


class Event(NamedTuple):
    """An event with its JSON; received_at names the batch that it came in (shared/trace.py)."""

    position: int
    stream_epoch: int
    seq: int
    received_at: datetime
    json: bytes


class Sent(NamedTuple):
    """What a message holds of one epoch: the ack that covers it, and how many events that is."""

    stream_epoch: int
    last_seq: int
    event_count: int


class Slice(NamedTuple):
    """Consecutive events of one stream, ready to be put into a message."""

    json: bytes
    event_count: int
    sent: tuple[Sent, ...]
    batches: tuple[datetime, ...]  # when the batches were received that the events came in


def encode(ref: StreamRef, rows: Iterable[EventRow]) -> list[Event]:
    """Return rows of one stream as events for receivers of the first generation. A text comes out again unchanged, a
    frame as the text of its line.
    """
    return [Event(row.position, row.stream_epoch, row.seq, row.received_at, _json(ref, row)) for row in rows]


def _json(ref: StreamRef, row: EventRow) -> bytes:
    json = orjson.dumps(
        {
            "forwarder_id": ref.forwarder_id,
            "reader_ip": ref.reader_ip,
            "stream_epoch": row.stream_epoch,
            "seq": row.seq,
            "reader_timestamp": row.reader_timestamp,
            # A frame may hold any bytes; they must not end the delivery of everything after them.
            "raw_read_line": shown_line(row.raw_frame, framed=row.framed).decode(errors="replace"),
            "read_type": row.read_type,
        }
    )
    # A copy, because orjson's own result keeps the 4 kB of its buffer for 250 bytes of text.
    return bytes(memoryview(json))


def fitting(events: Sequence[Event], limit: int) -> int:
    """Return how many of the first events a message takes: up to `limit` and MESSAGE_BYTES, at least one."""
    size = 0
    for count, event in enumerate(events[:limit]):
        size += len(event.json)
        if size > MESSAGE_BYTES:
            return max(count, 1)
    return min(limit, len(events))


def slice_of(events: Sequence[Event]) -> Slice:
    """Join events. Within an epoch the highest seq is what an ack must reach, whatever the order."""
    last: dict[int, int] = {}
    counts: dict[int, int] = {}
    for event in events:
        last[event.stream_epoch] = max(event.seq, last.get(event.stream_epoch, 0))
        counts[event.stream_epoch] = counts.get(event.stream_epoch, 0) + 1
    return Slice(
        b",".join([event.json for event in events]),
        len(events),
        tuple(Sent(epoch, last[epoch], counts[epoch]) for epoch in last),
        tuple(dict.fromkeys([event.received_at for event in events])),
    )


def batch_prefix(session_id: UUID) -> bytes:
    """Return what every receiver_event_batch of a session begins with; events and BATCH_SUFFIX follow."""
    empty = orjson.dumps({"kind": "receiver_event_batch", "session_id": session_id, "events": []})
    return empty.removesuffix(BATCH_SUFFIX)

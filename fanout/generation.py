"""What an event is to each generation of receivers (deploy/docs/protocol.md, sections 3 and 12). Pure.

| stored as | the first gets `raw_read_line` | the second gets `raw_frame` |
|---|---|---|
| text | the text | its bytes and a line end, as a list of numbers |
| a frame | the bytes as text, without their line end | the bytes, as a list of numbers |
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import orjson

from fanout.events import Event
from fanout.store.events import EventRow
from shared.protocol.lines import shown_line
from shared.protocol.v1 import StreamRef

__all__ = ["FIRST", "SECOND", "Generation"]

LINE_END = b"\r\n"
# What servers of the second generation told their receivers by themselves went as reads of such a type. From a device
# it is a read like others, and its receivers would write it to the race software.
RESERVED_TYPE = "__"


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    """A generation of receivers. json: an event as it is sent to them; empty where it is not."""

    name: str
    json: Callable[[StreamRef, EventRow], bytes]

    def encode(self, ref: StreamRef, rows: Iterable[EventRow]) -> list[Event]:
        """Return rows of one stream as events; what the device sent comes out again unchanged."""
        json = self.json
        return [
            Event(row.position, row.stream_epoch, row.seq, row.received_at, json(ref, row)) for row in rows
        ]


def _with_text(ref: StreamRef, row: EventRow) -> bytes:
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


def _with_bytes(ref: StreamRef, row: EventRow) -> bytes:
    if row.read_type.startswith(RESERVED_TYPE):
        return b""
    json = orjson.dumps(
        {
            "forwarder_id": ref.forwarder_id,
            "reader_ip": ref.reader_ip,
            "stream_epoch": row.stream_epoch,
            "seq": row.seq,
            "reader_timestamp": row.reader_timestamp,
            # orjson writes a list of numbers quicker than we could join texts of them: 1.9 us for a whole event.
            "raw_frame": list(row.raw_frame if row.framed else row.raw_frame + LINE_END),
            "read_type": row.read_type,
        }
    )
    return bytes(memoryview(json))


FIRST = Generation("v1", _with_text)
SECOND = Generation("v1.2", _with_bytes)

"""The device protocol's messages, both ways (protocol.md, section 3): what devices send, as shared/protocol/decoding.py
gives it; and what they are sent, as bytes. What they are asked by operators: shared/protocol/commands.py.

No sockets, no database. A field that we ignore is not declared, so that it is skipped and never built.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, Final, Literal
from uuid import UUID

import msgspec
import orjson

from shared.errors import ProtocolError

__all__ = [
    "HIGHEST_EPOCH",
    "HIGHEST_SEQ",
    "LINE_BYTES",
    "LIST_LENGTH",
    "AckEntry",
    "CursorSeq",
    "Epoch",
    "ForwarderEventBatch",
    "ForwarderHello",
    "FromReceiver",
    "Malformed",
    "Message",
    "ReadEvent",
    "ReceiverAck",
    "ReceiverHello",
    "ReceiverSubscribe",
    "ResumeCursor",
    "Seq",
    "StreamRef",
    "Text",
    "UnknownMessage",
    "encode_epoch_reset",
    "encode_error",
    "encode_forwarder_ack",
    "encode_heartbeat",
]

# What every reader of JSON can count to; and an epoch has room for a reset each second of 68 years.
HIGHEST_EPOCH: Final = 2**31 - 1
HIGHEST_SEQ: Final = 2**53 - 1
# A btree entry holds at most about 2,700 bytes, and the pair of both makes a stream's key.
NAME_LENGTH: Final = 255
# What a message may name at the most; a batch has as many events as its bytes allow.
LIST_LENGTH: Final = 10_000
# No real line has 50 characters.
LINE_BYTES: Final = 64 * 1024
# Whoever gets one of these may try again at once; the other codes stay true until something is changed.
_RETRYABLE: Final = frozenset({"SESSION_EXPIRED", "INTERNAL_ERROR"})

Epoch = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_EPOCH)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_SEQ)]
CursorSeq = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_SEQ)]
Text = Annotated[str, msgspec.Meta(max_length=NAME_LENGTH)]


class Malformed(ProtocolError):
    """A message that is wrong in itself: its device will send the same again.

    fault: "long_line" where one line is longer than LINE_BYTES, else "malformed".
    """

    def __init__(self, message: str, *, fault: Literal["malformed", "long_line"] = "malformed") -> None:
        super().__init__(message)
        self.fault: Literal["malformed", "long_line"] = fault


class Message(msgspec.Struct, tag_field="kind"):
    """A message of a device, known by its kind."""


class ReadEvent(msgspec.Struct, gc=False):
    """One read with its identity, in exactly one of two forms; the forwarder_id that devices put beside it is ignored.

    raw_read_line: the text of its line. raw_frame: the bytes as they came from the reader, their line end with them; an
    array of numbers in JSON, bytes once it has been decoded (shared/protocol/decoding.py).
    """

    reader_ip: Text
    stream_epoch: Epoch
    seq: Seq
    reader_timestamp: Text
    read_type: Text
    raw_read_line: str | None = None
    raw_frame: Sequence[int] | None = None


class AckEntry(msgspec.Struct, frozen=True):
    """Everything up to and including last_seq of this epoch is done."""

    forwarder_id: Text
    reader_ip: Text
    stream_epoch: Epoch
    last_seq: CursorSeq


ResumeCursor = AckEntry


class StreamRef(msgspec.Struct, frozen=True):
    """A stream by the name that devices use."""

    forwarder_id: Text
    reader_ip: Text


class ForwarderHello(Message, tag="forwarder_hello"):
    """The first message of a forwarder, or a later one that changes its name or readers."""

    reader_ips: Annotated[list[Text], msgspec.Meta(max_length=LIST_LENGTH)]
    forwarder_id: str = ""
    display_name: Text | None = None


class ForwarderEventBatch(Message, tag="forwarder_event_batch"):
    """Reads that await one ack. batch_id is for logs only."""

    events: list[ReadEvent]
    batch_id: Text | None = None


class ReceiverHello(Message, tag="receiver_hello"):
    """The first message of a receiver."""

    receiver_id: str = ""
    resume: Annotated[list[ResumeCursor], msgspec.Meta(max_length=LIST_LENGTH)] | None = None


class ReceiverSubscribe(Message, tag="receiver_subscribe"):
    """Asks for streams, of which some may not exist yet."""

    streams: Annotated[list[StreamRef], msgspec.Meta(max_length=LIST_LENGTH)]


class ReceiverAck(Message, tag="receiver_ack"):
    """Tells what the receiver is done with."""

    entries: Annotated[list[AckEntry], msgspec.Meta(max_length=LIST_LENGTH)]


class UnknownMessage(msgspec.Struct):
    """A message of a kind that newer devices may send: ignored and counted."""

    kind: str


FromReceiver = ReceiverHello | ReceiverSubscribe | ReceiverAck


def encode_heartbeat(session_id: UUID, device_id: str) -> bytes:
    """Return the message that answers a hello and then says every 30 s that we are there."""
    return orjson.dumps({"kind": "heartbeat", "session_id": session_id, "device_id": device_id})


def encode_error(code: str, message: str) -> bytes:
    """Return an error message; it says itself whether trying again makes sense."""
    return orjson.dumps({"kind": "error", "code": code, "message": message, "retryable": code in _RETRYABLE})


def encode_forwarder_ack(session_id: UUID, entries: Iterable[AckEntry]) -> bytes:
    """Return the ack of one batch."""
    return orjson.dumps(
        {
            "kind": "forwarder_ack",
            "session_id": session_id,
            "entries": [msgspec.structs.asdict(entry) for entry in entries],
        }
    )


def encode_epoch_reset(session_id: UUID, forwarder_id: str, reader_ip: str, epoch: int) -> bytes:
    """Return the command that moves one reader on to `epoch`."""
    return orjson.dumps(
        {
            "kind": "epoch_reset_command",
            "session_id": session_id,
            "forwarder_id": forwarder_id,
            "reader_ip": reader_ip,
            "new_stream_epoch": epoch,
        }
    )

"""The device protocol's messages, both ways (protocol.md, section 3): what devices send, as shared/protocol/decoding.py
gives it; and what they are sent, as bytes.

No sockets, no database. A field that we ignore is not declared, so that it is skipped and never built.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, Literal
from uuid import UUID

import msgspec
import orjson

from shared.errors import ProtocolError

__all__ = [
    "ANSWER_TOO_LARGE",
    "HIGHEST_EPOCH",
    "HIGHEST_SEQ",
    "LINE_BYTES",
    "AckEntry",
    "ConfigGetResponse",
    "ConfigSetResponse",
    "ForwarderEventBatch",
    "ForwarderHello",
    "FromForwarder",
    "FromReceiver",
    "Malformed",
    "ReadEvent",
    "ReceiverAck",
    "ReceiverHello",
    "ReceiverSubscribe",
    "RestartResponse",
    "ResumeCursor",
    "StreamRef",
    "Text",
    "UnknownMessage",
    "encode_config_get",
    "encode_config_set",
    "encode_epoch_reset",
    "encode_error",
    "encode_forwarder_ack",
    "encode_heartbeat",
    "encode_restart",
]

# What every reader of JSON can count to; and an epoch has room for a reset each second of 68 years.
HIGHEST_EPOCH: Final = 2**31 - 1
HIGHEST_SEQ: Final = 2**53 - 1
# A btree entry holds at most about 2,700 bytes, and the pair of both makes a stream's key.
_NAME_LENGTH: Final = 255
# What a message may name at the most; a batch has as many events as its bytes allow.
_LIST_LENGTH: Final = 10_000
# No real line has 50 characters.
LINE_BYTES: Final = 64 * 1024
ANSWER_TOO_LARGE: Final = "the device's answer is larger than 1 MiB"
# Whoever gets one of these may try again at once; the other codes stay true until something is changed.
_RETRYABLE: Final = frozenset({"SESSION_EXPIRED", "INTERNAL_ERROR"})

Epoch = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_EPOCH)]
Seq = Annotated[int, msgspec.Meta(ge=1, le=HIGHEST_SEQ)]
CursorSeq = Annotated[int, msgspec.Meta(ge=0, le=HIGHEST_SEQ)]
Text = Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH)]


class Malformed(ProtocolError):
    """A message that is wrong in itself: its device will send the same again.

    fault: "long_line" where one line is longer than LINE_BYTES, else "malformed".
    """

    def __init__(self, message: str, *, fault: Literal["malformed", "long_line"] = "malformed") -> None:
        super().__init__(message)
        self.fault: Literal["malformed", "long_line"] = fault


class _Message(msgspec.Struct, tag_field="kind"):
    pass


class ReadEvent(msgspec.Struct, gc=False):
    """One read with its identity; the forwarder_id that devices put beside it is ignored."""

    reader_ip: Text
    stream_epoch: Epoch
    seq: Seq
    reader_timestamp: Text
    raw_read_line: str
    read_type: Text


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


class ForwarderHello(_Message, tag="forwarder_hello"):
    """The first message of a forwarder, or a later one that changes its name or readers."""

    reader_ips: Annotated[list[Text], msgspec.Meta(max_length=_LIST_LENGTH)]
    forwarder_id: str = ""
    display_name: Text | None = None


class ForwarderEventBatch(_Message, tag="forwarder_event_batch"):
    """Reads that await one ack. batch_id is for logs only."""

    events: list[ReadEvent]
    batch_id: Text | None = None


class ConfigGetResponse(_Message, tag="config_get_response"):
    """A forwarder's answer to config_get_request."""

    request_id: Text
    ok: bool
    error: str | None = None
    config: msgspec.Raw = msgspec.Raw(b"null")
    restart_needed: bool = False


class ConfigSetResponse(_Message, tag="config_set_response"):
    """A forwarder's answer to config_set_request."""

    request_id: Text
    ok: bool
    error: str | None = None
    restart_needed: bool = False
    status_code: int | None = None


class RestartResponse(_Message, tag="restart_response"):
    """A forwarder's answer to restart_request."""

    request_id: Text
    ok: bool
    error: str | None = None


class ReceiverHello(_Message, tag="receiver_hello"):
    """The first message of a receiver."""

    receiver_id: str = ""
    resume: Annotated[list[ResumeCursor], msgspec.Meta(max_length=_LIST_LENGTH)] | None = None


class ReceiverSubscribe(_Message, tag="receiver_subscribe"):
    """Asks for streams, of which some may not exist yet."""

    streams: Annotated[list[StreamRef], msgspec.Meta(max_length=_LIST_LENGTH)]


class ReceiverAck(_Message, tag="receiver_ack"):
    """Tells what the receiver is done with."""

    entries: Annotated[list[AckEntry], msgspec.Meta(max_length=_LIST_LENGTH)]


class UnknownMessage(msgspec.Struct):
    """A message of a kind that newer devices may send: ignored and counted."""

    kind: str


FromForwarder = ForwarderHello | ForwarderEventBatch | ConfigGetResponse | ConfigSetResponse | RestartResponse
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


def encode_config_get(request_id: UUID) -> bytes:
    """Return the question for a forwarder's configuration."""
    return _request("config_get_request", request_id)


def encode_config_set(request_id: UUID, section: str, payload: Any) -> bytes:
    """Return the request to change a section of a forwarder's configuration; payload is any JSON."""
    return _request("config_set_request", request_id, section=section, payload=payload)


def encode_restart(request_id: UUID) -> bytes:
    """Return the request to restart."""
    return _request("restart_request", request_id)


def _request(kind: str, request_id: UUID, **fields: Any) -> bytes:
    # Unlike orjson, msgspec writes whole numbers of any size.
    return msgspec.json.encode({"kind": kind, "request_id": request_id, **fields})

"""The device protocol's messages, both ways (protocol.md, section 3): bytes in, typed messages out; and back.

No sockets, no database. Decoding validates everything that the database relies on later: identifiers,
timestamps and types hold no NUL and have a bound, numbers fit 1..2^63-1. Whatever is not right raises
ProtocolError, whose text tells the device's maker where; no input raises anything else.
"""

from collections.abc import Iterable
from typing import Annotated, Any, Final, TypeVar, get_args
from uuid import UUID

import msgspec
import orjson

from shared.errors import ProtocolError

__all__ = [
    "AckEntry",
    "ConfigGetResponse",
    "ConfigSetResponse",
    "ForwarderEventBatch",
    "ForwarderHello",
    "ReadEvent",
    "ReceiverAck",
    "ReceiverHello",
    "ReceiverSubscribe",
    "RestartResponse",
    "ResumeCursor",
    "StreamRef",
    "UnknownMessage",
    "decode_forwarder",
    "decode_receiver",
    "encode_config_get",
    "encode_config_set",
    "encode_epoch_reset",
    "encode_error",
    "encode_forwarder_ack",
    "encode_heartbeat",
    "encode_restart",
]

_HIGHEST: Final = 2**63 - 1
# A btree entry holds at most about 2,700 bytes, and the pair of both makes a stream's key.
_NAME_LENGTH: Final = 255
# A complaint may quote the message, which may hold nothing but a kind of 16 MiB.
_COMPLAINT_LENGTH: Final = 200
# What a hello or a batch may name at the most.
_LIST_LENGTH: Final = 10_000

# Whoever gets one of these may try again at once; the other codes stay true until something is changed.
_RETRYABLE: Final = frozenset({"SESSION_EXPIRED", "INTERNAL_ERROR"})

M = TypeVar("M")

Number = Annotated[int, msgspec.Meta(ge=1, le=_HIGHEST)]
CursorNumber = Annotated[int, msgspec.Meta(ge=0, le=_HIGHEST)]
Text = Annotated[str, msgspec.Meta(max_length=_NAME_LENGTH)]


class _Message(msgspec.Struct, tag_field="kind"):
    pass


class ReadEvent(msgspec.Struct, gc=False):
    """One read with its identity. forwarder_id is advisory: the session's identity counts."""

    reader_ip: Text
    stream_epoch: Number
    seq: Number
    reader_timestamp: Text
    raw_read_line: str
    read_type: Text
    forwarder_id: str = ""


class AckEntry(msgspec.Struct, frozen=True):
    """Everything up to and including last_seq of this epoch is done."""

    forwarder_id: Text
    reader_ip: Text
    stream_epoch: Number
    last_seq: CursorNumber


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

    events: Annotated[list[ReadEvent], msgspec.Meta(max_length=_LIST_LENGTH)]
    batch_id: Text | None = None
    session_id: Any = None


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
    session_id: Any = None


class ReceiverAck(_Message, tag="receiver_ack"):
    """Tells what the receiver is done with."""

    entries: Annotated[list[AckEntry], msgspec.Meta(max_length=_LIST_LENGTH)]
    session_id: Any = None


class UnknownMessage(msgspec.Struct):
    """A message of a kind that newer devices may send: ignored and counted."""

    kind: str


FromForwarder = ForwarderHello | ForwarderEventBatch | ConfigGetResponse | ConfigSetResponse | RestartResponse
FromReceiver = ReceiverHello | ReceiverSubscribe | ReceiverAck

_from_forwarder = msgspec.json.Decoder(FromForwarder)
_from_receiver = msgspec.json.Decoder(FromReceiver)
_any_kind = msgspec.json.Decoder(UnknownMessage)
_FORWARDER_KINDS: Final = frozenset(each.__struct_config__.tag for each in get_args(FromForwarder))
_RECEIVER_KINDS: Final = frozenset(each.__struct_config__.tag for each in get_args(FromReceiver))


def decode_forwarder(message: bytes) -> FromForwarder | UnknownMessage:
    """Return what a forwarder sent; ProtocolError when it is malformed."""
    decoded = _decode(_from_forwarder, _FORWARDER_KINDS, message)
    if isinstance(decoded, ForwarderEventBatch):
        for event in decoded.events:
            if "\0" in event.reader_ip or "\0" in event.reader_timestamp or "\0" in event.read_type:
                raise ProtocolError("NUL in reader_ip, reader_timestamp or read_type of an event")
    elif isinstance(decoded, ForwarderHello):
        _refuse_nul(decoded.display_name or "", *decoded.reader_ips)
    return decoded


def decode_receiver(message: bytes) -> FromReceiver | UnknownMessage:
    """Return what a receiver sent; ProtocolError when it is malformed."""
    decoded = _decode(_from_receiver, _RECEIVER_KINDS, message)
    if isinstance(decoded, ReceiverHello):
        named: Iterable[AckEntry | StreamRef] = decoded.resume or ()
    elif isinstance(decoded, ReceiverSubscribe):
        named = decoded.streams
    elif isinstance(decoded, ReceiverAck):
        named = decoded.entries
    else:
        return decoded
    for each in named:
        _refuse_nul(each.forwarder_id, each.reader_ip)
    return decoded


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


def _decode(decoder: msgspec.json.Decoder[M], known: frozenset[Any], message: bytes) -> M | UnknownMessage:
    try:
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        return _unknown(message, known, str(error)[:_COMPLAINT_LENGTH])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise ProtocolError(f"not a JSON message: {error}") from None


def _unknown(message: bytes, known: frozenset[Any], complaint: str) -> UnknownMessage:
    """Tell a kind that we do not know from a malformed message of a known kind."""
    try:
        found = _any_kind.decode(message)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise ProtocolError(complaint) from None
    if found.kind in known:
        raise ProtocolError(complaint)
    return found


def _refuse_nul(*texts: str) -> None:
    if any("\0" in text for text in texts):
        raise ProtocolError("NUL in an identifier or name")

"""Decodes and validates what devices send (protocol.md, section 3).

Everything that the database relies on later holds of what comes out: identifiers, timestamps and types hold no NUL
and have a bound, a read has one line, as text or as bytes, of at most 64 KiB, numbers are 1..2^53-1 and epochs
1..2^31-1. Whatever is not right raises Malformed, whose text tells the device's maker where; no input raises anything
else. What is no read, but news of a reader or a battery, never ends a session: it comes out as unusable instead.

Nothing here takes longer than one walk through the message. Of a large batch that walk gives the outline only, and its
events come in pieces (shared/protocol/pieces.py): decoding 16 MiB at once holds the event loop for a tenth of a second.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeAlias, TypeVar, Union, get_args

import msgspec

from shared.protocol.commands import ANSWER_TOO_LARGE, KINDS, ReaderControlResponse, Response
from shared.protocol.devices import DEVICE_MESSAGES, UnusableMessage
from shared.protocol.nested import beginning_of
from shared.protocol.pieces import pieces
from shared.protocol.requests import Asked, read_large
from shared.protocol.surrogates import without_half_surrogates
from shared.protocol.v1 import (
    LINE_BYTES,
    AckEntry,
    Epoch,
    ForwarderEventBatch,
    ForwarderHello,
    FromReceiver,
    Malformed,
    Message,
    ReadEvent,
    ReceiverAck,
    ReceiverHello,
    ReceiverSubscribe,
    Seq,
    StreamRef,
    Text,
    UnknownMessage,
)
from shared.protocol.v12 import FromReceiverV12, names_of

__all__ = [
    "FORWARDER_MESSAGES",
    "LARGE_BYTES",
    "RECEIVER_BYTES",
    "LargeEventBatch",
    "decode_forwarder",
    "decode_receiver",
    "decode_receiver_v12",
]

# What is larger is looked through once and not decoded at once. No hello and no answer needs as much.
LARGE_BYTES: Final = 1024 * 1024
# What a receiver says of itself may have as much. What is larger asks for something, and is looked through once.
RECEIVER_BYTES: Final = 2 * 1024 * 1024
# Some 600 events, which take 2 ms.
PIECE_BYTES: Final = 128 * 1024

# A frame as an array of numbers: each may have three digits, and a comma and some blanks behind it.
_FRAME_BYTES: Final = 16 * LINE_BYTES

# A complaint may quote the message, which may hold nothing but a kind of 16 MiB.
_COMPLAINT_LENGTH: Final = 200

M = TypeVar("M")
FromForwarder: TypeAlias = ForwarderHello | ForwarderEventBatch | Response | Message


class LargeEventBatch(msgspec.Struct):
    """A batch of which only the outline is decoded."""

    events: msgspec.Raw
    batch_id: str | None

    def pieces(self) -> Iterator[list[ReadEvent]]:
        """Yield the events, some at a time, so that others have their turn in between; raises Malformed."""
        before = 0
        decoded = pieces(memoryview(self.events), _decode_events, at_once=PIECE_BYTES)
        while True:
            try:
                events = next(decoded, None)
            except msgspec.ValidationError as error:
                raise Malformed(_placed(str(error), before)) from None
            except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
                raise Malformed(f"not a JSON message: {error}") from None
            if events is None:
                return
            _make_frames(events)
            _check_events(events)
            before += len(events)
            yield events


def _decode_events(text: bytes) -> list[ReadEvent]:
    if len(text) > _FRAME_BYTES:
        _refuse_long_frames(text)
    return _events.decode(text)


class _FrameOutline(msgspec.Struct):
    """What must be known of an event that is very long."""

    reader_ip: Text
    stream_epoch: Epoch
    seq: Seq
    raw_frame: msgspec.Raw = msgspec.Raw()


class _Outline(msgspec.Struct):
    """What must be known of a large message; the rest is skipped."""

    kind: str
    events: msgspec.Raw = msgspec.Raw()
    batch_id: msgspec.Raw = msgspec.Raw(b"null")
    request_id: msgspec.Raw = msgspec.Raw(b"null")


# What a forwarder may send, by kind: the answers are those of the commands that there are.
_RESPONSES: Final = {
    str(kind.response.__struct_config__.tag): kind.response for kind in KINDS.values() if kind.response
}
FORWARDER_MESSAGES: Final[dict[str, type[FromForwarder]]] = {
    "forwarder_hello": ForwarderHello,
    "forwarder_event_batch": ForwarderEventBatch,
    **_RESPONSES,
    **DEVICE_MESSAGES,
}
# What may be wrong without an end of the session.
_SPARED: Final = frozenset([*DEVICE_MESSAGES, str(ReaderControlResponse.__struct_config__.tag)])
_from_forwarder: msgspec.json.Decoder[FromForwarder] = msgspec.json.Decoder(
    Union[*FORWARDER_MESSAGES.values()]
)
_from_receiver = msgspec.json.Decoder(FromReceiver)
_from_receiver_v12 = msgspec.json.Decoder(FromReceiverV12)
_any_kind = msgspec.json.Decoder(UnknownMessage)
_outline = msgspec.json.Decoder(_Outline)
_events = msgspec.json.Decoder(list[ReadEvent])
_frame_outlines = msgspec.json.Decoder(list[_FrameOutline])
_text = msgspec.json.Decoder(Text)
_text_or_null = msgspec.json.Decoder(Text | None)
_FORWARDER_KINDS: Final = frozenset(FORWARDER_MESSAGES)
_RECEIVER_KINDS: Final = frozenset(each.__struct_config__.tag for each in get_args(FromReceiver))
_RECEIVER_V12_KINDS: Final = frozenset(each.__struct_config__.tag for each in get_args(FromReceiverV12))


def decode_forwarder(
    message: bytes,
) -> FromForwarder | LargeEventBatch | UnknownMessage | UnusableMessage:
    """Return what a forwarder sent; Malformed when it is not right."""
    if len(message) > LARGE_BYTES:
        return _decode_large(message)
    try:
        decoded = _decode(_from_forwarder, _FORWARDER_KINDS, message)
    except Malformed:
        if spared := _spared(message):
            return spared
        raise
    if isinstance(decoded, ForwarderEventBatch):
        _make_frames(decoded.events)
        # In JSON a NUL can only be an escape, and a line cannot be longer than its message: nearly no batch is looked
        # through for these.
        if b"\\u0000" in message or (
            len(message) > LINE_BYTES and _longest(decoded.events) > LINE_BYTES // 4
        ):
            _check_events(decoded.events)
    elif isinstance(decoded, ForwarderHello):
        _refuse_nul(decoded.display_name or "", *decoded.reader_ips)
    return decoded


def _decode_large(
    message: bytes,
) -> LargeEventBatch | FromForwarder | UnknownMessage | UnusableMessage:
    """Walk through a message once, whatever stands in it: a second walk would double the time that all others wait."""
    try:
        outline = _outline.decode(message)
        if outline.kind == "forwarder_event_batch":
            if bytes(memoryview(outline.events)[:1]) != b"[":
                raise Malformed("Expected `array` - at `$.events`")
            return LargeEventBatch(outline.events, _text_or_null.decode(outline.batch_id))
        if response := _RESPONSES.get(outline.kind):
            return response(_text.decode(outline.request_id), ok=False, error=ANSWER_TOO_LARGE)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _ignored_or_refused(message, error)
    if outline.kind == "forwarder_hello":
        raise Malformed(f"a hello may have {LARGE_BYTES} bytes")
    return UnusableMessage(outline.kind) if outline.kind in _SPARED else UnknownMessage(outline.kind)


def _ignored_or_refused(message: bytes, error: Exception) -> UnusableMessage:
    is_json = isinstance(error, msgspec.ValidationError)
    if (is_json or isinstance(error, RecursionError)) and (spared := _spared(message)):
        return spared
    raise Malformed(str(error)[:_COMPLAINT_LENGTH] if is_json else f"not a JSON message: {error}") from None


def _make_frames(events: Iterable[ReadEvent]) -> None:
    """Make bytes of frames, and refuse events that have not exactly one line.

    That the numbers are bytes is found out here: to have the decoder look at each costs a fifth more.
    """
    for event in events:
        if event.raw_read_line is None:
            if event.raw_frame is None:
                raise Malformed(f"raw_read_line or raw_frame is wanted: {_named(event)}")
            try:
                event.raw_frame = bytes(event.raw_frame)
            except ValueError:
                raise Malformed(f"raw_frame may hold numbers from 0 to 255: {_named(event)}") from None
        elif event.raw_frame is not None:
            raise Malformed(f"raw_read_line or raw_frame is wanted, and not both: {_named(event)}")


def _refuse_long_frames(events: bytes) -> None:
    """Refuse what cannot be a frame before a list is made of it, which takes four times its text."""
    for event in _frame_outlines.decode(events):
        if len(event.raw_frame) > _FRAME_BYTES:
            raise _too_long(event)


def _longest(events: Iterable[ReadEvent]) -> int:
    """Return how long the longest line is, in bytes or characters."""
    return max([len(event.raw_read_line or event.raw_frame or ()) for event in events], default=0)


def _check_events(events: Iterable[ReadEvent]) -> None:
    for event in events:
        if "\0" in event.reader_ip or "\0" in event.reader_timestamp or "\0" in event.read_type:
            raise Malformed("NUL in reader_ip, reader_timestamp or read_type of an event")
        # A character has four bytes at the most.
        line = event.raw_read_line
        if line is None:
            too_long = len(event.raw_frame or ()) > LINE_BYTES
        else:
            too_long = len(line) > LINE_BYTES // 4 and len(line.encode()) > LINE_BYTES
        if too_long:
            raise _too_long(event)


def _too_long(event: "ReadEvent | _FrameOutline") -> Malformed:
    return Malformed(f"a line may have {LINE_BYTES} bytes: {_named(event)}", fault="long_line")


def _named(event: "ReadEvent | _FrameOutline") -> str:
    return f"reader {event.reader_ip!r}, epoch {event.stream_epoch}, seq {event.seq}"


def _placed(complaint: str, before: int) -> str:
    """Return what is wrong with a piece as what is wrong with its message, of which `before` events came before."""
    placed = re.sub(r"`\$\[(\d+)\]", lambda found: f"`$.events[{before + int(found[1])}]", complaint)
    return placed[:_COMPLAINT_LENGTH]


def decode_receiver(message: bytes) -> FromReceiver | UnknownMessage:
    """Return what a receiver sent; Malformed when it is not right."""
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


def decode_receiver_v12(message: bytes) -> FromReceiverV12 | Asked | UnknownMessage:
    """Return what a receiver of the second generation sent, of what is large what it asks; Malformed when it is not
    right.
    """
    if len(message) > RECEIVER_BYTES:
        return _decode_large_v12(message)
    decoded = _decode(_from_receiver_v12, _RECEIVER_V12_KINDS, message)
    if not isinstance(decoded, UnknownMessage):
        for each in names_of(decoded):
            _refuse_nul(each.forwarder_id, each.reader_ip)
    return decoded


def _decode_large_v12(message: bytes) -> Asked | UnknownMessage:
    try:
        large = read_large(message)
    except msgspec.ValidationError as error:
        raise Malformed(str(error)[:_COMPLAINT_LENGTH]) from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Malformed(f"not a JSON message: {error}") from None
    if isinstance(large, UnknownMessage) and large.kind in _RECEIVER_V12_KINDS:
        # Unread: of an ack as large as a message may be a quarter of a million entries would be made, to be refused.
        raise Malformed(f"a {large.kind} may have {RECEIVER_BYTES} bytes")
    return large


def _decode(decoder: msgspec.json.Decoder[M], known: frozenset[Any], message: bytes) -> M | UnknownMessage:
    try:
        return decoder.decode(message)
    except msgspec.ValidationError as error:
        return _unknown(message, known, str(error)[:_COMPLAINT_LENGTH])
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        if (mended := without_half_surrogates(message)) is not None:
            return _unknown(mended, known, f"half a surrogate in a text: {error}")
        raise Malformed(f"not a JSON message: {error}") from None


def _unknown(message: bytes, known: frozenset[Any], complaint: str) -> UnknownMessage:
    """Tell a kind that we do not know from a malformed message of a known kind."""
    found = _kind_of(message)
    if found is None or found.kind in known:
        raise Malformed(complaint)
    return found


def _kind_of(message: bytes) -> UnknownMessage | None:
    """Return what kind a message that is not right is of, whatever is wrong with its texts; None where it says none."""
    try:
        return _any_kind.decode(message)
    except RecursionError:
        beginning = beginning_of(message)
        return None if beginning is None else UnknownMessage(beginning.kind)
    except (msgspec.DecodeError, UnicodeError):
        mended = without_half_surrogates(message)
    return None if mended is None else _kind_of(mended)


def _spared(message: bytes) -> UnusableMessage | None:
    """Return what is left of a malformed message if it may be ignored: texts that are none are passed over, too."""
    found = _kind_of(message)
    return UnusableMessage(found.kind) if found is not None and found.kind in _SPARED else None


def _refuse_nul(*texts: str) -> None:
    if any("\0" in text for text in texts):
        raise Malformed("NUL in an identifier or name")

"""No input makes the decoder raise anything but ProtocolError, or let through what the database cannot hold."""

import pytest
from hypothesis import given, settings

from shared.errors import ProtocolError
from shared.protocol.decoding import LargeEventBatch, decode_forwarder
from shared.protocol.v1 import (
    ForwarderEventBatch,
    ForwarderHello,
    UnknownMessage,
    encode_error,
)
from tests.failure.hostile import EXTREMES, hostile_messages


def storable(text: str) -> bool:
    text.encode()
    return "\0" not in text and len(text) <= 255


def decoded_or_refused(message: bytes) -> object:
    try:
        decoded = decode_forwarder(message)
        if not isinstance(decoded, LargeEventBatch):
            return decoded
        return ForwarderEventBatch([event for some in decoded.pieces() for event in some])
    except ProtocolError as error:
        return error


def check(message: bytes) -> None:
    decoded = decoded_or_refused(message)
    if isinstance(decoded, ProtocolError):
        assert len(str(decoded)) < 500
        encode_error(decoded.code, str(decoded))
    elif isinstance(decoded, ForwarderEventBatch):
        for event in decoded.events:
            if event.raw_read_line is None:
                assert isinstance(event.raw_frame, bytes)
                assert len(event.raw_frame) <= 65536
            else:
                assert event.raw_frame is None
                event.raw_read_line.encode()
            assert all(map(storable, (event.reader_ip, event.reader_timestamp, event.read_type)))
            assert 1 <= event.stream_epoch < 2**31
            assert 1 <= event.seq < 2**53
    elif isinstance(decoded, ForwarderHello):
        assert all(map(storable, [*decoded.reader_ips, decoded.display_name or ""]))
    elif isinstance(decoded, UnknownMessage):
        assert decoded.kind not in ("forwarder_hello", "forwarder_event_batch")


@settings(max_examples=600, deadline=None)
@given(message=hostile_messages)
def test_any_message_is_decoded_or_a_protocol_error(message: bytes) -> None:
    check(message)


@pytest.mark.parametrize("name", EXTREMES)
def test_extreme_messages_are_decoded_or_a_protocol_error(name: str) -> None:
    check(EXTREMES[name])

"""Device messages: bytes in, decisions and bytes out, whatever the bytes."""

import orjson
import pytest

from shared.errors import ProtocolError
from shared.messages import (
    ForwarderEventBatch,
    ForwarderHello,
    ReceiverSubscribe,
    StreamRef,
    UnknownMessage,
    decode_forwarder,
    decode_receiver,
    encode_error,
)

EVENT = {
    "forwarder_id": "f",
    "reader_ip": "10.0.0.1:10000",
    "stream_epoch": 1,
    "seq": 1,
    "reader_timestamp": "",
    "raw_read_line": "aa",
    "read_type": "raw",
}


def batch(**changes: object) -> bytes:
    return orjson.dumps({"kind": "forwarder_event_batch", "events": [{**EVENT, **changes}]})


def test_unknown_fields_are_ignored_on_every_level() -> None:
    message = orjson.dumps(
        {"kind": "forwarder_event_batch", "new": {"deep": [1]}, "events": [{**EVENT, "newer": None}]}
    )
    decoded = decode_forwarder(message)
    assert isinstance(decoded, ForwarderEventBatch)
    assert decoded.events[0].seq == 1


@pytest.mark.parametrize("number", [1, 2**63 - 1])
def test_numbers_reach_the_edge_of_64_bits(number: int) -> None:
    decoded = decode_forwarder(batch(seq=number, stream_epoch=number))
    assert isinstance(decoded, ForwarderEventBatch)
    assert (decoded.events[0].seq, decoded.events[0].stream_epoch) == (number, number)


@pytest.mark.parametrize("number", [0, -1, 2**63, 1.0, True, "1", None])
@pytest.mark.parametrize("name", ["seq", "stream_epoch"])
def test_numbers_beyond_the_range_are_malformed(name: str, number: object) -> None:
    with pytest.raises(ProtocolError):
        decode_forwarder(batch(**{name: number}))


@pytest.mark.parametrize("name", ["reader_ip", "reader_timestamp", "read_type"])
def test_nul_is_malformed_in_names_and_welcome_in_lines(name: str) -> None:
    decoded = decode_forwarder(batch(raw_read_line="a\0b"))
    assert isinstance(decoded, ForwarderEventBatch)
    assert decoded.events[0].raw_read_line == "a\0b"
    with pytest.raises(ProtocolError):
        decode_forwarder(batch(**{name: "a\0b"}))


def test_a_kind_of_a_newer_generation_is_unknown_and_not_malformed() -> None:
    assert decode_forwarder(b'{"kind": "forwarder_mood", "x": 1}') == UnknownMessage("forwarder_mood")
    assert decode_forwarder(b'{"kind": "receiver_ack", "entries": 5}') == UnknownMessage("receiver_ack")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b'{"kind": 5}',
        b'{"kind": "forwarder_hello"}',
        b'{"kind": "forwarder_hello", "reader_ips": "x"}',
        b'{"kind": "forwarder_hello", "reader_ips": [',
        b'{"kind": "forwarder_hello", "reader_ips": [NaN]}',
        b'{"kind": "forwarder_hello", "reader_ips": ["\xff"]}',
        b'{"kind": "forwarder_hello", "reader_ips": ["\\ud800"]}',
        b'{"kind": "forwarder_hello", "reader_ips": ' + b"[" * 100_000,
    ],
)
def test_malformed_messages_are_protocol_errors(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode_forwarder(message)


def test_a_missing_display_name_and_a_null_one_are_the_same() -> None:
    missing = decode_forwarder(b'{"kind": "forwarder_hello", "forwarder_id": "f", "reader_ips": []}')
    null = decode_forwarder(
        b'{"kind": "forwarder_hello", "forwarder_id": "f", "reader_ips": [], "display_name": null}'
    )
    assert missing == null == ForwarderHello([], "f", None)


def test_receivers_name_streams() -> None:
    decoded = decode_receiver(
        b'{"kind": "receiver_subscribe", "session_id": 7, "streams": [{"forwarder_id": "f", "reader_ip": "r"}]}'
    )
    assert isinstance(decoded, ReceiverSubscribe)
    assert decoded.streams == [StreamRef("f", "r")]


@pytest.mark.parametrize(
    ("code", "retryable"),
    [
        ("INVALID_TOKEN", False),
        ("PROTOCOL_ERROR", False),
        ("IDENTITY_MISMATCH", False),
        ("INTEGRITY_CONFLICT", False),
        ("SESSION_EXPIRED", True),
        ("INTERNAL_ERROR", True),
    ],
)
def test_errors_say_whether_to_try_again(code: str, retryable: bool) -> None:
    assert orjson.loads(encode_error(code, "text")) == {
        "kind": "error",
        "code": code,
        "message": "text",
        "retryable": retryable,
    }

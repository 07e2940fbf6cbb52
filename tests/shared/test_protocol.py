"""Device messages: bytes in, decisions and bytes out, whatever the bytes."""

import orjson
import pytest

from shared.errors import ProtocolError
from shared.protocol.commands import ANSWER_TOO_LARGE, ConfigGetResponse
from shared.protocol.decoding import LARGE_BYTES, LargeEventBatch, decode_forwarder, decode_receiver
from shared.protocol.v1 import (
    ForwarderEventBatch,
    ForwarderHello,
    Malformed,
    ReceiverSubscribe,
    StreamRef,
    UnknownMessage,
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


@pytest.mark.parametrize(("seq", "epoch"), [(1, 1), (2**53 - 1, 2**31 - 1)])
def test_numbers_reach_the_edge_of_what_everybody_can_count(seq: int, epoch: int) -> None:
    decoded = decode_forwarder(batch(seq=seq, stream_epoch=epoch))
    assert isinstance(decoded, ForwarderEventBatch)
    assert (decoded.events[0].seq, decoded.events[0].stream_epoch) == (seq, epoch)


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**63, 1.0, True, "1", None])
@pytest.mark.parametrize("name", ["seq", "stream_epoch"])
def test_numbers_beyond_the_range_are_malformed(name: str, number: object) -> None:
    with pytest.raises(ProtocolError):
        decode_forwarder(batch(**{name: number}))


def test_an_epoch_beyond_the_last_is_malformed() -> None:
    with pytest.raises(ProtocolError, match="stream_epoch"):
        decode_forwarder(batch(stream_epoch=2**31))
    with pytest.raises(ProtocolError, match="stream_epoch"):
        decode_receiver(
            b'{"kind":"receiver_ack","entries":'
            b'[{"forwarder_id":"f","reader_ip":"r","stream_epoch":2147483648,"last_seq":0}]}'
        )


@pytest.mark.parametrize("character", ["x", "é", "🏃"])
def test_a_line_has_at_most_64_kib_in_utf_8(character: str) -> None:
    longest = character * (64 * 1024 // len(character.encode()))
    decode_forwarder(batch(raw_read_line=longest))
    with pytest.raises(Malformed, match=r"10\.0\.0\.1:10000.*epoch 7.*seq 12") as refusal:
        decode_forwarder(batch(raw_read_line=longest + "x", stream_epoch=7, seq=12))
    assert refusal.value.fault == "long_line"


# --- messages too large to be decoded at once ---


def large(kind: str = "forwarder_event_batch", **fields: bytes) -> bytes:
    """A message beyond the bound, with its kind at the end."""
    parts = [b'"%s":%s' % (name.encode(), value) for name, value in fields.items()]
    return b'{"x":"%s",%s,"kind":"%s"}' % (b"x" * LARGE_BYTES, b",".join(parts), kind.encode())


def events_of(message: bytes) -> list[int]:
    decoded = decode_forwarder(message)
    assert isinstance(decoded, LargeEventBatch)
    return [event.seq for some in decoded.pieces() for event in some]


def test_a_large_batch_comes_in_pieces_and_is_whole() -> None:
    events = [{**EVENT, "seq": seq, "raw_read_line": "},{" * 20} for seq in range(1, 20_001)]
    message = orjson.dumps({"kind": "forwarder_event_batch", "batch_id": "b", "events": events})
    decoded = decode_forwarder(message)
    assert isinstance(decoded, LargeEventBatch)
    assert decoded.batch_id == "b"
    some = list(decoded.pieces())
    assert len(some) > 20
    assert [event.seq for each in some for event in each] == list(range(1, 20_001))
    assert {event.raw_read_line for each in some for event in each} == {"},{" * 20}
    assert events_of(large(events=b"[]")) == events_of(large(events=b"[ ]")) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"seq": 0}, r"`\$\.events\[15000\]\.seq`"),
        ({"stream_epoch": 2**31}, r"`\$\.events\[15000\]\.stream_epoch`"),
        ({"read_type": "a\0"}, "NUL"),
        ({"raw_read_line": "x" * 65_537}, "seq 7"),
    ],
)
def test_what_is_wrong_in_a_large_batch_is_named(change: dict[str, object], complaint: str) -> None:
    wrong = {**EVENT, "seq": 7, **change}
    message = orjson.dumps({"kind": "forwarder_event_batch", "events": [EVENT] * 15_000 + [wrong]})
    with pytest.raises(Malformed, match=complaint):
        events_of(message)


@pytest.mark.parametrize("text", [b'"\\ud800"', b'"\xff"'])
def test_text_that_is_none_in_a_large_batch_is_malformed(text: bytes) -> None:
    event = orjson.dumps(EVENT).replace(b'"aa"', text)
    with pytest.raises(Malformed):
        events_of(large(events=b"[%s]" % event))


@pytest.mark.parametrize(
    "message",
    [
        large(),
        large(events=b"5"),
        large(events=b"null"),
        large(events=b"[0,0]"),
        large(events=b"[]", batch_id=b"7"),
        large("forwarder_hello", reader_ips=b'["r"]'),
        large("config_get_response", ok=b"true"),
        large(events=b"[]")[:-1],
        large(events=b"[}]"),
        b"[" + b"[]," * LARGE_BYTES + b"0]",
    ],
    ids=range(10),
)
def test_large_messages_that_are_not_right_are_malformed(message: bytes) -> None:
    with pytest.raises(Malformed):
        events_of(message)


def test_a_large_message_of_a_newer_kind_is_unknown() -> None:
    assert decode_forwarder(large("forwarder_film", events=b"7", batch_id=b"[]")) == UnknownMessage(
        "forwarder_film"
    )


def test_a_large_answer_is_answered_for() -> None:
    answer = decode_forwarder(large("config_get_response", request_id=b'"q"', ok=b"true", config=b"{}"))
    assert isinstance(answer, ConfigGetResponse)
    assert (answer.request_id, answer.ok, answer.error) == ("q", False, ANSWER_TOO_LARGE)


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

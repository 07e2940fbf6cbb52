"""Device messages: bytes in, decisions and bytes out, whatever the bytes."""

import tracemalloc

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import ProtocolError
from shared.protocol.commands import ANSWER_TOO_LARGE, ConfigGetResponse
from shared.protocol.decoding import (
    FORWARDER_MESSAGES,
    LARGE_BYTES,
    LargeEventBatch,
    decode_forwarder,
    decode_receiver,
)
from shared.protocol.devices import UnusableMessage
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


# --- lines as bytes ---


def frames(*numbers: str, **changes: object) -> bytes:
    """A batch of one event with these texts as its frame, in place of a line."""
    without_line = {name: value for name, value in EVENT.items() if name != "raw_read_line"}
    message = orjson.dumps(
        {"kind": "forwarder_event_batch", "events": [{**without_line, **changes, "raw_frame": 0}]}
    )
    return message.replace(b'"raw_frame":0', b'"raw_frame":[%s]' % ",".join(numbers).encode())


@given(st.binary())
def test_any_bytes_are_a_frame(frame: bytes) -> None:
    decoded = decode_forwarder(frames(*map(str, frame)))
    assert isinstance(decoded, ForwarderEventBatch)
    assert [(event.raw_frame, event.raw_read_line) for event in decoded.events] == [(frame, None)]


@pytest.mark.parametrize(
    "number", ["256", "-1", "1.0", "1e1", "true", "null", '"1"', "[1]", "{}", "9" * 4_000, "9" * 9_000]
)
def test_what_is_no_byte_is_malformed(number: str) -> None:
    with pytest.raises(Malformed, match=r"raw_frame") as refusal:
        decode_forwarder(frames("97", number))
    assert len(str(refusal.value)) <= 200


@pytest.mark.parametrize("frame", ["YQ==", 97, {}, True])
def test_a_frame_is_an_array(frame: object) -> None:
    with pytest.raises(Malformed, match=r"raw_frame"):
        decode_forwarder(batch(raw_read_line=None, raw_frame=frame))


@pytest.mark.parametrize(
    "both", [{"raw_frame": []}, {"raw_read_line": None}, {"raw_frame": None, "raw_read_line": None}]
)
def test_a_read_has_exactly_one_line(both: dict[str, object]) -> None:
    with pytest.raises(Malformed, match=r"raw_read_line or raw_frame.*10\.0\.0\.1:10000.*epoch 7.*seq 12"):
        decode_forwarder(batch(stream_epoch=7, seq=12, **both))
    decode_forwarder(batch(raw_read_line="", raw_frame=None))
    decode_forwarder(batch(raw_read_line=None, raw_frame=[]))


def test_a_frame_has_at_most_64_kib() -> None:
    decode_forwarder(frames(*["0"] * 65_536))
    with pytest.raises(Malformed, match=r"10\.0\.0\.1:10000.*epoch 7.*seq 12") as refusal:
        decode_forwarder(frames(*["0"] * 65_537, stream_epoch=7, seq=12))
    assert refusal.value.fault == "long_line"


def test_a_frame_that_cannot_be_one_is_refused_before_a_list_is_made_of_it() -> None:
    message = frames(*["0"] * 4_000_000, seq=12)
    tracemalloc.start()
    try:
        with pytest.raises(Malformed, match="seq 12") as refusal:
            events_of(message)
        assert refusal.value.fault == "long_line"
        # The message is copied for the decoder; a list of its numbers would be four times as large.
        assert tracemalloc.get_traced_memory()[1] < 3 * len(message)
    finally:
        tracemalloc.stop()


# --- news of readers and batteries: never worth a session ---

NEWS: dict[str, dict[str, object]] = {
    "reader_status_update": {"reader_ip": "r", "connected": True},
    "reader_info_update": {
        "reader_ip": "r",
        "state": "connected",
        "reader_info": {"banner": "x", "newer": 1},
    },
    "reader_download_progress": {
        "reader_ip": "r",
        "state": "downloading",
        "reads_received": 1,
        "progress": 2,
        "total": 3,
    },
    "forwarder_ups_status": {
        "forwarder_id": "other",
        "available": True,
        "status": {
            "battery_percent": 93,
            "battery_voltage_mv": 4_100,
            "charging": False,
            "power_plugged": True,
            "temperature_cdeg": -320,
            "sampled_at": 1_772_000_000_000,
        },
    },
    "reader_control_response": {
        "request_id": "q",
        "reader_ip": "r",
        "success": True,
        "reader_info": {"x": 1},
    },
}


def news(kind: str, **changes: object) -> bytes:
    return orjson.dumps({"kind": kind, **NEWS[kind], **changes})


@pytest.mark.parametrize("kind", NEWS)
def test_news_are_read(kind: str) -> None:
    decoded = decode_forwarder(news(kind))
    assert type(decoded) is FORWARDER_MESSAGES[kind]


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        *((kind, {"reader_ip": 5}) for kind in NEWS if kind != "forwarder_ups_status"),
        ("reader_status_update", {"connected": "yes"}),
        ("reader_info_update", {"state": "sleepy"}),
        ("reader_info_update", {"reader_info": {"config": {"mode": "raw", "timeout": 256}}}),
        ("reader_info_update", {"reader_info": {"estimated_stored_reads": -1}}),
        ("reader_download_progress", {"total": None}),
        ("forwarder_ups_status", {"available": None}),
        ("forwarder_ups_status", {"status": {"battery_percent": 93}}),
        ("reader_control_response", {"success": None}),
    ],
)
def test_news_that_are_not_right_are_spared(kind: str, wrong: dict[str, object]) -> None:
    assert decode_forwarder(news(kind, **wrong)) == UnusableMessage(kind)


@pytest.mark.parametrize("text", [b'"\xff"', b'"' + b"x" * LARGE_BYTES + b'"'])
def test_news_with_texts_that_are_none_or_too_long_are_spared(text: bytes) -> None:
    message = news("reader_info_update").replace(b'"x"', text)
    assert decode_forwarder(message) == UnusableMessage("reader_info_update")
    with pytest.raises(Malformed):
        decode_forwarder(b'{"kind":"forwarder_hello","reader_ips":[%s]}' % text[:100])


def test_a_large_answer_about_a_reader_to_no_question_is_spared() -> None:
    answer = large("reader_control_response", request_id=b"5", success=b"true")
    assert decode_forwarder(answer) == UnusableMessage("reader_control_response")


def test_news_of_forwarders_are_nothing_to_a_receiver() -> None:
    for kind in NEWS:
        assert decode_receiver(news(kind, reader_ip=5)) == UnknownMessage(kind)


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
        ({"raw_read_line": None, "raw_frame": [0] * 65_537}, "seq 7"),
        ({"raw_read_line": None, "raw_frame": [256]}, "seq 7"),
        ({"raw_read_line": None, "raw_frame": [0.5]}, r"`\$\.events\[15000\]\.raw_frame\[0\]`"),
        ({"raw_read_line": None}, "seq 7"),
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

"""Events as they go out."""

import tracemalloc
from datetime import UTC, datetime
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanout.events import (
    BATCH_SUFFIX,
    MESSAGE_BYTES,
    Event,
    Sent,
    batch_prefix,
    fitting,
    slice_of,
)
from fanout.generation import FIRST, SECOND
from fanout.store.events import EventRow
from shared.protocol.v1 import StreamRef

REF = StreamRef("start", "10.0.0.1:10000")
RECEIVED_AT = datetime(2026, 2, 22, 9, 11, 13, tzinfo=UTC)


def row(
    seq: int, line: bytes = b"aa", *, epoch: int = 1, framed: bool = False, read_type: str = "raw"
) -> EventRow:
    return EventRow(seq, epoch, seq, "2026-02-22T10:11:12.340", line, read_type, RECEIVED_AT, framed)


@pytest.mark.parametrize("line", ["", "a\0b", '"\\/', "🏃‍♀️ ünï", "\x01\x1f\x7f\u2028", "x" * 65536, "\ufffd"])
def test_a_line_comes_out_as_it_came_in(line: str) -> None:
    (event,) = FIRST.encode(REF, [row(7, line.encode())])
    assert orjson.loads(event.json) == {
        "forwarder_id": "start",
        "reader_ip": "10.0.0.1:10000",
        "stream_epoch": 1,
        "seq": 7,
        "reader_timestamp": "2026-02-22T10:11:12.340",
        "raw_read_line": line,
        "read_type": "raw",
    }


@given(st.text())
def test_any_text_is_a_line(line: str) -> None:
    (event,) = FIRST.encode(REF, [row(1, line.encode())])
    assert orjson.loads(event.json)["raw_read_line"] == line


@pytest.mark.parametrize(
    ("frame", "line"),
    [
        (b"aa\r\n", "aa"),
        (b"aa\n", "aa"),
        (b"aa", "aa"),
        (b"aa\r", "aa\r"),
        (b"aa\n\r\n", "aa\n"),
        (b"aa\r\n\n", "aa\r\n"),
        (b"\n", ""),
        (b"", ""),
        (b"caf\xe9\0\r\n", "caf\ufffd\0"),
    ],
)
def test_a_frame_comes_out_as_the_text_of_its_line(frame: bytes, line: str) -> None:
    (event,) = FIRST.encode(REF, [row(1, frame, framed=True)])
    assert orjson.loads(event.json)["raw_read_line"] == line


def test_a_text_keeps_its_line_end() -> None:
    (event,) = FIRST.encode(REF, [row(1, b"aa\r\n")])
    assert orjson.loads(event.json)["raw_read_line"] == "aa\r\n"


@pytest.mark.parametrize(
    ("stored", "framed", "frame"),
    [
        (b"aa", False, b"aa\r\n"),
        ("🏃 ü".encode(), False, "🏃 ü\r\n".encode()),
        (b"aa\r\n", False, b"aa\r\n\r\n"),  # a text is a line, whatever it ends with
        (b"aa\r\n", True, b"aa\r\n"),
        (b"aa\n", True, b"aa\n"),
        (b"aa", True, b"aa"),
        (b"", True, b""),
        (bytes(range(256)), True, bytes(range(256))),
    ],
)
def test_the_second_generation_gets_the_bytes_with_a_line_end_where_a_text_had_none(
    stored: bytes, framed: bool, frame: bytes
) -> None:
    (event,) = SECOND.encode(REF, [row(7, stored, framed=framed)])
    assert orjson.loads(event.json) == {
        "forwarder_id": "start",
        "reader_ip": "10.0.0.1:10000",
        "stream_epoch": 1,
        "seq": 7,
        "reader_timestamp": "2026-02-22T10:11:12.340",
        "raw_frame": list(frame),
        "read_type": "raw",
    }


def test_reads_of_reserved_types_go_to_the_first_generation_alone_and_an_ack_covers_them() -> None:
    rows = [row(1), row(2, read_type="__x"), row(3), row(4, read_type="__"), row(9, epoch=2, read_type="__x")]
    assert slice_of(FIRST.encode(REF, rows)).sent == (Sent(1, 4, 4, 4, 4), Sent(2, 9, 1, 9, 1))
    hidden = slice_of(SECOND.encode(REF, rows))
    assert [event["seq"] for event in orjson.loads(b"[" + hidden.json + b"]")] == [1, 3]
    assert hidden.event_count == 2
    assert hidden.sent == (Sent(1, 4, 4, 3, 2), Sent(2, 9, 1, 0, 0))


def test_bytes_that_are_no_text_do_not_stop_those_behind_them() -> None:
    events = FIRST.encode(REF, [row(1, b"caf\xe9"), row(2)])
    assert [orjson.loads(event.json)["raw_read_line"] for event in events] == ["caf\ufffd", "aa"]


def test_the_largest_numbers_stay_integers() -> None:
    (event,) = FIRST.encode(REF, [EventRow(1, 2**63 - 1, 2**63 - 1, "", b"", "", RECEIVED_AT, False)])
    assert b'"stream_epoch":9223372036854775807,"seq":9223372036854775807,' in event.json


def test_encoded_events_take_little_more_memory_than_their_text() -> None:
    rows = [row(seq, b"a" * 36) for seq in range(1, 1_001)]
    tracemalloc.start()
    try:
        events = FIRST.encode(REF, rows)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < sum(len(event.json) for event in events) + 300 * len(events)


def test_a_slice_says_what_ack_covers_each_epoch_in_it() -> None:
    events = FIRST.encode(REF, [row(5), row(9, epoch=2), row(7), row(6), row(10, epoch=2)])
    joined = slice_of(events)
    assert joined.sent == (Sent(1, 7, 3, 7, 3), Sent(2, 10, 2, 10, 2))
    assert joined.event_count == 5


def test_a_message_is_its_prefix_its_events_and_its_suffix() -> None:
    session_id = UUID(int=1)
    message = batch_prefix(session_id) + slice_of(FIRST.encode(REF, [row(1), row(2)])).json + BATCH_SUFFIX
    decoded = orjson.loads(message)
    assert (decoded["kind"], decoded["session_id"]) == ("receiver_event_batch", str(session_id))
    assert [event["seq"] for event in decoded["events"]] == [1, 2]


@given(st.lists(st.sampled_from([10, MESSAGE_BYTES // 3, MESSAGE_BYTES, 2 * MESSAGE_BYTES]), max_size=12))
def test_a_message_takes_what_fits_and_at_least_one(sizes: list[int]) -> None:
    events = [Event(n, 1, n, RECEIVED_AT, b"x" * size) for n, size in enumerate(sizes, 1)]
    count = fitting(events, 10)
    assert (count > 0) == bool(events)
    assert count <= 10
    assert count <= 1 or sum(sizes[:count]) <= MESSAGE_BYTES
    assert count in (10, len(sizes)) or sum(sizes[: count + 1]) > MESSAGE_BYTES

"""Batches over the socket: what is accepted, what is stored of it and what is acked (protocol.md, sections 1 and 4)."""

import json

import aiohttp
import pytest

from gateway import session
from tests.failure.facts import Database, counts, lines
from tests.failure.wire import READER, Wire, batch, connect, forwarder, frame, hello, read, reads
from tests.gateway.conftest import Inside

pytestmark = pytest.mark.usefixtures("writer")

MESSAGE_BYTES = 16 * 1024 * 1024
LINE_BYTES = 64 * 1024
MESSAGES_LINES = 250

LINES = [
    "",
    "\0",
    "a\0b",
    "'; DROP TABLE events; --",
    '"quoted"',
    "back\\slash \\0 \\u0041",
    "🏁 finish — žluťoučký",
    "tab\tand\r\nline end",
    "\x7f\x01\x1f",
    "\ufeffbom \ufffe\uffff",
    "x" * 65536,
    "🏃" * 16384,
]


async def raw_frames(database: Database) -> list[bytes]:
    return [row["raw_frame"] for row in await database.fetch("SELECT raw_frame FROM events ORDER BY seq")]


async def test_lines_come_out_byte_for_byte_as_they_went_in(inside: Inside, database: Database) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*(read(number, line) for number, line in enumerate(LINES, start=1))))
        assert await wire.ack() == [(READER, 1, len(LINES))]
    assert await raw_frames(database) == [line.encode() for line in LINES]


async def test_frames_come_out_byte_for_byte_as_they_went_in(inside: Inside, database: Database) -> None:
    frames = [bytes(range(256)), b"", b"\r\n", b"aa\n\r\n", b"\0", b"\xff" * 65_536]
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*(frame(number, line) for number, line in enumerate(frames, start=1))))
        assert await wire.ack() == [(READER, 1, len(frames))]
    assert await raw_frames(database) == frames
    assert await database.fetchval("SELECT bool_and(framed) FROM events")


async def test_what_a_device_sends_again_after_its_upgrade_is_a_retransmit(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 3)))
        await wire.ack()
        await wire.send(batch(frame(1), read(2), frame(3, b"line 3"), frame(4), frame(4, b"line 4\n")))
        assert await wire.ack() == [(READER, 1, 4)]
    assert (await counts(database))[1:4] == (4, 4, 0)  # stored, sent again, in conflict
    assert await raw_frames(database) == [b"line 1", b"line 2", b"line 3", b"line 4\r\n"]


async def test_a_read_in_both_forms_is_refused_with_the_whole_batch(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(frame(1), {**frame(2), "raw_read_line": "two"}))
        refusal = await wire.expect("error")
        assert (refusal["code"], refusal["retryable"]) == ("PROTOCOL_ERROR", False)
        assert "raw_frame" in refusal["message"]
        assert await wire.closed() == 1008
    assert await raw_frames(database) == []


async def test_timestamps_types_and_reader_names_are_stored_verbatim(
    inside: Inside, database: Database
) -> None:
    told = [
        ("", "raw"),
        ("2026-02-22T10:11:12.340", "fsls"),
        ("2026-02-22T10:11:12Z", "RAW"),
        ("gestern", ""),
    ]
    events = [
        {**read(number, reader=" a\tb ✓"), "reader_timestamp": timestamp, "read_type": kind}
        for number, (timestamp, kind) in enumerate(told, start=1)
    ]
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*events))
        assert await wire.ack() == [(" a\tb ✓", 1, 4)]
    rows = await database.fetch("SELECT reader_timestamp, read_type FROM events ORDER BY seq")
    assert [tuple(row) for row in rows] == told


async def test_an_empty_batch_is_acked(inside: Inside) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch())
        assert await wire.ack() == []


async def test_a_batch_of_fifty_thousand_reads_passes(inside: Inside, database: Database) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, 50_000)))
        assert await wire.ack() == [(READER, 1, 50_000)]
    stored = await lines(database, "f", READER)
    assert stored == [(1, seq, f"line {seq}") for seq in range(1, 50_001)]


def message_of(size: int) -> bytes:
    """A batch of reads with the longest lines, that is `size` bytes long."""
    frame, event = (
        b'{"kind":"forwarder_event_batch","batch_id":"b","x":"%s","events":[%s]}',
        read(1, "x" * LINE_BYTES),
    )
    events = b",".join(json.dumps({**event, "seq": seq}).encode() for seq in range(1, MESSAGES_LINES + 1))
    return frame % (b"x" * (size - len(frame % (b"", events))), events)


async def test_a_message_of_sixteen_mebibytes_passes(inside: Inside, database: Database) -> None:
    message = message_of(MESSAGE_BYTES)
    assert len(message) == MESSAGE_BYTES
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(message)
        assert await wire.ack() == [(READER, 1, MESSAGES_LINES)]
    assert await raw_frames(database) == [b"x" * LINE_BYTES] * MESSAGES_LINES


@pytest.mark.parametrize("reads_before", [0, 20_000])
async def test_a_line_that_is_too_long_is_named_and_nothing_of_its_batch_is_stored(
    inside: Inside, database: Database, reads_before: int
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*reads(1, reads_before), read(30_000, "x" * (LINE_BYTES + 1), epoch=4)))
        error = await wire.expect("error")
        assert error["code"] == "PROTOCOL_ERROR"
        assert all(each in error["message"] for each in (READER, "epoch 4", "seq 30000"))
        assert await wire.closed() == 1008
    assert (await counts(database)).events == 0
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM inbox)")


async def test_a_larger_message_closes_the_socket_with_1009(inside: Inside, database: Database) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(message_of(MESSAGE_BYTES + 1))
        assert await wire.closed() == 1009
    assert (await counts(database)).events == 0


async def test_binary_frames_are_ignored(inside: Inside) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.send_binary(b"\0\1\2")
        await wire.greet()
        await wire.send_binary(b'{"kind":"forwarder_event_batch"}')
        await wire.send(batch(read(1)))
        assert await wire.ack() == [(READER, 1, 1)]


async def test_a_ping_is_answered_with_its_payload(inside: Inside) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.ping()
        frame = await wire.frame()
    assert (frame.type, bytes(frame.data)) == (aiohttp.WSMsgType.PONG, b"anyone?")


async def test_compression_is_not_agreed_to_when_offered(inside: Inside) -> None:
    offer = {"Sec-WebSocket-Extensions": "permessage-deflate; client_max_window_bits"}
    async with connect(inside.url, inside.token, **offer) as wire:
        assert "Sec-WebSocket-Accept" in wire.headers
        assert "Sec-WebSocket-Extensions" not in wire.headers
        await wire.greet()


async def test_a_batch_may_mix_readers_and_epochs_and_name_new_readers(
    inside: Inside, database: Database
) -> None:
    async with connect(inside.url, inside.token) as wire:
        await wire.greet(["a"], display_name="Start")
        await wire.send(batch(read(1, reader="a"), read(5, reader="new", epoch=2), read(2, reader="a")))
        assert await wire.ack() == [("a", 1, 2), ("new", 2, 5)]
    assert await lines(database, "f", "a") == [(1, 1, "line 1"), (1, 2, "line 2")]
    assert await lines(database, "f", "new") == [(2, 5, "line 5")]
    row = await database.fetchrow(
        "SELECT forwarder_display_name, stream_epoch FROM streams WHERE reader_ip = 'new'"
    )
    assert row is not None
    assert tuple(row) == ("Start", 2)


async def test_of_several_epochs_all_is_stored_and_the_lowest_acked(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(read(1, epoch=2), *reads(1, 3), read(2, epoch=2)))
        assert await wire.ack() == [(READER, 1, 3)]
        await wire.send(batch(*reads(1, 2, epoch=2)))  # as the device does with what was not acked
        assert await wire.ack() == [(READER, 2, 2)]
    assert [row[:2] for row in await lines(database, "f", READER)] == [(1, 1), (1, 2), (1, 3), (2, 1), (2, 2)]
    assert await counts(database) == (7, 5, 2, 0, 5, 0, 5)


async def test_late_events_of_an_older_epoch_are_stored(inside: Inside, database: Database) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        for each in (read(1, epoch=3), read(4, epoch=1), read(2, epoch=3), read(9, epoch=2)):
            await wire.send(batch(each))
            assert await wire.ack() == [(READER, each["stream_epoch"], each["seq"])]
    assert [row[:2] for row in await lines(database, "f", READER)] == [(1, 4), (2, 9), (3, 1), (3, 2)]
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 3


async def test_the_edges_of_the_numbers_are_good(inside: Inside, database: Database) -> None:
    highest = 2**53 - 1
    events = [read(seq, epoch=epoch) for epoch in (1, 2**31 - 1) for seq in (1, highest - 1, highest)]
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(*events))
        assert await wire.ack() == [(READER, 1, highest)]
        await wire.send(batch(*events))
        assert await wire.ack() == [(READER, 1, highest)]
    assert [row[:2] for row in await lines(database, "f", READER)] == [
        (each["stream_epoch"], each["seq"]) for each in events
    ]
    assert (await counts(database)).exact


@pytest.mark.parametrize("number", [0, -1, 2**53, 2**64, 1.5, "1", None, True])
@pytest.mark.parametrize("field", ["seq", "stream_epoch"])
async def test_a_number_beyond_the_edges_is_a_protocol_error(
    inside: Inside, field: str, number: object
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(read(1), {**read(2), field: number}))
        assert (await wire.expect("error"))["code"] == "PROTOCOL_ERROR"
        assert await wire.closed() == 1008


@pytest.mark.parametrize("field", ["reader_ip", "reader_timestamp", "read_type"])
@pytest.mark.parametrize("text", ["a\0b", "x" * 256, 7, None])
async def test_a_text_that_cannot_be_stored_is_a_protocol_error(
    inside: Inside, database: Database, field: str, text: object
) -> None:
    async with forwarder(inside.url, inside.token) as wire:
        await wire.send(batch(read(1), {**read(2), field: text}))
        assert (await wire.expect("error"))["code"] == "PROTOCOL_ERROR"
        assert await wire.closed() == 1008
    assert (await counts(database)).events == 0


async def acks(wire: Wire, count: int) -> list[int]:
    return [(await wire.ack())[0][2] for _ in range(count)]


async def test_batches_are_acked_one_by_one_in_their_order(inside: Inside, database: Database) -> None:
    # Alternating readers: the parts lie in different streams, which different drains may write.
    async with forwarder(inside.url, inside.token, ["a", "b", "c"]) as wire:
        for number in range(1, 41):
            await wire.send(batch(read(number, reader="abc"[number % 3])))
        assert await acks(wire, 40) == list(range(1, 41))
    assert (await counts(database)).events == 40


async def test_of_more_readers_than_a_forwarder_may_have_nothing_is_stored_or_acked_and_the_others_are(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "ASK_FOR_ROOM_AFTER_S", 0.0)
    async with connect(inside.url, inside.token) as wire:
        await wire.send(hello([f"reader {number}" for number in range(10_000)]))
        await wire.expect("heartbeat")
        assert await database.fetchval("SELECT count(*) FROM streams") == 256
        beyond = [read(1, reader="new"), read(2, reader="new", epoch=3)]
        await wire.send(batch(read(1, reader="reader 0"), *beyond, read(1, reader="reader 255")))
        assert await wire.ack() == [("reader 0", 1, 1), ("reader 255", 1, 1)]
        assert (await counts(database)).events == 2
        (complaint,) = await database.fetch("SELECT complaint FROM forwarder_faults")
        assert complaint[0].startswith("more than 256 readers; not taken: reader 1000, reader 1001, ")
        # A stream that was not used for a week keeps nobody out.
        await database.execute("""
            UPDATE streams SET created_at = now() - interval '8 days' WHERE reader_ip IN ('reader 0', 'reader 7')
        """)
        await wire.send(batch(*beyond, read(1, reader="newer")))
        assert await wire.ack() == [("new", 1, 1)]
        await database.execute("UPDATE stream_metrics SET last_received_at = now() - interval '8 days'")
        await wire.send(batch(*beyond, read(1, reader="newer"), read(2, reader="reader 7")))
        assert await wire.ack() == [("new", 1, 1), ("newer", 1, 1), ("reader 7", 1, 2)]


async def test_a_batch_of_nothing_but_readers_beyond_is_answered_after_a_while(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "REFUSE_AFTER_S", 0.6)
    async with forwarder(inside.url, inside.token, [f"reader {number}" for number in range(256)]) as wire:
        await wire.send(batch(read(1)))
        with pytest.raises(TimeoutError):
            await wire.ack(within_s=0.5)
        assert await wire.ack() == []
    assert (await counts(database)).events == 0

"""Splitting a batch into parts, and what its ack says: pure."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from gateway.batch import Batch, split
from shared.protocol.ipico import compose
from shared.protocol.v1 import ReadEvent

STREAMS: dict[str, UUID] = {"a": uuid4(), "b": uuid4()}
READ_AT = datetime(2026, 3, 7, 13, 48, 50, 500_000)  # noqa: DTZ001 - a reader's clock has no zone
LINE = compose(reader_id="00", tag_id="058000123b32", read_at=READ_AT)


def event(reader: str, epoch: int, seq: int, line: str | bytes = "") -> ReadEvent:
    return ReadEvent(
        reader_ip=reader,
        stream_epoch=epoch,
        seq=seq,
        reader_timestamp=f"t{seq}",
        raw_read_line=None if isinstance(line, bytes) else line,
        raw_frame=line if isinstance(line, bytes) else None,
        read_type="raw",
    )


async def made(*events: ReadEvent) -> Batch:
    batch = Batch(
        forwarder_id="f",
        session_id=uuid4(),
        fence=1,
        display_name=None,
        streams=STREAMS,
        batch_id=None,
        received_at=datetime.now(UTC),
        # As long as its lines would be in JSON, at the least.
        size=sum(len(each.raw_read_line or each.raw_frame or ()) for each in events),
        on_settled=lambda: None,
    )
    split(batch, events)
    return batch


def entries(batch: Batch) -> list[tuple[str, str, int, int]]:
    return [(each.forwarder_id, each.reader_ip, each.stream_epoch, each.last_seq) for each in batch.ack()]


async def test_a_batch_is_split_by_reader_and_epoch_in_the_order_of_appearance() -> None:
    batch = await made(
        event("b", 1, 1), event("a", 2, 7), event("b", 1, 2), event("a", 1, 9), event("a", 2, 6)
    )
    parts = [(part.reader_ip, part.stream_epoch, part.seqs, part.stream_id) for part in batch.parts]
    assert parts == [
        ("b", 1, [1, 2], STREAMS["b"]),
        ("a", 2, [7, 6], STREAMS["a"]),
        ("a", 1, [9], STREAMS["a"]),
    ]
    assert batch.event_count == 5


async def test_a_batch_that_is_split_in_two_steps_is_the_same_as_in_one() -> None:
    events = [event("a", 1, 1), event("b", 1, 1), event("a", 1, 2)]
    batch = await made(events[0])
    split(batch, events[1:])
    assert [part.seqs for part in batch.parts] == [[1, 2], [1]]


async def test_the_columns_of_a_part_say_what_the_lines_say() -> None:
    line = compose(reader_id="00", tag_id="058000123b32", read_at=READ_AT)
    batch = await made(event("a", 1, 1, line), event("a", 1, 2, "nothing\0🏁"))
    (part,) = batch.parts
    assert part.raw_frames == [line.encode(), "nothing\0🏁".encode()]
    assert part.tag_ids == ["058000123b32", None]
    assert part.read_ats == [READ_AT, None]
    assert part.parse_errors == [None, "length"]
    assert part.reader_timestamps == ["t1", "t2"]


@pytest.mark.parametrize("line", [LINE, LINE.encode()])
async def test_what_has_a_type_of_servers_is_stored_and_no_read_of_a_chip(line: str | bytes) -> None:
    internal = event("a", 1, 2, line)
    internal.read_type = "__status"
    batch = await made(event("a", 1, 1, line), internal, event("a", 1, 3, line))
    (part,) = batch.parts
    assert part.read_types == ["raw", "__status", "raw"]
    assert part.tag_ids == ["058000123b32", None, "058000123b32"]
    assert part.read_ats == [READ_AT, None, READ_AT]
    assert part.parse_errors == [None, "type", None]
    assert part.raw_frames == [LINE.encode()] * 3


async def test_text_and_bytes_are_parts_of_their_own_and_one_entry_in_the_ack() -> None:
    batch = await made(
        event("a", 1, 1, b"x\r\n"), event("a", 1, 2, "x"), event("a", 1, 3, b""), event("a", 1, 4, "")
    )
    assert [(part.framed, part.seqs, part.raw_frames) for part in batch.parts] == [
        (True, [1, 3], [b"x\r\n", b""]),
        (False, [2, 4], [b"x", b""]),
    ]
    assert entries(batch) == [("f", "a", 1, 4)]


async def test_the_columns_of_a_part_say_what_its_frames_say() -> None:
    line = compose(reader_id="00", tag_id="058000123b32", read_at=READ_AT).encode()
    batch = await made(
        event("a", 1, 1, line + b"\r\n"), event("a", 1, 2, b"\xff" + line), event("a", 1, 3, b"\n")
    )
    (part,) = batch.parts
    assert part.raw_frames == [line + b"\r\n", b"\xff" + line, b"\n"]
    assert part.tag_ids == ["058000123b32", None, None]
    assert part.read_ats == [READ_AT, None, None]
    assert part.parse_errors == [None, "length", "empty"]


async def test_the_ack_names_the_highest_seq_of_each_reader() -> None:
    batch = await made(event("a", 1, 3), event("b", 4, 8), event("a", 1, 2))
    assert entries(batch) == [("f", "a", 1, 3), ("f", "b", 4, 8)]


async def test_the_ack_of_several_epochs_of_a_reader_names_only_the_lowest() -> None:
    batch = await made(
        event("a", 2, 1), event("a", 1, 98), event("a", 3, 5), event("a", 1, 99), event("b", 2, 1)
    )
    assert entries(batch) == [("f", "a", 1, 99), ("f", "b", 2, 1)]


async def test_of_much_there_are_several_parts_and_one_entry_in_the_ack(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.batch.PART_EVENTS", 2)
    events = [event("a", 1, seq) for seq in (3, 1, 9, 2, 4)] + [event("b", 1, 1)]
    split_at_once = await made(*events[:2])
    for each in events[2:]:
        split(split_at_once, [each])
    assert [part.seqs for part in split_at_once.parts] == [[3, 1], [9, 2], [4], [1]]
    assert entries(split_at_once) == [("f", "a", 1, 9), ("f", "b", 1, 1)]


async def test_a_part_has_a_bound_in_bytes_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.batch.PART_BYTES", 40)
    batch = await made(*(event("a", 1, seq, "é" * 10) for seq in range(1, 6)))
    assert [part.seqs for part in batch.parts] == [[1, 2], [3, 4], [5]]
    assert [part.size for part in batch.parts] == [40, 40, 20]


async def test_a_part_of_frames_has_the_same_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.batch.PART_BYTES", 40)
    batch = await made(*(event("a", 1, seq, b"\xff" * 20) for seq in range(1, 6)))
    assert [part.seqs for part in batch.parts] == [[1, 2], [3, 4], [5]]


async def test_what_is_beyond_the_readers_and_epochs_of_a_batch_is_neither_stored_nor_acked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.batch.MAX_GROUPS", 2)
    beyond = [event("b", 1, 1), event("a", 1, 7), event("a", 4, 7)]
    batch = await made(event("a", 3, 5), event("c", 1, 1), *beyond, event("a", 3, 6))
    assert [(part.reader_ip, part.stream_epoch, part.seqs) for part in batch.parts] == [
        ("a", 3, [5, 6]),
        ("c", 1, [1]),
    ]
    # Nor is epoch 3 of a: that would say that everything before it is done.
    assert entries(batch) == [("f", "c", 1, 1)]

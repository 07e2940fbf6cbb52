"""The draining statement: each read exactly once, at the next position, counted, and its part's outcome told."""

import itertools
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.batch import split
from gateway.store import inbox as gateway_store
from shared.db.channels import OUTCOMES, POSITIONS
from shared.db.errors import DatabaseRefused
from shared.protocol.ipico import compose
from tests.failure.facts import Database, counts, lines
from tests.waiting import wait_until
from tests.writer.inbox import GATEWAY, add_stream, drain, empty_batch, event, outcomes, put, stage
from writer import store

HIGHEST = 2**63 - 1


async def metrics(database: Database, column: str) -> list[object]:
    rows = await database.fetch(f"SELECT {column} AS value FROM stream_metrics ORDER BY stream_epoch")
    return [row["value"] for row in rows]


async def test_new_reads_are_stored_at_the_next_positions_in_the_order_of_arrival(database: Database) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(2), event(1)])
    await put(database, stream_id, [event(1, epoch=3), event(3)])
    await drain(database)
    await put(database, stream_id, [event(7)])
    await drain(database)
    rows = await database.fetch("SELECT stream_epoch, seq FROM events ORDER BY position")
    assert [tuple(row) for row in rows] == [(1, 2), (1, 1), (3, 1), (1, 3), (1, 7)]
    assert await database.fetchval("SELECT last_position FROM streams") == 5
    assert await database.fetchval("SELECT count(*) FROM inbox") == 0


async def test_parts_of_any_length_come_out_as_they_went_in(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gateway_store, "BUNDLE_EVENTS", 5)
    stream_id = await add_stream(database)
    line = compose(reader_id="00", tag_id="058000123b32", read_at=datetime(2026, 3, 7, 13, 48, 50))  # noqa: DTZ001
    lengths, seqs = [1, 3, 1, 7, 2, 1], itertools.count(1)
    batch = empty_batch(stream_id)
    for epoch, length in enumerate(lengths, start=1):
        split(
            batch,
            [
                event(seq, line if seq % 2 else b"\xff\r\n", epoch=epoch)
                for seq in itertools.islice(seqs, length)
            ],
        )
    await stage(database, batch)
    rows = await database.fetch("SELECT * FROM inbox ORDER BY arrival")
    assert [row["part_id"] for row in rows] == [part.part_id for part in batch.parts]
    for row, part in zip(rows, batch.parts, strict=True):
        assert row["event_count"] == len(part.seqs)
        for column in (
            "seqs",
            "raw_frames",
            "reader_timestamps",
            "read_types",
            "tag_ids",
            "read_ats",
            "parse_errors",
            "framed",
        ):
            assert row[column] == getattr(part, column)


async def test_the_notification_of_new_positions_names_the_streams_up_to_what_it_can_say(
    database: Database,
) -> None:
    received: list[str] = []
    await database.add_listener(POSITIONS, lambda *notification: received.append(str(notification[3])))
    few = [await add_stream(database, f"few {number}") for number in range(2)]
    for stream_id in few:
        await put(database, stream_id, [event(1)])
    await drain(database)
    await wait_until(lambda: received, what="the notification")
    assert {UUID(each) for each in received[0].split(",")} == set(few)
    for number in range(201):
        await put(database, await add_stream(database, f"many {number}"), [event(1)])
    await drain(database)
    await wait_until(lambda: len(received) == 2, what="another")
    assert received[1] == ""


async def test_a_gateway_is_told_the_receipts_of_its_parts_where_all_of_them_were_stored(
    database: Database,
) -> None:
    told: list[str] = []
    await database.add_listener(OUTCOMES, lambda *notification: told.append(str(notification[3])))
    stream_id, other = await add_stream(database), uuid4()
    await put(database, stream_id, [event(1)])
    await put(database, stream_id, [event(1), event(2)])  # one of them a retransmit
    await put(database, stream_id, [event(3)], gateway_id=other)
    receipts = await database.fetch(
        "SELECT gateway_id, array_agg(receipt) AS drawn FROM inbox GROUP BY gateway_id ORDER BY gateway_id"
    )
    assert not told
    await drain(database)
    await wait_until(lambda: len(told) == 2, what="both gateways to be told")
    named = [
        (gateway_id, {int(each) for each in drawn.split(",")}) for gateway_id, drawn in map(str.split, told)
    ]
    assert sorted(named) == [(str(row["gateway_id"]), set(row["drawn"])) for row in receipts]


async def test_a_gateway_is_told_to_look_where_receipts_do_not_say_all(database: Database) -> None:
    told: list[str] = []
    await database.add_listener(OUTCOMES, lambda *notification: told.append(str(notification[3])))
    stream_id = await add_stream(database)

    async def drained() -> str:
        await drain(database)
        await wait_until(lambda: told, what="the gateway to be told")
        return told.pop()

    await put(database, stream_id, [event(1)])
    assert await drained() != str(GATEWAY)
    await put(database, stream_id, [event(2)])
    await put(database, stream_id, [event(1, "another")])
    assert await drained() == str(GATEWAY), "one of them is a conflict"
    await put(database, stream_id, [event(3)])
    await database.execute("UPDATE inbox SET receipt = NULL")
    assert await drained() == str(GATEWAY), "of a gateway of the release before"
    for seq in range(4, 4 + 381):
        await put(database, stream_id, [event(seq)])
    assert await drained() == str(GATEWAY), "more than a payload holds"
    for seq in range(400, 400 + 380):
        await put(database, stream_id, [event(seq)])
    await database.execute(
        "UPDATE inbox SET receipt = 9223372036854775807 - part_id"
    )  # as long as any can be
    assert len((await drained()).split(",")) == 380


async def test_the_same_bytes_again_are_a_retransmit_within_a_part_and_across(database: Database) -> None:
    stream_id = await add_stream(database)
    first = await put(database, stream_id, [event(1), event(1), event(2)])
    second = await put(database, stream_id, [event(2), event(3)])
    drained = await drain(database)
    third = await put(database, stream_id, [event(3), event(1)])
    await drain(database)
    assert drained is not None
    assert (drained.stored, drained.retransmitted, drained.conflicting) == (3, 2, 0)
    assert await outcomes(database) == dict.fromkeys(first + second + third, "stored")
    assert await counts(database) == (7, 3, 4, 0, 3, 0, 3)


async def test_other_bytes_under_an_identity_are_kept_aside_once_and_counted_each_time(
    database: Database,
) -> None:
    stream_id = await add_stream(database)
    (first,) = await put(database, stream_id, [event(1, "mine"), event(1, "yours"), event(2)])
    await drain(database)
    (second,) = await put(database, stream_id, [event(1, "yours"), event(1, "theirs")])
    (third,) = await put(database, stream_id, [event(1, "mine")])
    drained = await drain(database)
    assert drained is not None
    assert drained.conflicts == [store.Conflict(stream_id, 1, 1)] * 2
    assert await lines(database, "f", "r") == [(1, 1, "mine"), (1, 2, "line 2")]
    rows = await database.fetch("SELECT kept_hash, rejected_frame FROM integrity_conflicts ORDER BY 2")
    mine = sha256(b"mine").digest()
    assert [tuple(row) for row in rows] == [(mine, b"theirs"), (mine, b"yours")]
    assert await outcomes(database) == {first: "conflict", second: "conflict", third: "stored"}
    assert await counts(database) == (6, 2, 1, 3, 2, 2, 2)


async def test_the_same_line_in_the_other_form_is_a_retransmit(database: Database) -> None:
    stream_id = await add_stream(database)
    first = await put(database, stream_id, [event(1, "one"), event(2, b"two\r\n"), event(3, b"three\n")])
    await drain(database)
    again = [
        event(1, b"one\r\n"),
        event(2, "two"),
        event(3, "three\r\n"),
        event(4, b"four\n"),
        event(4, "four"),
    ]
    second = await put(database, stream_id, again)
    drained = await drain(database)
    assert drained is not None
    assert (drained.stored, drained.retransmitted, drained.conflicting) == (1, 4, 0)
    assert await outcomes(database) == dict.fromkeys(first + second, "stored")
    rows = await database.fetch("SELECT raw_frame, framed FROM events ORDER BY seq")
    assert [tuple(row) for row in rows] == [
        (b"one", False),
        (b"two\r\n", True),
        (b"three\n", True),
        (b"four\n", True),
    ]


async def test_a_conflict_keeps_what_came(database: Database) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1, "one"), event(2, b"two\n\r\n")])
    await put(database, stream_id, [event(1, b"One\r\n"), event(2, b"two\r\n"), event(2, "two")])
    drained = await drain(database)
    assert drained is not None
    assert (drained.stored, drained.retransmitted, drained.conflicting) == (2, 0, 3)
    rows = await database.fetch("SELECT rejected_frame, framed FROM integrity_conflicts ORDER BY 2, 1")
    assert [tuple(row) for row in rows] == [(b"two", False), (b"One\r\n", True), (b"two\r\n", True)]


async def test_a_part_of_a_session_that_was_taken_over_is_not_written(database: Database) -> None:
    stream_id = await add_stream(database)
    await database.execute(
        "INSERT INTO forwarder_sessions (forwarder_id, session_id, fence, gateway_id, token_id)"
        " VALUES ('f', gen_random_uuid(), 8, gen_random_uuid(), gen_random_uuid())"
    )
    (old,) = await put(database, stream_id, [event(1, "old")], fence=7)
    (new,) = await put(database, stream_id, [event(1, "new")], fence=8)
    await drain(database)
    assert await outcomes(database) == {old: "fenced", new: "stored"}
    assert await lines(database, "f", "r") == [(1, 1, "new")]
    assert (await counts(database)).exact


async def test_a_drain_takes_the_oldest_parts_up_to_its_bound_but_at_least_one(database: Database) -> None:
    stream_id = await add_stream(database)
    parts = [
        (await put(database, stream_id, [event(first + n) for n in range(10)]))[0]
        for first in (1, 11, 21, 31)
    ]
    await drain(database, max_events=15)
    assert list(await outcomes(database)) == parts[:2]
    await drain(database, max_events=1)
    assert list(await outcomes(database)) == parts[:3]


async def test_a_drain_takes_parts_up_to_its_bound_in_bytes_but_at_least_one(database: Database) -> None:
    stream_id, mib = await add_stream(database), 1024 * 1024
    for seq in range(1, 13):
        await put(database, stream_id, [event(seq, "x" * mib)])
    await put(database, stream_id, [event(13, "x" * 10 * mib)])
    await put(database, stream_id, [event(14)])
    stored = []
    for _ in range(4):
        await drain(database)
        stored.append(await database.fetchval("SELECT max(seq) FROM events"))
    assert stored == [8, 13, 14, 14]


async def test_a_drain_tells_whether_it_left_anything(database: Database, database_url: str) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1), event(2)])
    await put(database, stream_id, [event(3)])
    first, second = await drain(database, max_events=2), await drain(database)
    assert first is not None
    assert second is not None
    assert (first.left, second.left) == (True, False)
    other = await add_stream(database, "held")
    await put(database, stream_id, [event(4)])
    await put(database, other, [event(1)])
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("SELECT FROM streams WHERE stream_id = $1 FOR UPDATE", other)
        beside = await drain(database)
    await holder.close()
    assert beside is not None
    assert beside.left


async def test_a_drain_of_one_part_leaves_the_others(database: Database) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1)])
    (second,) = await put(database, stream_id, [event(2)])
    await drain(database, only=store.PartKey(GATEWAY, second))
    assert await outcomes(database) == {second: "stored"}
    assert [row[1] for row in await lines(database, "f", "r")] == [2]


async def test_an_epoch_moves_the_stream_on_and_never_back(database: Database) -> None:
    stream_id = await add_stream(database)
    for epoch, expected in ((4, 4), (2, 4), (5, 5)):
        await put(database, stream_id, [event(1, epoch=epoch)])
        await drain(database)
        assert await database.fetchval("SELECT stream_epoch FROM streams") == expected


async def test_what_a_drain_refuses_leaves_everything_as_it_was(database: Database) -> None:
    stream_id = await add_stream(database)
    await database.execute("ALTER TABLE events ADD CHECK (raw_frame <> 'poison')")
    await put(database, stream_id, [event(1), event(2, "poison")])
    with pytest.raises(DatabaseRefused):
        await drain(database)
    assert await outcomes(database) == {}
    assert await counts(database) == (0, 0, 0, 0, 0, 0, 0)
    assert await database.fetchval("SELECT count(*) FROM inbox") == 1


async def test_metrics_tell_of_lines_chips_and_times(database: Database) -> None:
    stream_id = await add_stream(database)
    tags = ["058000000001", "058000000002", "058000000001"]
    read_at = datetime(2026, 3, 7, 13, 48, 50)  # noqa: DTZ001 - a reader's clock has no zone
    read_lines = [compose(reader_id="00", tag_id=tag, read_at=read_at) for tag in tags]
    await put(database, stream_id, [event(n, line) for n, line in enumerate(read_lines, start=1)])
    await put(database, stream_id, [event(4, "garbage")])
    await drain(database)
    await put(database, stream_id, [event(5, read_lines[1]), event(5, "conflict")])
    await drain(database)
    assert await metrics(database, "(unparsed_count, chip_count, first_seq, last_seq)") == [(1, 2, 1, 5)]
    assert await metrics(database, "(last_tag_id, last_reader_timestamp)") == [(tags[1], "t5")]


@pytest.mark.parametrize(
    ("drains", "missing"),
    [
        ([[1, 2, 3]], []),
        ([[3]], [(1, 3)]),
        ([[2, 5], [1], [4]], [(3, 4)]),
        ([[HIGHEST]], [(1, HIGHEST)]),
        ([[HIGHEST - 1], [HIGHEST], [1]], [(2, HIGHEST - 1)]),
        ([list(range(2, 5000, 2))], [(n, n + 1) for n in range(1, 2000, 2)]),
    ],
)
async def test_the_first_gaps_of_an_epoch_are_known(
    database: Database, drains: list[list[int]], missing: list[tuple[int, int]]
) -> None:
    stream_id = await add_stream(database)
    for seqs in drains:
        await put(database, stream_id, [event(seq) for seq in seqs])
        await drain(database)
    (found,) = await metrics(database, "missing")
    assert isinstance(found, list)
    assert [(gap.lower, gap.upper) for gap in found] == missing


# A line is (seq, one of two texts): few enough of both that copies and conflicts are frequent.
_READ = st.tuples(st.integers(1, 6), st.sampled_from("ab"), st.integers(1, 2))
_DRAINS = st.lists(st.lists(st.lists(_READ, min_size=1, max_size=6), min_size=1, max_size=4), max_size=5)


class _Model:
    """What the table must hold and the counters must say, in ten lines."""

    def __init__(self) -> None:
        self.stored: dict[tuple[int, int], str] = {}
        self.retransmits = self.conflicts = 0
        self.rejected: set[tuple[int, int, str]] = set()

    def take(self, seq: int, text: str, epoch: int) -> None:
        kept = self.stored.setdefault((epoch, seq), "")
        if not kept:
            self.stored[epoch, seq] = text
        elif kept == text:
            self.retransmits += 1
        else:
            self.conflicts += 1
            self.rejected.add((epoch, seq, text))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drains=_DRAINS)
async def test_any_mixture_of_copies_and_conflicts_is_judged_as_by_the_model(
    database: Database, drains: Sequence[Sequence[Sequence[tuple[int, str, int]]]]
) -> None:
    await database.execute("TRUNCATE streams, events, stream_metrics, integrity_conflicts CASCADE")
    stream_id = await add_stream(database)
    model = _Model()
    for parts in drains:
        for part in parts:
            await put(database, stream_id, [event(seq, text, epoch=epoch) for seq, text, epoch in part])
            # Within a batch the parts go by epoch, in the order in which these first appear.
            order = list(dict.fromkeys(epoch for _, _, epoch in part))
            for read in sorted(part, key=lambda read: order.index(read[2])):
                model.take(*read)
        await drain(database)
        now = await counts(database)
        assert now.exact
        assert now[1:4] == (len(model.stored), model.retransmits, model.conflicts)
        assert now.quarantined == len(model.rejected)
    found = await lines(database, "f", "r")
    assert {(epoch, seq): line for epoch, seq, line in found} == model.stored
    rows = await database.fetch(
        "SELECT stream_epoch, seq, kept_hash, rejected_frame FROM integrity_conflicts"
    )
    assert {(epoch, seq, line.decode()) for epoch, seq, _, line in rows} == model.rejected
    assert all(kept == sha256(model.stored[epoch, seq].encode()).digest() for epoch, seq, kept, _ in rows)


async def test_what_is_written_under_no_lock_cannot_double_a_position(database: Database) -> None:
    # The schema's own net under the row lock.
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1)])
    await drain(database)
    with pytest.raises(asyncpg.UniqueViolationError):
        await database.execute(
            "INSERT INTO events SELECT stream_id, stream_epoch, seq + 1, position, received_at, read_at,"
            " raw_frame, reader_timestamp, read_type, tag_id, parse_error FROM events"
        )

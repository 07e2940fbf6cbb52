"""What the fanout's statements promise, and that the hot ones keep to their indexes."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from fanout import store
from fanout.store import CursorKey
from shared.database import STEADY_PLANS, Connection, connect
from shared.messages import StreamRef
from shared.process import Process
from tests.delivery import stored
from tests.fanout.conftest import READER

_STREAM = "'00000000-0000-0000-0000-000000000001'"
_PARAMETERS = {
    "_READ_TAILS": (
        "uuid[], bigint[], bigint, bigint, bigint",
        f"ARRAY[{_STREAM}]::uuid[], '{{5}}', 9, 9, 9",
    ),
    "_EPOCH_PAGE": ("uuid, bigint, bigint, bigint, bigint", f"{_STREAM}, 1, 5, 9, 9"),
    "_POSITION_PAGE": ("uuid, bigint, bigint, bigint", f"{_STREAM}, 5, 9, 9"),
    "_RESOLVE": ("text[], text[]", "'{start}', '{10.0.0.1:10000}'"),
    "_STARTING_POINTS": ("text, uuid[]", f"'tent', ARRAY[{_STREAM}]::uuid[]"),
    "_ADVANCE": (
        "text[], uuid[], bigint[], bigint[]",
        f"'{{tent}}', ARRAY[{_STREAM}]::uuid[], '{{1}}', '{{9}}'",
    ),
    "_BEGIN": ("uuid, text, uuid, uuid", f"gen_random_uuid(), 'tent', {_STREAM}, {_STREAM}"),
    "_SUBSCRIBE": ("uuid, uuid[]", f"{_STREAM}, '{{}}'"),
    "_END": ("uuid", _STREAM),
}
_TABLES = ("events", "streams", "stream_metrics", "receiver_cursors", "receiver_sessions", "processes")


@pytest.fixture
async def steady(database_url: str, database: Connection) -> AsyncIterator[Connection]:
    """A connection with the fanout's settings, in a database whose statistics invite to read tables whole."""
    stream_id = await stored.make_stream(database, "start", READER)
    await stored.store_many(database, stream_id, 50)
    await database.execute("ANALYZE")
    connection = await connect(database_url, name="plans", **STEADY_PLANS)
    yield connection
    await connection.close()


async def plan(connection: Connection, statement: str) -> str:
    types, values = _PARAMETERS[statement]
    await connection.execute(f"PREPARE hot ({types}) AS {getattr(store, statement)}")
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE hot ({values})"))


@pytest.mark.parametrize("statement", _PARAMETERS)
async def test_no_statement_reads_a_table_whole(steady: Connection, statement: str) -> None:
    found = await plan(steady, statement)
    assert not [table for table in _TABLES if f"Seq Scan on {table}" in found], found


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("_READ_TAILS", "events_stream_id_position_key"),
        ("_POSITION_PAGE", "events_stream_id_position_key"),
        ("_EPOCH_PAGE", "events_pkey"),
    ],
)
async def test_events_are_read_along_an_index_and_never_sorted(
    steady: Connection, statement: str, index: str
) -> None:
    found = await plan(steady, statement)
    assert f"Index Scan using {index} on events" in found, found
    assert "Sort" not in found, found


# --- reading tails ---


async def test_tails_are_read_each_from_its_own_position(database: Connection) -> None:
    one, two, three = [await stored.make_stream(database, "start", f"10.0.0.{n}:1") for n in range(3)]
    await stored.store_many(database, one, 5)
    await stored.store_many(database, two, 5)
    news = await store.read_tails(database, {one: 3, two: 0, three: 0})
    assert {id_: [row.position for row in rows] for id_, rows in news.events.items()} == {
        one: [4, 5],
        two: [1, 2, 3, 4, 5],
    }
    assert not news.more


async def test_one_read_of_one_stream_is_bounded_in_events_and_in_bytes(
    database: Connection, stream_id: UUID
) -> None:
    long = await stored.make_stream(database, "finish", READER)
    await stored.store_many(database, stream_id, store.READ_EVENTS + 1)
    await stored.store(database, long, [(1, seq, b"x" * 300_000) for seq in range(1, 8)])
    news = await store.read_tails(database, {stream_id: 0, long: 0})
    assert (len(news.events[stream_id]), len(news.events[long]), news.more) == (store.READ_EVENTS, 4, True)


async def test_one_read_of_many_streams_is_bounded_too(
    database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "READ_ALL_EVENTS", 12)
    ids = [await stored.make_stream(database, "start", f"10.0.0.{n}:1") for n in range(4)]
    for each in ids:
        await stored.store_many(database, each, 5)
    heads = dict.fromkeys(ids, 0)
    rounds = 0
    more = True
    while more:
        news, more = await store.read_tails(database, heads)
        rounds += 1
        assert sum(len(rows) for rows in news.values()) <= 12
        for each, rows in news.items():
            assert [row.position for row in rows] == list(range(heads[each] + 1, heads[each] + len(rows) + 1))
            heads[each] += len(rows)
    assert (set(heads.values()), rounds) == ({5}, 2)


# --- where a receiver starts ---


async def test_a_starting_point_is_one_snapshot_of_the_stream_and_the_cursors(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 3, b"a"), (2, 7, b"b"), (1, 9, b"c")])
    await store.advance_cursors(
        process.pool, {CursorKey("tent", stream_id, 1): 3, CursorKey("bar", stream_id, 2): 7}
    )
    points = await store.starting_points(process.pool, "tent", [stream_id, uuid4()])
    assert points == {stream_id: store.StartingPoint(3, {1: 9, 2: 7}, {1: 3})}


async def test_a_cursor_beyond_what_is_stored_is_void_and_stays_void(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a"), (2, 5, b"a")])
    for epoch, last_seq in ((1, 5), (2, 5), (3, 1)):
        await database.execute(
            "INSERT INTO receiver_cursors VALUES ('tent', $1, $2, $3)", stream_id, epoch, last_seq
        )
    await store.starting_points(process.pool, "tent", [stream_id])
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in range(2, 8)])
    points = await store.starting_points(process.pool, "tent", [stream_id])
    assert points[stream_id].cursors == {2: 5}


# --- cursors ---


async def cursors(database: Connection) -> dict[tuple[str, int], int]:
    rows = await database.fetch("SELECT receiver_id, stream_epoch, last_seq FROM receiver_cursors")
    return {(row["receiver_id"], row["stream_epoch"]): row["last_seq"] for row in rows}


async def test_a_cursor_moves_forward_only_and_never_past_what_is_stored(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, seq, b"a") for seq in range(1, 11)])
    for asked, then in ((5, 5), (3, 5), (2**63 - 1, 10), (9, 10)):
        await store.advance_cursors(process.pool, {CursorKey("tent", stream_id, 1): asked})
        assert await cursors(database) == {("tent", 1): then}


async def test_cursors_of_what_is_not_stored_fall_out(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store(database, stream_id, [(1, 1, b"a")])
    await store.advance_cursors(
        process.pool,
        {
            CursorKey("tent", uuid4(), 1): 1,
            CursorKey("tent", stream_id, 2): 1,
            CursorKey("tent", stream_id, 1): 1,
        },
    )
    assert await cursors(database) == {("tent", 1): 1}


# --- sessions ---


async def test_rows_of_sessions_that_ended_unseen_are_forgotten_and_others_are_not(
    process: Process, database: Connection
) -> None:
    ours, theirs, gone = uuid4(), uuid4(), uuid4()
    for fanout_id in (ours, theirs):
        await database.execute(
            "INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, lease_expires_at)"
            " VALUES ($1, 'fanout', '', 1, '', '', false, now())",
            fanout_id,
        )
    rows = {
        name: (uuid4(), fanout_id, minutes)
        for name, fanout_id, minutes in (
            ("live", ours, 9),
            ("ended", ours, 9),
            ("began meanwhile", ours, 0),
            ("of another node", theirs, 9),
            ("of a node that is gone", gone, 0),
        )
    }
    for name, (session_id, fanout_id, minutes) in rows.items():
        await database.execute(
            "INSERT INTO receiver_sessions (session_id, receiver_id, fanout_id, token_id, connected_at)"
            " VALUES ($1, $2, $3, $1, now() - make_interval(mins => $4))",
            session_id,
            name,
            fanout_id,
            minutes,
        )
    await store.forget_other_sessions(process.pool, ours, [rows["live"][0]])
    left = {row[0] for row in await database.fetch("SELECT receiver_id FROM receiver_sessions")}
    assert left == {"live", "began meanwhile", "of another node"}


async def test_names_are_resolved_to_the_streams_that_exist(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 7)
    there, not_there = StreamRef("start", READER), StreamRef("start", "10.9.9.9:1")
    found = await store.resolve_streams(process.pool, [there, not_there])
    assert found == {there: store.Resolved(stream_id, 7)}

"""What the fanout's statements promise, and that the hot ones keep to their indexes."""

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from fanout.store import cursors as cursor_store
from fanout.store import events as event_store
from fanout.store import races as race_store
from fanout.store import reported as reported_store
from fanout.store import sessions as session_store
from fanout.store import starting_points as begins
from fanout.store import stream_metrics
from fanout.store import streams as stream_store
from shared.db.connections import STEADY_PLANS, Connection, connect
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from tests.delivery import stored
from tests.fanout.conftest import READER

_STREAM = "'00000000-0000-0000-0000-000000000001'"
_LATE = ("uuid, bigint, bigint, bigint, bigint, bigint, bigint, bigint", f"{_STREAM}, 1, 5, 9, 9, 20, 9, 9")
# Text, types and values of each.
_STATEMENTS = {
    "tails": (
        event_store.READ_TAILS,
        "uuid[], bigint[], bigint, bigint, bigint",
        f"ARRAY[{_STREAM}]::uuid[], '{{5}}', 9, 9, 9",
    ),
    "epoch page": (event_store.EPOCH_PAGE, "uuid, bigint, bigint, bigint, bigint", f"{_STREAM}, 1, 5, 9, 9"),
    "position page": (event_store.POSITION_PAGE, "uuid, bigint, bigint, bigint", f"{_STREAM}, 5, 9, 9"),
    "late by seq": (event_store.LATE["by_seq"], *_LATE),
    "late by position": (event_store.LATE["by_position"], *_LATE),
    "resolve": (stream_store.RESOLVE, "text[], text[]", "'{start}', '{10.0.0.1:10000}'"),
    "starting points": (
        begins.STARTING_POINTS,
        "text, uuid[], text",
        f"'tent', ARRAY[{_STREAM}]::uuid[], '{{}}'",
    ),
    "begin epochs": (
        cursor_store.BEGIN_EPOCHS,
        "text, uuid, bigint[], boolean[]",
        f"'tent', {_STREAM}, '{{1}}', '{{true}}'",
    ),
    "advance": (
        cursor_store.ADVANCE,
        "bigint[], bigint[], bigint[], bigint[], boolean[]",
        "'{7}', '{1}', '{9}', '{1}', '{false}'",
    ),
    "flag": (cursor_store.FLAG, "bigint[], boolean[]", "'{7}', '{true}'"),
    "gone": (cursor_store.GONE, "bigint[]", "'{7}'"),
    "begin": (
        session_store.BEGIN,
        "uuid, text, uuid, uuid, uuid",
        f"gen_random_uuid(), 'tent', {_STREAM}, {_STREAM}, {_STREAM}",
    ),
    "subscribe": (session_store.SUBSCRIBE, "uuid, uuid[]", f"{_STREAM}, '{{}}'"),
    "end": (session_store.END, "uuid", _STREAM),
    "mappings": (race_store.MAPPINGS, "uuid[]", f"ARRAY[{_STREAM}]::uuid[]"),
    "stream metrics": (stream_metrics.STREAM_METRICS, "uuid[]", f"ARRAY[{_STREAM}]::uuid[]"),
    "reported": (reported_store.REPORTED, "uuid[]", f"ARRAY[{_STREAM}]::uuid[]"),
}
_TABLES = (
    "events",
    "streams",
    "stream_metrics",
    "receiver_cursors",
    "receiver_sessions",
    "races",
    "epoch_races",
    "processes",
)


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
    text, types, values = _STATEMENTS[statement]
    await connection.execute(f"PREPARE hot ({types}) AS {text}")
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE hot ({values})"))


@pytest.mark.parametrize("statement", _STATEMENTS)
async def test_no_statement_reads_a_table_whole(steady: Connection, statement: str) -> None:
    found = await plan(steady, statement)
    assert not [table for table in _TABLES if f"Seq Scan on {table}" in found], found


@pytest.mark.parametrize(
    ("statement", "index"),
    [
        ("tails", "events_stream_id_position_key"),
        ("position page", "events_stream_id_position_key"),
        ("epoch page", "events_pkey"),
        ("late by seq", "events_pkey"),
    ],
)
async def test_events_are_read_along_an_index_and_never_sorted(
    steady: Connection, statement: str, index: str
) -> None:
    found = await plan(steady, statement)
    assert f"Index Scan using {index} on events" in found, found
    assert "Sort" not in found, found


async def test_late_events_by_position_are_sought_among_what_was_stored_since(steady: Connection) -> None:
    found = await plan(steady, "late by position")
    assert "Index Scan using events_stream_id_position_key on events" in found, found
    assert "events_pkey" not in found, found


# --- reading tails ---


async def test_tails_are_read_each_from_its_own_position(database: Connection) -> None:
    one, two, three = [await stored.make_stream(database, "start", f"10.0.0.{n}:1") for n in range(3)]
    await stored.store_many(database, one, 5)
    await stored.store_many(database, two, 5)
    news = await event_store.read_tails(database, {one: 3, two: 0, three: 0})
    assert {id_: [row.position for row in rows] for id_, rows in news.events.items()} == {
        one: [4, 5],
        two: [1, 2, 3, 4, 5],
    }
    assert not news.more


async def test_one_read_of_one_stream_is_bounded_in_events_and_in_bytes(
    database: Connection, stream_id: UUID
) -> None:
    long = await stored.make_stream(database, "finish", READER)
    await stored.store_many(database, stream_id, event_store.READ_EVENTS + 1)
    await stored.store(database, long, [(1, seq, b"x" * 300_000) for seq in range(1, 8)])
    news = await event_store.read_tails(database, {stream_id: 0, long: 0})
    assert (len(news.events[stream_id]), len(news.events[long]), news.more) == (
        event_store.READ_EVENTS,
        4,
        True,
    )


async def test_one_read_of_many_streams_is_bounded_too(
    database: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_store, "READ_ALL_EVENTS", 12)
    ids = [await stored.make_stream(database, "start", f"10.0.0.{n}:1") for n in range(4)]
    for each in ids:
        await stored.store_many(database, each, 5)
    heads = dict.fromkeys(ids, 0)
    rounds = 0
    more = True
    while more:
        news, more = await event_store.read_tails(database, heads)
        rounds += 1
        assert sum(len(rows) for rows in news.values()) <= 12
        for each, rows in news.items():
            assert [row.position for row in rows] == list(range(heads[each] + 1, heads[each] + len(rows) + 1))
            heads[each] += len(rows)
    assert (set(heads.values()), rounds) == ({5}, 2)


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
    await session_store.forget_other_sessions(process.pool, ours, [rows["live"][0]])
    left = {row[0] for row in await database.fetch("SELECT receiver_id FROM receiver_sessions")}
    assert left == {"live", "began meanwhile", "of another node"}


async def test_names_are_resolved_to_the_streams_that_exist(
    process: Process, database: Connection, stream_id: UUID
) -> None:
    await stored.store_many(database, stream_id, 7)
    there, not_there = StreamRef("start", READER), StreamRef("start", "10.9.9.9:1")
    found = await stream_store.resolve_streams(process.pool, [there, not_there])
    assert found == {there: stream_store.Resolved(stream_id, 7)}

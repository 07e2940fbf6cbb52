"""The hot statements keep to their indexes, whatever the statistics say."""

from collections.abc import AsyncIterator

import pytest

from shared.database import STEADY_PLANS, connect
from tests.failure.facts import Database
from tests.writer.inbox import add_stream, drain, event, put
from writer import store

_PARAMETERS = {
    store._LOCK: ("uuid[], integer, uuid", "'{}', 500, NULL"),
    store._DRAIN: ("uuid[], integer, uuid, bigint, boolean", "'{}', 5000, NULL, NULL, false"),
}


@pytest.fixture
async def steady(database_url: str) -> AsyncIterator[Database]:
    """A connection with the drain's settings, in a database with a few rows in it."""
    connection = await connect(database_url, name="plans", **STEADY_PLANS)
    stream_id = await add_stream(connection)
    await put(connection, stream_id, [event(seq) for seq in range(1, 200)])
    await drain(connection)
    await put(connection, stream_id, [event(seq) for seq in range(150, 250)])
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def plan(connection: Database, statement: str) -> str:
    types, values = _PARAMETERS[statement]
    await connection.execute(f"PREPARE hot ({types}) AS {statement}")
    await connection.execute(f"EXECUTE hot ({values})")
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN EXECUTE hot ({values})"))


async def test_a_drain_looks_each_read_up_by_its_key(steady: Database) -> None:
    found = await plan(steady, store._DRAIN)
    assert "Index Scan using events_pkey on events" in found
    for table in ("events", "streams", "stream_metrics", "forwarder_sessions"):
        assert f"Seq Scan on {table}" not in found, found


async def test_a_lock_looks_each_stream_up_by_its_key(steady: Database) -> None:
    found = await plan(steady, store._LOCK)
    assert "Index Scan using streams_pkey on streams" in found
    assert "using stream_metrics_pkey" in found
    for table in ("streams", "stream_metrics"):
        assert f"Seq Scan on {table}" not in found, found

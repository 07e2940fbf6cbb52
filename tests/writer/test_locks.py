"""Which streams a drain gets: free ones, those that wait longest first, never one that somebody else works on."""

from collections.abc import AsyncIterator
from uuid import UUID

import asyncpg
import pytest

from shared.db.errors import RowLocked
from tests.failure.facts import Database, counts
from tests.writer.inbox import add_stream, drain, event, put
from writer import store


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Database]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def streams_with_parts(database: Database, count: int) -> list[UUID]:
    found = [await add_stream(database, f"f{number}") for number in range(count)]
    for stream_id in found:
        await put(database, stream_id, [event(1)])
    return found


async def test_a_stream_that_another_writer_holds_is_skipped(database: Database, second: Database) -> None:
    streams = await streams_with_parts(database, 3)
    async with second.transaction():
        assert (await store.lock_streams(second, limit=2)).locked == streams[:2]
        async with database.transaction():
            assert await store.lock_streams(database, limit=5) == store.Locked(streams[2:], [])


async def test_the_streams_that_wait_longest_come_first(database: Database) -> None:
    one, two, three = await streams_with_parts(database, 3)
    await put(database, three, [event(2)])
    async with database.transaction():
        assert (await store.lock_streams(database, limit=2)).locked == [one, two]
    await store.drain(database, max_streams=1, max_events=1)
    await put(database, one, [event(2)])
    async with database.transaction():
        assert (await store.lock_streams(database, limit=2)).locked == [two, three]


async def test_streams_can_be_left_out_or_named(database: Database) -> None:
    one, two, three = await streams_with_parts(database, 3)
    async with database.transaction():
        assert (await store.lock_streams(database, limit=9, but=[two])).locked == [one, three]
        assert (await store.lock_streams(database, limit=9, only=two)).locked == [two]


async def test_a_stream_whose_counts_are_being_deleted_rests(database: Database, second: Database) -> None:
    one, two = await streams_with_parts(database, 2)
    await drain(database)
    for stream_id in (one, two):
        await put(database, stream_id, [event(1, epoch=2)])
    async with second.transaction():
        await second.execute("DELETE FROM stream_metrics WHERE stream_id = $1", one)
        async with database.transaction():
            assert await store.lock_streams(database, limit=5) == store.Locked([two], [one])
    async with database.transaction():
        assert await store.lock_streams(database, limit=5) == store.Locked([one, two], [])


async def test_counts_that_a_drain_holds_cannot_be_deleted_meanwhile(
    database: Database, second: Database
) -> None:
    # Else the drain would add to a row that is gone, and what was deleted would be counted again.
    (stream_id,) = await streams_with_parts(database, 1)
    await drain(database)
    await put(database, stream_id, [event(2)])
    await second.execute("SET lock_timeout = '100ms'")
    async with database.transaction():
        await store.lock_streams(database, limit=1)
        with pytest.raises(asyncpg.LockNotAvailableError):
            await second.execute("DELETE FROM stream_metrics")
        await database.execute("SELECT store_parts($1, 10, NULL, NULL, false)", [stream_id])
    await second.execute("DELETE FROM stream_metrics")
    await put(database, stream_id, [event(3)])
    await drain(database)
    assert (await counts(database))[:2] == (1, 1)


async def test_a_row_that_somebody_else_holds_is_not_waited_for_long(
    database: Database, second: Database
) -> None:
    (stream_id,) = await streams_with_parts(database, 1)
    await drain(database)
    await put(database, stream_id, [event(1, "another"), event(2, epoch=2)])
    await drain(database)
    await put(database, stream_id, [event(1)])
    await database.execute(f"SET lock_timeout = '{store.LOCK_TIMEOUT}'")
    async with second.transaction():
        await second.execute("SELECT FROM stream_metrics WHERE stream_epoch = 1 FOR UPDATE")
        with pytest.raises(RowLocked):
            await drain(database)


async def test_parts_of_deleted_streams_are_told_as_gone(database: Database) -> None:
    one, two = await streams_with_parts(database, 2)
    await database.execute("DELETE FROM streams WHERE stream_id = $1", one)
    assert len(await store.reject_stream_deleted(database)) == 1
    assert await database.fetchval("SELECT stream_id FROM inbox") == two
    row = await database.fetchrow("SELECT outcome, cardinality(part_ids) FROM outcomes")
    assert row is not None
    assert tuple(row) == ("gone", 1)

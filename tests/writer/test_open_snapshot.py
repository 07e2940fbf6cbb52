"""Under an old snapshot dead versions of what changes with every drain pile up: a drain walks through few of them."""

from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import asyncpg
import pytest

from shared.db.connections import STEADY_PLANS, connect
from tests.ages import pages, planned
from tests.failure.facts import Database
from tests.writer.inbox import add_stream, drain, event, put
from writer.store.upkeep import empty_inbox

# Versions of each row that changes: they fill many pages.
DRAINS = 1_000
AT_ONCE = 10


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Database]:
    """A connection like that of the drain."""
    connection = await connect(database_url, name="drain", **STEADY_PLANS)
    yield connection
    await connection.close()


async def test_a_drain_touches_no_more_pages_for_it(connection: Database, database_url: str) -> None:
    stream_id = await add_stream(connection)
    await connection.execute("SET synchronous_commit = off")
    await put(connection, stream_id, [event(1)])
    await drain(connection)
    holder = await asyncpg.connect(database_url)
    await holder.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
    await holder.fetchval("SELECT count(*) FROM streams")
    try:
        seqs = iter(range(2, 10 * DRAINS))
        found = []
        for _ in range(5):
            await empty_inbox(connection)
            found.append(await pages_of_drains(connection, stream_id, seqs))
            for _ in range(DRAINS // 5):
                await put(connection, stream_id, [event(next(seqs))])
                await drain(connection)
    finally:
        await holder.close()
    assert found[-1] <= 1.2 * found[0], found


async def pages_of_drains(connection: Database, stream_id: UUID, seqs: Iterator[int]) -> int:
    """Return what the locks and the drains of a few reads touch."""
    async with planned(connection) as plans:
        for _ in range(AT_ONCE):
            await put(connection, stream_id, [event(next(seqs))])
            await drain(connection)
    return pages(plans, "WITH locked") + pages(plans, "WITH taken")

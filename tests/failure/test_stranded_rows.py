"""Several writers take streams from each other's hands: nothing may be left behind that all of them skipped."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.db.channels import INBOX
from shared.metrics import NOTIFICATIONS_RECEIVED
from tests.failure.facts import Database, backends, counts, settled
from tests.gateway.conftest import running_writer
from tests.metrics import total
from tests.services import services
from tests.waiting import wait_until
from tests.writer.inbox import add_stream, event, put
from writer import drain, store


async def test_parts_that_come_while_their_stream_is_held_are_drained_without_a_notification(
    database_url: str, database: Database
) -> None:
    streams = [await add_stream(database, f"f{number}") for number in range(12)]
    async with services(database_url, gateway=0, writer=3, fanout=0, LISTEN="off"):

        async def stage() -> None:
            gateway_id = uuid4()
            connection = await asyncpg.connect(database_url)
            for first in range(1, 200, 10):
                for stream_id in streams:
                    await put(
                        connection, stream_id, [event(first + n) for n in range(10)], gateway_id=gateway_id
                    )
            await connection.close()

        await asyncio.gather(stage(), stage())
        await settled(database)
    assert await counts(database) == (4800, 2400, 2400, 0, 2400, 0, 2400)


async def test_what_was_skipped_is_drained_once_it_is_free_without_a_notification_or_a_poll(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drain, "POLL_S", 3600.0)
    await put(database, await add_stream(database), [event(1)])
    holder = await asyncpg.connect(database_url)
    async with holder.transaction():
        await holder.execute("SELECT FROM streams FOR NO KEY UPDATE")  # as another writer does
        async with running_writer(database_url):
            await wait_until(lambda: looks(database), what="the writer to have looked")
            assert (await counts(database)).events == 0
            await holder.execute("ROLLBACK")
            await wait_until(lambda: stored(database), deadline_s=5, what="the event")
            await holder.execute("BEGIN")
    await holder.close()


async def looks(database: Database) -> bool:
    """Whether the writer has found nothing that it could lock."""
    return bool(
        await database.fetchval(
            "SELECT bool_or(query LIKE '%EXISTS (SELECT FROM inbox)%' OR query LIKE '%FOR UPDATE SKIP LOCKED%')"
            " FROM pg_stat_activity WHERE pid = ANY($1::int[])",
            await backends(database, "rt-server writer drain"),
        )
    )


async def stored(database: Database) -> bool:
    return (await counts(database)).events == 1


async def test_what_comes_in_the_middle_of_a_drain_is_drained_by_its_own_notification(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The drain does not see it, says that nothing is left, and the notification has come before it ends."""
    monkeypatch.setattr(drain, "POLL_S", 3600.0)
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1)])
    left: list[bool] = []

    async def drain_and_wait(*arguments: Any, **more: Any) -> tuple[store.Drained | None, list[UUID]]:
        drained, resting = await drain_truly(*arguments, **more)
        assert drained is not None
        left.append(drained.left)
        if len(left) == 1:
            received = notifications()
            gateway = await asyncpg.connect(database_url)
            await put(gateway, stream_id, [event(2)])
            await gateway.close()
            await wait_until(lambda: notifications() > received, what="the notification")
        return drained, resting

    drain_truly = store.drain
    monkeypatch.setattr(store, "drain", drain_and_wait)
    async with running_writer(database_url):
        await wait_until(lambda: both_stored(database), what="both events")
    assert left == [False, False]


def notifications() -> float:
    return total(NOTIFICATIONS_RECEIVED.labels(INBOX))


async def both_stored(database: Database) -> bool:
    return (await counts(database)).events == 2


async def test_parts_of_deleted_streams_are_told_however_busy_the_writer_is(
    database_url: str, database: Database
) -> None:
    busy = [await add_stream(database, f"f{number}") for number in range(4)]
    deleted = await add_stream(database, "deleted")
    async with services(database_url, gateway=0, fanout=0):
        feeding = asyncio.create_task(feed(database_url, busy))
        await wait_until(lambda: database.fetchval("SELECT count(*) > 20 FROM inbox"), what="a backlog")
        await database.execute("DELETE FROM streams WHERE stream_id = $1", deleted)
        await put(database, deleted, [event(1)])
        await wait_until(
            lambda: database.fetchval("SELECT EXISTS (SELECT FROM outcomes WHERE outcome = 'gone')"),
            deadline_s=4.0,
            what="the part to be told as gone",
        )
        # A quick writer may have caught up for a moment, not for good.
        await wait_until(lambda: database.fetchval("SELECT EXISTS (SELECT FROM inbox)"), what="more to drain")
        assert not feeding.done()
        feeding.cancel()
        await asyncio.wait([feeding])


async def feed(database_url: str, streams: list[UUID]) -> None:
    """Keep more in the inbox than a writer can take."""
    connection = await asyncpg.connect(database_url)
    first = 1
    try:
        while True:
            if await connection.fetchval("SELECT count(*) < 60 FROM inbox"):
                for stream_id in streams:
                    await put(connection, stream_id, [event(first + n) for n in range(500)])
                first += 500
    finally:
        connection.terminate()

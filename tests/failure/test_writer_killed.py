"""A writer is killed (-9), or stopped for good, in the middle of a drain: its locks taken, nothing committed.

The database may go on with what it was asked: it has happened once, or not at all.
"""

import signal

import asyncpg
import pytest

from tests.failure.facts import Database, backends, counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, batch, forwarder, reads
from tests.services import Process, make_token, services
from tests.waiting import wait_until

_HOLD = "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"  # lets a drain begin, and not write


async def drain_at_work(database: Database) -> list[int]:
    """Wait for drains that hold their streams and wait for the table."""
    return await wait_until(
        lambda: backends(database, "rt-server writer drain", waiting=True), what="a drain in its middle"
    )


@pytest.mark.parametrize("backend_too", [False, True])
async def test_what_a_killed_writer_was_draining_is_stored_once(
    database_url: str, database: Database, *, backend_too: bool
) -> None:
    token = await make_token(database, "forwarder", "f")
    holder = await asyncpg.connect(database_url)
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        async with holder.transaction():
            await holder.execute(_HOLD)
            await wire.send(batch(*reads(1, 50)))
            [backend] = await drain_at_work(database)
            await running.writers[0].kill()
            if backend_too:
                await end_backend(database, backend)
        if backend_too:  # else the database may do by itself what it was asked
            with pytest.raises(TimeoutError):
                await wire.ack(within_s=0.3)
            assert (await counts(database)).events == 0
            assert await database.fetchval("SELECT count(*) FROM inbox") == 1
        await running.writers[0].start()
        assert await wire.ack() == [(READER, 1, 50)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 51))
    assert await counts(database) == (50, 50, 0, 0, 50, 0, 50)
    await holder.close()


async def end_backend(database: Database, pid: int) -> None:
    """End a backend and wait until it is gone."""
    await database.execute("SELECT pg_terminate_backend($1)", pid)
    await wait_until(
        lambda: database.fetchval("SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)", pid),
        what="the backend to be gone",
    )


async def test_a_writer_that_is_stopped_in_mid_drain_does_not_keep_its_streams(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    holder = await asyncpg.connect(database_url)
    spare = Process("writer", database_url, {})
    async with services(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(*reads(1, 50)))
        await wire.ack()
        stopped = running.writers[0]
        async with holder.transaction():
            await holder.execute(_HOLD)
            await wire.send(batch(*reads(51, 60)))
            await drain_at_work(database)
            stopped.signal(signal.SIGSTOP)
        await spare.start()
        try:
            await spare.ready()
            assert await wire.ack() == [(READER, 1, 60)]
            await wire.send(batch(*reads(61, 70)))
            assert await wire.ack() == [(READER, 1, 70)]
            stopped.signal(signal.SIGCONT)
            await stopped.ready()
        finally:
            await spare.kill()
        await wire.send(batch(*reads(71, 80)))
        assert await wire.ack() == [(READER, 1, 80)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 81))
    assert await counts(database) == (80, 80, 0, 0, 80, 0, 80)
    await holder.close()


async def test_writers_that_die_again_and_again_lose_and_double_nothing(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, writer=2, fanout=0) as running,
        fleet(database, running.gateways[0].url) as devices,
    ):
        async with devices.racing():
            for writer in running.writers * 2:
                await devices.goes_on(33)
                await writer.kill()
                assert (await counts(database)).exact
                await writer.start()
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)

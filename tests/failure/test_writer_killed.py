"""A writer is killed (-9), or stopped for good, in the middle of a drain: its locks taken, nothing committed."""

import signal

import asyncpg
import pytest

from tests.failure.facts import Database, backends, counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, Message, Wire, batch, forwarder, reads
from tests.rooms import Process, make_token, rooms
from tests.waiting import wait_until

_HOLD = "LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE"  # lets a drain begin, and not write
_STATE = "SELECT state FROM pg_stat_activity WHERE pid = ANY($1::int[])"


async def drain_at_work(database: Database) -> list[int]:
    """Wait for drains that hold their streams and wait for the table."""
    return await wait_until(
        lambda: backends(database, "rt-server writer drain", waiting=True), what="a drain in its middle"
    )


async def test_what_a_killed_writer_was_draining_is_stored_once_by_the_next(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    holder = await asyncpg.connect(database_url)
    async with rooms(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        async with holder.transaction():
            await holder.execute(_HOLD)
            await wire.send(batch(*reads(1, 50)))
            await drain_at_work(database)
            await running.writers[0].kill()
        with pytest.raises(TimeoutError):
            await wire.ack(within_s=0.3)
        assert (await counts(database)).events == 0
        assert await database.fetchval("SELECT count(*) FROM inbox") == 1
        await running.writers[0].start()
        assert await wire.ack() == [(READER, 1, 50)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 51))
    assert await counts(database) == (50, 50, 0, 0, 50, 0, 50)
    await holder.close()


async def test_a_writer_that_is_stopped_in_mid_drain_does_not_keep_its_streams(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with rooms(database_url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(*reads(1, 50)))
        await wire.ack()
        stopped = running.writers[0]
        await stop_in_mid_drain(database_url, database, stopped, wire, batch(*reads(51, 60)))
        spare = Process("writer", database_url, {})
        await spare.start()
        try:
            await spare.ready()
            assert await wire.ack() == [(READER, 1, 60)]
            stopped.signal(signal.SIGCONT)
            await wire.send(batch(*reads(61, 70)))
            assert await wire.ack() == [(READER, 1, 70)]
            await stopped.ready()
        finally:
            await spare.kill()
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 71))
    assert await counts(database) == (70, 70, 0, 0, 70, 0, 70)


async def stop_in_mid_drain(
    database_url: str, database: Database, writer: Process, wire: Wire, message: Message
) -> None:
    """Stop the writer while its transaction is open, with the stream of `message` in its hands."""
    holder = await asyncpg.connect(database_url)
    sent = False
    while True:
        async with holder.transaction():
            await holder.execute(_HOLD)
            if not sent:
                await wire.send(message)
                sent = True
            pids = await drain_at_work(database)
            writer.signal(signal.SIGSTOP)
        state = await wait_until(lambda pids=pids: at_rest(database, pids), what="the drain to end")  # type: ignore[misc]
        if state == "idle in transaction":
            break
        writer.signal(signal.SIGCONT)  # it had given up waiting: once more
    await holder.close()


async def at_rest(database: Database, pids: list[int]) -> str | None:
    state: str | None = await database.fetchval(_STATE, pids)
    return None if state == "active" else state


async def test_writers_that_die_again_and_again_lose_and_double_nothing(
    database_url: str, database: Database
) -> None:
    async with (
        rooms(database_url, writer=2, fanout=0) as running,
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

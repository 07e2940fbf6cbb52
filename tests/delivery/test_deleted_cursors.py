"""Deleted cursors: everything comes again at once, and no ack of before puts them back."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import asyncpg
import pytest

from shared.db.connections import Connection
from tests.delivery.conftest import Standing, running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START, Wire, receiver
from tests.services import Process
from tests.waiting import wait_until

Delete = Callable[[], Awaitable[None]]


@pytest.fixture(params=["by SQL", "by route"])
async def delete(request: pytest.FixtureRequest, standing: Standing) -> AsyncIterator[Delete]:
    """Delete the cursors of receiver `tent` as administrators do."""
    if request.param == "by SQL":

        async def by_sql() -> None:
            await standing.database.execute("DELETE FROM receiver_cursors WHERE receiver_id = 'tent'")

        yield by_sql
        return
    api = Process("api", standing.fanout.database_url, {})
    await api.start()
    try:
        await api.ready()

        async def by_route() -> None:
            url = f"{api.url}/api/v1/receivers/tent/cursors"
            async with aiohttp.ClientSession() as http, http.delete(url) as answer:
                assert answer.status == 204

        yield by_route
    finally:
        await api.kill()


async def last_seq(database: Connection) -> int | None:
    found: int | None = await database.fetchval("SELECT last_seq FROM receiver_cursors")
    return found


async def written(database: Connection, expected: int) -> None:
    async def is_written() -> bool:
        return await last_seq(database) == expected

    await wait_until(is_written, what=f"the cursor at {expected}")


async def take_until(wire: Wire, last_seq: int) -> list[int]:
    """Take and ack until a number comes; return all that came."""
    got: list[int] = []
    while last_seq not in got:
        got += [seq for _, seq in await wire.identities(1)]
    return got


async def test_who_is_connected_and_idle_gets_everything_again(standing: Standing, delete: Delete) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 150)
    async with receiver(standing.url, standing.token, START) as wire:
        await take_until(wire, 150)
        await written(standing.database, 150)
        await delete()
        assert await take_until(wire, 150) == list(range(1, 151))
        await written(standing.database, 150)
        assert await wire.silent()


async def test_who_is_connected_while_reads_flow_gets_everything_again(
    standing: Standing, delete: Delete
) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 50)
    over = asyncio.Event()
    newest = 50

    async def flow() -> None:
        nonlocal newest
        while not over.is_set():
            newest += 1
            await store(flowing, stream, [(1, newest, b"new")])

    flowing = await asyncpg.connect(standing.fanout.database_url)
    async with receiver(standing.url, standing.token, START) as wire:
        reads = asyncio.ensure_future(flow())
        await take_until(wire, 100)
        await delete()
        before = newest
        again = await take_until(wire, 1)  # the first, although newer ones keep coming
        over.set()
        await reads
        await flowing.close()
        rest = again[again.index(1) :] + (await take_until(wire, newest) if newest not in again else [])
        assert rest == list(range(1, newest + 1))
        assert newest >= before
        await written(standing.database, newest)
    async with receiver(standing.url, standing.token, START) as wire:
        assert await wire.silent()


async def test_an_ack_of_before_does_not_put_the_cursor_back(standing: Standing, delete: Delete) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 80)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(80, acking=False)
        await delete()
        assert await wire.identities(80, acking=False) == [(1, seq) for seq in range(1, 81)]
        await wire.ack((START, 1, 80))  # of the first eighty
        await wire.all_received()
        await wire.ack((START, 1, 80))  # of those that came after it
        await written(standing.database, 80)
    await delete()
    async with receiver(standing.url, standing.token, START) as wire:
        assert await wire.identities(80) == [(1, seq) for seq in range(1, 81)]


async def test_an_ack_that_is_given_just_before_counts_for_nothing(
    standing: Standing, delete: Delete
) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 80)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(80)
        await wire.all_received()
        await delete()
        assert await wire.identities(80, acking=False) == [(1, seq) for seq in range(1, 81)]
        assert await last_seq(standing.database) == 0
    async with receiver(standing.url, standing.token, START) as wire:
        assert await wire.identities(80) == [(1, seq) for seq in range(1, 81)]


async def test_sessions_on_all_nodes_begin_anew(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 80)
    async with (
        running_fanout(standing.fanout.database_url) as other,
        receiver(standing.url, standing.token, START) as here,
        receiver(other.url, standing.token, START) as there,
    ):
        for _ in range(2):
            # Both before either acks: who comes later begins behind that.
            for wire in (here, there):
                assert await wire.identities(80, acking=False) == [(1, seq) for seq in range(1, 81)]
            for wire in (here, there):
                await wire.ack_all(wire.batches[-1])
            await written(standing.database, 80)
            await standing.database.execute("DELETE FROM receiver_cursors")


async def test_a_deletion_that_no_node_was_told_of_is_found(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 80)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(80)
        await written(standing.database, 80)
        async with standing.database.transaction():
            await standing.database.execute("SET LOCAL session_replication_role = replica")  # no triggers
            await standing.database.execute("DELETE FROM receiver_cursors")
        assert await wire.identities(80) == [(1, seq) for seq in range(1, 81)]

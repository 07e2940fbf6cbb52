"""Acks on their way into the database."""

import asyncio
import signal
from contextlib import AsyncExitStack

from shared.db.connections import Connection
from tests.delivery.conftest import Standing, running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START, receiver
from tests.services import Process, make_token
from tests.waiting import stretched, wait_until

WRITES = "rtserver_cursor_writes_total"


async def cursor(database: Connection, receiver_id: str = "tent", epoch: int = 1) -> int | None:
    found: int | None = await database.fetchval(
        "SELECT last_seq FROM receiver_cursors WHERE receiver_id = $1 AND stream_epoch = $2",
        receiver_id,
        epoch,
    )
    return found


async def written(database: Connection, last_seq: int, receiver_id: str = "tent") -> None:
    async def is_written() -> bool:
        return await cursor(database, receiver_id) == last_seq

    await wait_until(is_written, what=f"the cursor of {receiver_id} at {last_seq}")


async def test_an_ack_never_moves_a_cursor_back(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 50)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(50, acking=False)
        await wire.ack((START, 1, 40))
        await written(standing.database, 40)
        before = await standing.metric(WRITES)
        await wire.ack((START, 1, 10), (START, 1, 0))

        async def one_more() -> bool:
            return await standing.metric(WRITES) > before

        await wait_until(one_more, what="the lower ack to be written")
        assert await cursor(standing.database) == 40
    async with receiver(standing.url, standing.token, START) as wire:
        assert (await wire.identities(10))[0] == (1, 41)


async def test_an_ack_never_moves_a_cursor_past_what_is_stored(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 50)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(50, acking=False)
        await wire.ack((START, 1, 2**53 - 1))
        await written(standing.database, 50)
        await wire.ack((START, 9, 5), (("nobody", "x"), 1, 5))
        await wire.ack((START, 1, 2**53 - 1))
    await store(standing.database, stream, [(1, 51, b"new")])
    async with receiver(standing.url, standing.token, START) as wire:
        assert await wire.identities(1) == [(1, 51)]
    assert await standing.database.fetchval("SELECT count(*) FROM receiver_cursors") == 1


async def test_acks_of_many_receivers_are_a_few_statements_a_second(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 2_000)
    tokens = [await make_token(standing.database, "receiver", f"tent-{number}") for number in range(20)]
    async with AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(receiver(standing.url, token, START)) for token in tokens]
        began, before = asyncio.get_running_loop().time(), await standing.metric(WRITES)
        await asyncio.gather(*(wire.take(2_000, within_s=stretched(30)) for wire in wires))
        for number in range(20):
            await written(standing.database, 2_000, f"tent-{number}")
        passed = asyncio.get_running_loop().time() - began
        acks = sum(len(wire.batches) for wire in wires)
        writes = await standing.metric(WRITES) - before
    assert acks >= 20 * 20
    assert writes <= 4 * passed + 2


async def test_acks_that_were_not_written_yet_are_at_an_orderly_stop(
    fanout: Process, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, 1_000)
    async with receiver(fanout.url, token, START) as wire:
        await wire.take(500)
        await wire.take(100, acking=False)
        await wire.ack((START, 1, 577))
        await wire.all_received()
        fanout.signal(signal.SIGTERM)
        assert await fanout.ended() == 0
    assert await cursor(database) == 577


async def test_two_sessions_of_one_receiver_share_its_cursors(
    fanout: Process, database_url: str, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, 100)
    async with (
        running_fanout(database_url) as other,
        receiver(fanout.url, token, START) as one,
        receiver(other.url, token, START) as two,
    ):
        for wire in (one, two):
            assert await wire.identities(100, acking=False) == [(1, seq) for seq in range(1, 101)]
        await one.ack((START, 1, 80))
        await written(database, 80)
        await two.ack((START, 1, 60))
        await one.ack((START, 1, 90))
        await written(database, 90)
        async with receiver(other.url, token, START) as third:
            assert (await third.identities(10))[0] == (1, 91)

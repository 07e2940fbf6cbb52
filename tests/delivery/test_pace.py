"""How much a receiver gets at a time."""

import asyncio

from shared.database import Connection
from tests.delivery.conftest import Standing, running_fanout
from tests.delivery.stored import make_stream, store_many
from tests.delivery.wire import START, receiver


async def test_a_receiver_that_acks_is_never_owed_more_than_two_hundred(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 2_000)
    async with (
        running_fanout(database_url, PACE_MS="60000") as fanout,
        receiver(fanout.url, token, START) as wire,
    ):
        got = await wire.take(200, acking=False)
        assert await wire.silent()
        for acked in range(100, 1_900, 100):
            await wire.ack((START, 1, acked))
            got += await wire.take(100, acking=False)
            assert len(got) == acked + 200
        assert await wire.silent()
    assert [each["seq"] for each in got] == list(range(1, 2_001))
    assert {len(batch) for batch in wire.batches} == {100}


async def test_a_receiver_that_never_acks_gets_the_next_batch_after_half_a_second(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 600)
    began = asyncio.get_running_loop().time()
    async with receiver(standing.url, standing.token, START) as wire:
        got = await wire.identities(500, acking=False)
        assert asyncio.get_running_loop().time() - began >= 3 * 0.5
    assert got == [(1, seq) for seq in range(1, 501)]
    assert {len(batch) for batch in wire.batches} == {100}

"""How much a receiver gets at a time."""

import asyncio

from tests.delivery.conftest import Standing
from tests.delivery.stored import make_stream, store_many
from tests.delivery.wire import START, receiver


async def test_a_receiver_that_acks_is_never_owed_more_than_two_hundred(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 2_000)
    async with receiver(standing.url, standing.token, START) as wire:
        got = await wire.take(200, acking=False)
        assert await wire.silent(for_s=0.3)
        acked = 0
        while len(got) < 2_000:
            acked += 100
            await wire.ack((START, 1, acked))
            got += await wire.take(100, acking=False, within_s=0.4)
            assert len(got) - acked <= 200
    assert [each["seq"] for each in got] == list(range(1, 2_001))
    assert {len(batch) for batch in wire.batches} == {100}


async def test_a_receiver_that_never_acks_gets_the_next_batch_after_half_a_second(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 600)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(200, acking=False)
        for _ in range(3):
            began = asyncio.get_running_loop().time()
            batch = await wire.batch(within_s=2)
            assert len(batch) == 100
            assert 0.3 < asyncio.get_running_loop().time() - began < 1.5
    assert sum(len(batch) for batch in wire.batches) == 500

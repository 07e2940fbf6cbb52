"""How much a receiver gets at a time."""

import asyncio

from shared.db.connections import Connection
from tests.delivery.conftest import Standing, running_fanout
from tests.delivery.stored import make_stream, store_many
from tests.delivery.wire import START, receiver
from tests.services import make_token
from tests.waiting import wait_until

DELIVERED = "rtserver_events_delivered_total"


async def test_a_receiver_that_acks_is_never_owed_more_than_a_hundred(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 2_000)
    async with (
        running_fanout(database_url, PACE_MS="60000") as fanout,
        receiver(fanout.url, token, START) as wire,
    ):
        got = await wire.take(100, acking=False)
        assert await wire.silent()
        for acked in range(100, 2_000, 100):
            await wire.ack((START, 1, acked))
            got += await wire.take(100, acking=False)
            assert len(got) == acked + 100
        assert await wire.silent()
    assert [each["seq"] for each in got] == list(range(1, 2_001))
    assert {len(batch) for batch in wire.batches} == {100}


async def test_a_receiver_that_never_acks_gets_the_next_batch_after_half_a_second(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 600)
    began = asyncio.get_running_loop().time()
    async with receiver(standing.url, standing.token, START) as wire:
        got = await wire.identities(300, acking=False)
        assert asyncio.get_running_loop().time() - began >= 2 * 0.5
    assert got == [(1, seq) for seq in range(1, 301)]
    assert {len(batch) for batch in wire.batches} == {100}


async def test_a_receiver_that_reads_nothing_is_sent_nothing_more_until_it_reads(
    database_url: str, database: Connection, token: str
) -> None:
    """In the field it reads nothing for seconds after its hello, and then all that has come in one go."""
    await store_many(database, await make_stream(database, *START), 1_000)
    async with running_fanout(database_url, PACE_MS="20") as fanout:

        async def delivered() -> float:
            return await fanout.metric(DELIVERED)

        async with receiver(fanout.url, token, START) as wire:
            # `wire` answers pings only while somebody waits for a message.
            await wait_until(delivered, what="the first message")
            await asyncio.sleep(20 * 0.02)
            assert await delivered() == 100
            assert await wire.identities(100, acking=False) == [(1, seq) for seq in range(1, 101)]
            assert await wire.identities(100, acking=False) == [(1, seq) for seq in range(101, 201)]
            assert wire.frames[-3:] == ["receiver_event_batch", "ping", "receiver_event_batch"]
        assert await delivered() <= 300


async def test_an_ack_that_comes_late_counts(standing: Standing) -> None:
    await store_many(standing.database, await make_stream(standing.database, *START), 250)
    async with receiver(standing.url, standing.token, START) as wire:
        await wire.take(200, acking=False)
        await wire.ack((START, 1, 100))

        async def written() -> bool:
            return await standing.database.fetchval("SELECT last_seq FROM receiver_cursors") == 100  # type: ignore[no-any-return]

        await wait_until(written, what="the cursor")
    async with receiver(standing.url, standing.token, START) as wire:
        assert (await wire.identities(100))[0] == (1, 101)


async def test_each_receiver_has_the_pace_of_its_token_or_the_nodes(
    database_url: str, database: Connection, token: str
) -> None:
    """How long five pauses are; that nothing else takes as long is not ours to say on a busy machine."""
    await store_many(database, await make_stream(database, *START), 600)
    own = await make_token(database, "receiver", "own")
    await database.execute("UPDATE device_tokens SET events_per_second = 400 WHERE device_id = 'own'")
    none = await make_token(database, "receiver", "none")
    await database.execute("UPDATE device_tokens SET events_per_second = 0 WHERE device_id = 'none'")
    took: dict[str, float] = {}
    async with running_fanout(database_url, REPLAY_EVENTS_PER_SECOND="800") as fanout:
        for each in (none, token, own):
            async with receiver(fanout.url, each, START) as wire:
                began = asyncio.get_running_loop().time()
                assert len(await wire.identities(600)) == 600
                took[each] = asyncio.get_running_loop().time() - began
    assert took[token] >= 5 * 100 / 800 - 0.05
    assert took[own] >= 5 * 100 / 400 - 0.05
    assert took[none] < took[own]

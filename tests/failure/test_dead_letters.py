"""A part that the tables refuse for good: it goes aside, and nobody else pays for it."""

import asyncio
from functools import partial

import asyncpg

from tests.failure.facts import Database, counts, lines
from tests.failure.wire import READER, batch, forwarder, read, reads
from tests.services import Process, make_token, services
from tests.waiting import stretched, wait_until

_REFUSE = "ALTER TABLE events ADD CHECK (raw_frame <> 'poison')"


async def test_it_goes_aside_and_its_neighbours_go_on(database_url: str, database: Database) -> None:
    await database.execute(_REFUSE)
    bad, good = [await make_token(database, "forwarder", name) for name in ("f", "good")]
    async with services(database_url, writer=2, fanout=0) as running:
        url = running.gateways[0].url
        async with forwarder(url, bad) as wire, forwarder(url, good) as neighbour:
            # Staged together, so that one drain meets all of it.
            await wire.send(batch(*reads(1, 5)))
            await wire.send(batch(read(6), read(7, "poison"), read(8)))
            await wire.send(batch(*reads(9, 12)))
            await neighbour.send(batch(*reads(1, 5)))
            assert await neighbour.ack(within_s=stretched(3)) == [(READER, 1, 5)]
            assert await wire.ack() == [(READER, 1, 5)]
            await wait_until(lambda: stored(database, 14), what="all but the part that is refused")
            await neighbour.send(batch(*reads(6, 9)))
            assert await neighbour.ack(within_s=stretched(3)) == [(READER, 1, 9)]
            error = await wire.expect("error")
            assert (error["code"], error["retryable"]) == ("INTERNAL_ERROR", True)
            assert await wire.closed() == 1011
    row = await database.fetchrow("SELECT seqs, raw_frames, error FROM poisoned_parts")
    assert row is not None
    assert row["seqs"] == [6, 7, 8]
    assert row["raw_frames"] == [b"line 6", b"poison", b"line 8"]
    assert "CheckViolation" in row["error"]
    # Where the alert sends operators: why, and of which stream.
    said = await database.fetch(
        "SELECT fields->>'stream', fields->>'error' FROM activity WHERE event = 'part_put_aside'"
    )
    assert [(stream, error[:14]) for stream, error in said] == [(f"f · {READER}", "CheckViolation")]
    assert [each[1] for each in await lines(database, "f", READER)] == [1, 2, 3, 4, 5, 9, 10, 11, 12]
    assert (await counts(database)).exact


async def stored(database: Database, count: int) -> bool:
    return (await counts(database)).events >= count


async def dead_lettered(writer: Process, times: int) -> bool:
    return await writer.metric("rtserver_parts_dead_lettered_total") >= times


async def test_what_comes_again_and_again_is_kept_aside_once(database_url: str, database: Database) -> None:
    await database.execute(_REFUSE)
    async with services(database_url, fanout=0) as running:
        # With a token each time: the brake is another test's.
        tokens = [await make_token(database, "forwarder", "f") for _ in range(4)]
        for times in range(1, 4):
            async with forwarder(running.gateways[0].url, tokens[times]) as wire:
                await wire.send(batch(read(1, "poison")))
                await wait_until(
                    partial(dead_lettered, running.writers[0], times), what="the part to be put aside"
                )
        assert await database.fetchval("SELECT count(*) FROM poisoned_parts") == 1
        await database.execute("ALTER TABLE events DROP CONSTRAINT events_raw_frame_check")
        async with forwarder(running.gateways[0].url, tokens[0]) as wire:
            await wire.send(batch(read(1, "poison")))
            assert await wire.ack() == [(READER, 1, 1)]


async def test_a_stream_whose_rows_are_held_rests_and_the_others_go_on(
    database_url: str, database: Database
) -> None:
    tokens = [await make_token(database, "forwarder", name) for name in ("held", "good")]
    holder = await asyncpg.connect(database_url)
    async with services(database_url, fanout=0) as running:
        url = running.gateways[0].url
        async with forwarder(url, tokens[0]) as wire, forwarder(url, tokens[1]) as neighbour:
            for each in (wire, neighbour):
                await each.send(batch(read(1), read(1, epoch=2)))
                await each.ack()
            async with holder.transaction():
                # Not the row of the highest epoch, which is looked at beforehand: this one is waited for.
                await holder.execute(
                    "SELECT FROM stream_metrics JOIN streams USING (stream_id)"
                    " WHERE forwarder_id = 'held' AND stream_metrics.stream_epoch = 1 FOR UPDATE OF stream_metrics"
                )
                await wire.send(batch(read(2)))
                for number in range(2, 12):
                    await neighbour.send(batch(read(number)))
                    assert await neighbour.ack(within_s=stretched(2)) == [(READER, 1, number)]
                assert not any(each["kind"] == "error" for each in wire.seen)
            async with asyncio.timeout(stretched(3)):
                assert await wire.ack() == [(READER, 1, 2)]
    await holder.close()

"""Everything comes twice: in one session, over two sessions, and from two gateways at the same moment."""

import asyncio
import random
import signal
from uuid import uuid4

import asyncpg

from tests.failure.facts import Database, counts, exact_by_epoch, lines, settled
from tests.failure.link import link
from tests.failure.wire import READER, batch, forwarder, read, reads
from tests.services import make_token, services
from tests.waiting import wait_until
from tests.writer.inbox import add_stream, event, put


async def test_every_batch_twice_in_one_session_is_stored_once_and_acked_twice(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=2, fanout=0) as running,
        forwarder(running.gateways[0].url, token) as wire,
    ):
        for first in range(1, 200, 10):
            twice = batch(*reads(first, first + 9))
            await wire.send(twice)
            await wire.send(twice)
            assert await wire.ack() == await wire.ack() == [(READER, 1, first + 9)]
            assert (await counts(database)).exact
    assert await counts(database) == (400, 200, 200, 0, 200, 0, 200)


async def test_a_session_that_takes_over_sends_what_still_lies_in_the_inbox(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running, link(running.gateways[0].url) as way:
        running.writers[0].signal(signal.SIGSTOP)
        async with forwarder(way.url, token) as first:
            await first.send(batch(*reads(1, 20)))
            await wait_until(lambda: database.fetchval("SELECT count(*) = 1 FROM inbox"), what="the part")
            way.freeze()
            async with forwarder(running.gateways[1].url, token) as second:
                await second.send(batch(*reads(1, 20)))
                await wait_until(
                    lambda: database.fetchval("SELECT count(*) = 2 FROM inbox"), what="both parts"
                )
                running.writers[0].signal(signal.SIGCONT)
                assert await second.ack() == [(READER, 1, 20)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 21))
    # What the first session staged was not its to write any more.
    assert await counts(database) == (20, 20, 0, 0, 20, 0, 20)


async def test_the_same_reads_from_two_gateways_at_once_are_stored_once(
    database_url: str, database: Database
) -> None:
    """As when a device changes gateways while the parts of both its sessions are on their way."""
    stream_id = await add_stream(database)
    async with services(database_url, gateway=0, writer=2, fanout=0):
        order = random.Random(3)

        async def stage() -> None:
            gateway_id = uuid4()
            connection = await asyncpg.connect(database_url)
            for first in order.sample(range(1, 401, 20), 20):
                events = [event(seq) for seq in range(first, first + 20)]
                await put(connection, stream_id, events, gateway_id=gateway_id)
                assert (await counts(connection)).exact
            await connection.close()

        await asyncio.gather(*(stage() for _ in range(4)))
        await settled(database)
    assert [row[1] for row in await lines(database, "f", "r")] == list(range(1, 401))
    assert await counts(database) == (1600, 400, 1200, 0, 400, 0, 400)


async def test_copies_within_a_batch_and_across_are_counted_at_every_instant(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, writer=2, fanout=0) as running,
        forwarder(running.gateways[0].url, token, ["a", "b"]) as wire,
    ):
        order = random.Random(5)
        sent = 0
        for _ in range(40):
            events = [
                read(
                    order.randint(1, 60),
                    order.choice(["x", "x", "x", "y"]),
                    reader=order.choice("ab"),
                    epoch=order.randint(1, 2),
                )
                for _ in range(30)
            ]
            sent += len(events)
            await wire.send(batch(*events))
            while (await wire.next() or {})["kind"] != "forwarder_ack":
                pass
            now = await counts(database)
            assert now.exact
            assert now.raw == sent
            assert await exact_by_epoch(database)
    assert now.conflict >= now.quarantined > 0

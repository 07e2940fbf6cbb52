"""A device's link swallows everything and tells neither side: its connection is half open."""

import asyncio

from tests.failure.facts import Database, lines
from tests.failure.link import link
from tests.failure.wire import READER, batch, forwarder, read
from tests.services import make_token, services
from tests.waiting import stretched


async def test_the_rebooted_device_is_back_within_five_seconds_on_any_gateway(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running:
        here, there = (each.url for each in running.gateways)
        async with link(here) as way, forwarder(way.url, token) as wire:
            await wire.send(batch(read(1)))
            await wire.ack()
            way.freeze()
            await wire.send(batch(read(2, "never arrives")))
            async with asyncio.timeout(stretched(5)), forwarder(there, token) as again:
                await again.send(batch(read(2)))
                assert await again.ack() == [(READER, 1, 2)]
        async with link(there) as way, forwarder(way.url, token):
            way.freeze()
            async with asyncio.timeout(stretched(5)), forwarder(there, token) as again:
                await again.send(batch(read(3)))
                assert await again.ack() == [(READER, 1, 3)]
    assert [row[2] for row in await lines(database, "f", READER)] == ["line 1", "line 2", "line 3"]

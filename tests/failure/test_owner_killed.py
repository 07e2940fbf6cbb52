"""The gateway that holds a device's session is killed (-9)."""

import asyncio

from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, read
from tests.services import make_token, services
from tests.waiting import stretched, wait_until


async def test_the_device_is_back_on_another_gateway_within_five_seconds(
    database_url: str, database: Database
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running:
        async with forwarder(running.gateways[0].url, token) as wire:
            await wire.send(batch(read(1)))
            await wire.ack()
            await running.gateways[0].kill()
            async with asyncio.timeout(stretched(5)), forwarder(running.gateways[1].url, token) as again:
                await again.send(batch(read(2)))
                assert await again.ack() == [(READER, 1, 2)]

        async def nobody_is_online() -> bool:
            return not await database.fetchval("SELECT count(*) FROM live_forwarder_sessions")

        await wait_until(nobody_is_online, what="the second session to end, too")

"""A gateway is killed (-9) with batches staged and not acked."""

import signal

import pytest

from tests.failure.facts import Database, counts, lines, settled
from tests.failure.fleet import fleet
from tests.failure.link import link
from tests.failure.wire import READER, batch, forwarder, reads
from tests.services import make_token, services
from tests.waiting import wait_until


@pytest.mark.parametrize("returns", ["before they are drained", "afterwards"])
async def test_staged_batches_of_a_killed_gateway_are_stored_once(
    database_url: str, database: Database, returns: str
) -> None:
    token = await make_token(database, "forwarder", "f")
    async with services(database_url, gateway=2, fanout=0) as running:
        writer = running.writers[0]
        writer.signal(signal.SIGSTOP)
        async with forwarder(running.gateways[0].url, token) as wire:
            for first in (1, 11, 21):
                await wire.send(batch(*reads(first, first + 9)))
            await wait_until(
                lambda: database.fetchval("SELECT count(*) = 3 FROM inbox"), what="three parts in the inbox"
            )
            await running.gateways[0].kill()
        if returns == "afterwards":
            writer.signal(signal.SIGCONT)
            await settled(database)
            assert (await counts(database)).events == 30
        async with forwarder(running.gateways[1].url, token) as wire:
            writer.signal(signal.SIGCONT)
            for first in (1, 11, 21, 31):  # nothing was acked: all of it comes again
                await wire.send(batch(*reads(first, first + 9)))
                assert await wire.ack() == [(READER, 1, first + 9)]
    assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 41))
    now = await counts(database)
    assert now.exact
    assert now.retransmit == (30 if returns == "afterwards" else 0)


async def test_devices_go_on_at_another_gateway_and_nothing_is_lost_or_doubled(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, gateway=2, fanout=0) as running,
        link(*(each.url for each in running.gateways)) as way,
        fleet(database, way.url) as devices,
    ):
        async with devices.racing():
            for killed in (0, 1):
                await devices.goes_on(66)
                await running.gateways[killed].kill()
                await devices.goes_on(within_s=5.0)
                await running.gateways[killed].start()
                await running.gateways[killed].ready()
        await devices.drained()
        await devices.whole(database)

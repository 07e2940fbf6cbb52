"""A gateway is asked to stop (SIGTERM), with devices connected, among them one that does not read."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack

from tests.failure.facts import Database, settled
from tests.failure.fleet import fleet
from tests.failure.link import link
from tests.failure.wire import batch, connect, forwarder, read, refused, unresponsive
from tests.services import make_token, services
from tests.waiting import stretched, wait_until

# What supervisors give a process before they kill it; the process' own deadline is 10 s.
DEADLINE_S = 10.0


async def test_every_device_gets_1001_at_once_and_the_process_ends_well(
    database_url: str, database: Database
) -> None:
    tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(30)]
    async with services(database_url, writer=0, fanout=0) as running, AsyncExitStack() as stack:
        gateway = running.gateways[0]
        wires = [await stack.enter_async_context(forwarder(gateway.url, token)) for token in tokens]
        early = await stack.enter_async_context(connect(gateway.url, tokens[0]))  # has not said hello yet
        await wires[0].send(batch(read(1)))  # will not be acked: nobody writes
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert await asyncio.gather(*(wire.closed() for wire in [*wires, early])) == [1001] * 31
        assert time.monotonic() - began < stretched(2.0)
        assert await gateway.ended() == 0
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM live_forwarder_sessions)")
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM processes)")


async def test_a_device_that_does_not_read_keeps_nobody(database_url: str, database: Database) -> None:
    tokens = [await make_token(database, "forwarder", name) for name in ("unresponsive", "good")]
    async with services(database_url, writer=0, fanout=0) as running:
        gateway = running.gateways[0]
        async with unresponsive(gateway.url, tokens[0]), forwarder(gateway.url, tokens[1]) as wire:
            began = time.monotonic()
            gateway.signal(signal.SIGTERM)
            assert await wire.closed() == 1001
            assert time.monotonic() - began < stretched(2.0)
            assert await gateway.ended() == 0
            assert time.monotonic() - began < DEADLINE_S


async def test_a_gateway_under_back_pressure_stops_as_well(database_url: str, database: Database) -> None:
    tokens = [await make_token(database, "forwarder", name) for name in ("f", "g")]
    async with services(database_url, writer=0, fanout=0, MAX_UNACKED_MIB="1") as running:
        gateway = running.gateways[0]
        async with forwarder(gateway.url, tokens[0]) as wire, forwarder(gateway.url, tokens[1]) as other:
            for number in (1, 2, 3):
                await wire.send(batch(*(read(17 * number + each, "x" * 60_000) for each in range(17))))
            await wait_until(lambda: refused(gateway.url), what="back-pressure")
            await other.send(batch(read(1)))
            gateway.signal(signal.SIGTERM)
            assert await asyncio.gather(*(each.closed() for each in (wire, other))) == [1001, 1001]
            assert await gateway.ended() == 0


async def test_devices_go_over_to_the_next_gateway_in_a_rolling_restart(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        link(*(each.url for each in running.gateways)) as way,
        fleet(database, way.url) as devices,
    ):
        async with devices.racing():
            for process in [*running.gateways, *running.writers]:
                await devices.goes_on(33)
                process.signal(signal.SIGTERM)
                assert await process.ended() == 0
                await process.start()
                await process.ready()
        await devices.drained()
        await settled(database)
        await devices.whole(database)

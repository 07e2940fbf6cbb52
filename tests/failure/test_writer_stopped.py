"""The only writer stands still (SIGSTOP): the gateway stops reading instead of growing, and keeps everyone."""

import asyncio
import signal
from contextlib import AsyncExitStack

import pytest

from tests.failure.facts import Database, counts
from tests.failure.fleet import fleet
from tests.failure.flood import DEVICES, MESSAGE_BYTES, MIB, all_acked, memory, send_on, steady
from tests.failure.wire import forwarder, refused
from tests.services import make_token, services
from tests.waiting import wait_until


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_the_gateway_stops_reading_and_goes_on_when_the_writer_does(
    database_url: str, database: Database, listen: str
) -> None:
    tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(DEVICES)]
    late = await make_token(database, "forwarder", "late")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            services(database_url, fanout=0, MAX_UNACKED_MIB="1", LISTEN=listen)
        )
        gateway, writer = running.gateways[0], running.writers[0]
        wires = [await stack.enter_async_context(forwarder(gateway.url, token)) for token in tokens]
        before = memory(gateway)
        writer.signal(signal.SIGSTOP)
        sending = [asyncio.create_task(send_on(wire)) for wire in wires]
        await wait_until(lambda: refused(gateway.url, late), what="an upgrade to be refused")
        held = await steady(gateway)
        assert MIB - 2 * MESSAGE_BYTES < held <= MIB
        assert memory(gateway) - before < 24 * MIB
        assert (await counts(database)).events == 0
        assert not any(len(wire.seen) > 1 for wire in wires)
        writer.signal(signal.SIGCONT)
        for wire in wires:
            await all_acked(wire)
        await asyncio.gather(*sending)
        await stack.enter_async_context(forwarder(gateway.url, late))
        assert await gateway.metric("rtserver_unacked_bytes") == 0
    assert await counts(database) == (960, 960, 0, 0, 960, 0, 960)


async def test_devices_in_the_field_stay_connected_and_drain_afterwards(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, fanout=0, MAX_UNACKED_MIB="1") as running,
        fleet(database, running.gateways[0].url, count=8, readers=1, batch_size=1000) as devices,
    ):
        running.writers[0].signal(signal.SIGSTOP)
        devices.record(3000)
        await wait_until(
            lambda: refused(running.gateways[0].url), what="the gateway to have all that it may hold"
        )
        assert devices.acked == 0
        running.writers[0].signal(signal.SIGCONT)
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)

"""The only writer stands still (SIGSTOP): the gateway stops reading instead of growing, and keeps everyone."""

import asyncio
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.failure.facts import Database, counts
from tests.failure.fleet import fleet
from tests.failure.wire import Wire, batch, forwarder, read, refused
from tests.rooms import Process, make_token, rooms
from tests.waiting import wait_until

MIB = 1024 * 1024
DEVICES = 8
MESSAGES = 120
# Small, so that several lie in each socket's queue when the limit is passed.
MESSAGE_BYTES = 32 * 1024


def memory(process: Process) -> int:
    """Resident bytes of a process."""
    lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


async def send_on(wire: Wire) -> None:
    """Send much more than the gateway may hold, without waiting for any ack."""
    for number in range(1, MESSAGES + 1):
        await wire.send(batch(read(number, "x" * MESSAGE_BYTES)))


@pytest.mark.parametrize("listen", ["on", "off"])
async def test_the_gateway_stops_reading_and_goes_on_when_the_writer_does(
    database_url: str, database: Database, listen: str
) -> None:
    tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(DEVICES)]
    late = await make_token(database, "forwarder", "late")
    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            rooms(database_url, fanout=0, MAX_UNACKED_MIB="1", LISTEN=listen)
        )
        gateway, writer = running.gateways[0], running.writers[0]
        wires = [await stack.enter_async_context(forwarder(gateway.url, token)) for token in tokens]
        before = memory(gateway)
        writer.signal(signal.SIGSTOP)
        sending = [asyncio.create_task(send_on(wire)) for wire in wires]
        await wait_until(lambda: refused(gateway.url, late), what="an upgrade to be refused")
        held = await steady(gateway)
        # The one that passed the limit is held too, not one or more of each device.
        assert held <= MIB + 2 * MESSAGE_BYTES
        assert memory(gateway) - before < 24 * MIB
        assert (await counts(database)).events == 0
        assert not any(len(wire.seen) > 1 for wire in wires)
        writer.signal(signal.SIGCONT)
        for wire in wires:
            assert [(await wire.ack())[0][2] for _ in range(MESSAGES)] == list(range(1, MESSAGES + 1))
        await asyncio.gather(*sending)
        await stack.enter_async_context(forwarder(gateway.url, late))
        assert await gateway.metric("rtserver_unacked_bytes") == 0
    assert await counts(database) == (960, 960, 0, 0, 960, 0, 960)


async def steady(gateway: Process) -> float:
    """Return what the gateway holds once that has not changed for a second."""
    last, since = -1.0, 0.0

    async def unchanged() -> bool:
        nonlocal last, since
        now = await gateway.metric("rtserver_unacked_bytes")
        time = asyncio.get_running_loop().time()
        if now != last:
            last, since = now, time
        return time - since > 1.0

    await wait_until(unchanged, what="the gateway to hold as much as it will")
    return last


async def test_devices_in_the_field_stay_connected_and_drain_afterwards(
    database_url: str, database: Database
) -> None:
    async with (
        rooms(database_url, fanout=0, MAX_UNACKED_MIB="1") as running,
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

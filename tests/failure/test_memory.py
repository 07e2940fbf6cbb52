"""Every bound of a gateway is full at once, in the memory that compose gives it: it lives, and serves on afterwards. So
does the writer that finds all of that in the inbox.
"""

import asyncio
import json
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import aiohttp

from tests.blunt import TEXT, Blunt, blunt
from tests.deploy.compose import load_compose, memory_of
from tests.failure.facts import Database
from tests.failure.flood import steady
from tests.failure.wire import READER, batch, forwarder, hello, read, refused
from tests.services import Process, make_token, services
from tests.waiting import wait_until

MIB = 1024 * 1024
HELLO = json.dumps(hello()).encode()
READ = (
    b'{"reader_ip":"r","stream_epoch":1,"seq":%%d,"reader_timestamp":"ts","raw_read_line":"%s","read_type":"rw"}'
    % (b"x" * 200)
)
LARGE = b",".join(READ % seq for seq in range(1, 15 * MIB // len(READ)))
SMALL = b",".join(READ % seq for seq in range(1, 200 * 1024 // len(READ)))


def lurk(stack: ExitStack, url: str, tokens: list[str]) -> None:
    """Open sockets that say nothing whole: without a good token, and without a hello."""
    for _ in range(90):
        device = stack.enter_context(blunt(url, "bad"))
        with suppress(OSError):
            device.send_head(16 * MIB)
            device.send_bytes(b"x" * 60_000)
    for token in tokens:
        for _ in range(8):
            device = stack.enter_context(blunt(url, token))
            assert device.status == 101
            device.send_head(MIB)
            device.send_bytes(b"x" * 60_000)


def greeted(stack: ExitStack, url: str, token: str) -> Blunt:
    device = stack.enter_context(blunt(url, token))
    device.send(HELLO)
    device.until(TEXT)
    return device


def send_on(device: Blunt, events: bytes, times: int) -> None:
    """Send batches as far as they are read."""
    device.stop_waiting(3.0)
    with suppress(TimeoutError):
        for _ in range(times):
            device.send(b'{"kind":"forwarder_event_batch","events":[%s]}' % events)


async def test_a_gateway_lives_when_all_its_bounds_are_full(database_url: str, database: Database) -> None:
    max_unacked = load_compose({"POSTGRES_PASSWORD": "p"})["services"]["gateway"]["environment"][
        "MAX_UNACKED_MIB"
    ]
    tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(80)]
    good = await make_token(database, "forwarder", "good")
    async with services(database_url, fanout=0, MAX_UNACKED_MIB=max_unacked) as running:
        gateway, writer = running.gateways[0], running.writers[0]
        resource.prlimit(gateway.pid, resource.RLIMIT_AS, (memory_of("gateway"),) * 2)
        resource.prlimit(writer.pid, resource.RLIMIT_AS, (memory_of("writer"),) * 2)
        writer.signal(signal.SIGSTOP)
        with ExitStack() as sockets, ThreadPoolExecutor(30) as threads:
            await asyncio.to_thread(lurk, sockets, gateway.url, tokens[:50])
            devices = [await asyncio.to_thread(greeted, sockets, gateway.url, each) for each in tokens[50:]]
            sending = [threads.submit(send_on, device, LARGE, 4) for device in devices[:8]]
            sending += [threads.submit(send_on, device, SMALL, 12) for device in devices[8:]]
            await asyncio.gather(*map(asyncio.wrap_future, sending))
            assert await steady(gateway) > int(max_unacked) * MIB * 0.75
            assert await refused(gateway.url, good)
            await gateway.ready()
        writer.signal(signal.SIGCONT)
        await wait_until(lambda: serves(gateway, good), what="room for another")
        await gateway.ready()
        await writer.ready()


async def serves(gateway: Process, token: str) -> bool:
    """Whether a forwarder is admitted and acked; there may be room for a moment only while what waited is read."""
    try:
        async with forwarder(gateway.url, token) as wire:
            await wire.send(batch(read(1)))
            return await wire.ack() == [(READER, 1, 1)]
    except aiohttp.WSServerHandshakeError as refusal:
        if refusal.status != 503:
            raise
        return False

"""Receivers that are slow, stopped or stuck: bounded, alone with it, and back at any time."""

import asyncio
import signal
from contextlib import AsyncExitStack

from shared.db.connections import Connection
from tests.bench.report import resident_bytes
from tests.delivery.conftest import UNBRIDLED, Standing, running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import START, connect, receiver, stopped
from tests.services import Process, make_token
from tests.waiting import stretched, wait_until

DELIVERED = "rtserver_events_delivered_total"
STOPPED = 40
_LOOKS = 5


async def steady(fanout: Process) -> float:
    """Wait until nothing more is delivered, and return how much was."""
    looks = [-1.0]
    # The fanout itself says five times that it is the same: it has had its turn each time, and each time longer than it
    # waits between two batches.
    while set(looks[-_LOOKS:]) != {looks[-1]} or len(looks) <= _LOOKS:
        await asyncio.sleep(0.05)
        looks.append(await fanout.metric(DELIVERED))
    return looks[-1]


async def test_stopped_receivers_cost_a_bounded_amount_of_memory(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 60_000)
    tokens = [await make_token(database, "receiver", f"tent-{number}") for number in range(STOPPED)]
    async with running_fanout(database_url, **UNBRIDLED) as fanout, AsyncExitStack() as stack:
        async with receiver(fanout.url, token, START) as wire:
            await wire.take(30_000, within_s=stretched(30))  # what pages are kept are there now
        delivered, memory = await steady(fanout), resident_bytes(fanout.pid)
        for each_token in tokens:
            await stack.enter_async_context(stopped(fanout.url, each_token, START))

        async def begun() -> bool:
            return await fanout.metric(DELIVERED) - delivered >= 200 * STOPPED

        await wait_until(begun, what="each to be sent what is in flight")
        each = (await steady(fanout) - delivered) / STOPPED
        grown = (resident_bytes(fanout.pid) - memory) / STOPPED
    # Ten times as much would fit into what the kernel gives a socket by itself.
    assert 200 <= each < 1_500
    assert grown < 400 * 1024


async def test_a_stopped_receiver_delays_no_other(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    await store_many(standing.database, stream, 2_000)
    async with AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(stopped(standing.url, standing.token, START))
        wire = await stack.enter_async_context(receiver(standing.url, standing.token, START))
        await wire.take(2_000)
        await steady(standing.fanout)
        longest = 0.0
        for seq in range(2_001, 2_051):
            began = asyncio.get_running_loop().time()
            await store(standing.database, stream, [(1, seq, b"x" * 4_000)])
            assert await wire.identities(1) == [(1, seq)]
            longest = max(longest, asyncio.get_running_loop().time() - began)
    assert longest < stretched(3.0)


async def test_a_receiver_that_stopped_for_a_while_gets_all_of_it_in_order(standing: Standing) -> None:
    stream = await make_stream(standing.database, *START)
    async with receiver(standing.url, standing.token, START) as wire:
        await store(standing.database, stream, [(1, 1, b"x")])
        await wire.take(1)
        for first in range(2, 6_002, 500):  # nothing is read of this while it is stored
            await store(
                standing.database, stream, [(1, seq, b"x" * 300) for seq in range(first, first + 500)]
            )
        await steady(standing.fanout)
        assert await wire.identities(6_000, within_s=stretched(20)) == [(1, seq) for seq in range(2, 6_002)]


async def test_a_stuck_receiver_that_is_refused_is_rid_of_within_seconds(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 20_000)
    async with running_fanout(database_url, **UNBRIDLED) as fanout, stopped(fanout.url, token, START) as raw:
        await steady(fanout)
        await asyncio.get_running_loop().sock_sendall(raw, b"\x81\x81\0\0\0\0{")  # no JSON

        async def gone() -> bool:
            return await fanout.metric("rtserver_connections") == 0

        await wait_until(gone, deadline_s=15, what="the connection to be counted out")
        await wait_until(lambda: no_sockets(fanout), deadline_s=5, what="its socket to be closed")


def no_sockets(fanout: Process) -> bool:
    """Whether no connection to the fanout is open any more on its side."""
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    established = "01"
    return not [row for row in rows if row[1].endswith(f":{fanout.port:04X}") and row[3] == established]


async def test_a_stop_ends_every_socket_with_1001_and_waits_for_no_stuck_one(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 20_000)
    tokens = [await make_token(database, "receiver", f"tent-{number}") for number in range(10)]
    async with running_fanout(database_url, **UNBRIDLED) as fanout, AsyncExitStack() as stack:
        for _ in range(5):
            await stack.enter_async_context(stopped(fanout.url, token, START))
        await steady(fanout)
        live = [await stack.enter_async_context(receiver(fanout.url, each, START)) for each in tokens]
        await asyncio.gather(*(wire.take(500) for wire in live))
        silent = await stack.enter_async_context(connect(fanout.url, token))  # has not said hello yet
        began = asyncio.get_running_loop().time()
        fanout.signal(signal.SIGTERM)
        codes = await asyncio.gather(*(wire.closed() for wire in [*live, silent]))
        assert asyncio.get_running_loop().time() - began < stretched(5)
        assert await fanout.ended() == 0  # within its deadline, else it would have been cancelled
    assert codes == [1001] * 11
    assert await database.fetchval("SELECT count(*) FROM receiver_sessions") == 0
    assert await database.fetchval("SELECT count(*) FROM processes") == 0

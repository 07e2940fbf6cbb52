"""Postgres is away for a while: nobody new is admitted, nobody is sent away, nothing is acked."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.failure.cluster import own_cluster
from tests.failure.facts import counts
from tests.failure.fleet import fleet
from tests.failure.flood import DEVICES, MESSAGE_BYTES, MESSAGES, MIB, all_acked, memory, send_on, steady
from tests.failure.wire import READER, batch, connect, forwarder, hello, read, reads, refused
from tests.services import Process, make_token, services
from tests.waiting import wait_until


async def test_open_sessions_outlive_it_and_new_ones_wait(tmp_path: Path, seed: Path) -> None:
    async with own_cluster(tmp_path, seed) as cluster:
        async with cluster.connection() as database:
            token = await make_token(database, "forwarder", "f")
        async with services(cluster.url, fanout=0) as running:
            gateway = running.gateways[0]
            async with forwarder(gateway.url, token) as wire:
                await cluster.stop()
                await wait_until(lambda: refused(gateway.url), deadline_s=5.0, what="upgrades to be refused")
                await wait_until(lambda: unready(gateway), deadline_s=5.0, what="/readyz to say so")
                await wire.send(batch(*reads(1, 10)))
                await wire.send(batch(read(1, reader="a new reader")))  # needs a stream
                await wire.send(hello([READER], display_name="Start"))  # needs to be written down
                with pytest.raises(TimeoutError):
                    await wire.next(within_s=0.5)
                await cluster.start()
                assert await wire.ack() == [(READER, 1, 10)]
                assert await wire.ack() == [("a new reader", 1, 1)]
                while heartbeats(wire.seen) < 2:  # the second hello's answer, which may come before the acks
                    assert await wire.next() is not None
                await gateway.ready()
                async with connect(gateway.url, "any"):
                    pass


async def unready(process: Process) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{process.url}/readyz") as answer:
        return answer.status == 503


def heartbeats(messages: list[dict[str, object]]) -> int:
    return sum(message["kind"] == "heartbeat" for message in messages)


async def test_what_devices_send_meanwhile_is_read_up_to_a_bound_and_all_of_it_drains_afterwards(
    tmp_path: Path,
    seed: Path,
) -> None:
    async with own_cluster(tmp_path, seed) as cluster, AsyncExitStack() as stack:
        async with cluster.connection() as database:
            tokens = [await make_token(database, "forwarder", f"f{number}") for number in range(DEVICES)]
        running = await stack.enter_async_context(services(cluster.url, fanout=0, MAX_UNACKED_MIB="1"))
        gateway = running.gateways[0]
        wires = [await stack.enter_async_context(forwarder(gateway.url, token)) for token in tokens]
        before = memory(gateway)
        await cluster.stop()
        sending = [asyncio.create_task(send_on(wire)) for wire in wires]
        assert MIB - 2 * MESSAGE_BYTES < await steady(gateway) <= MIB
        assert memory(gateway) - before < 24 * MIB
        assert not any(len(wire.seen) > 1 for wire in wires)
        await cluster.start()
        for wire in wires:
            await all_acked(wire)
        await asyncio.gather(*sending)
        async with cluster.connection() as database:
            found = await counts(database)
        assert found.exact
        assert found.events == DEVICES * MESSAGES


async def test_a_fleet_drains_afterwards_without_having_reconnected(tmp_path: Path, seed: Path) -> None:
    async with (
        own_cluster(tmp_path, seed) as cluster,
        cluster.connection() as database,
        services(cluster.url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways)) as devices,
    ):
        async with devices.racing():
            for _ in range(2):
                await cluster.stop()
                await wait_until(lambda: refused(running.gateways[0].url), what="upgrades to be refused")
                await cluster.start()
                await devices.goes_on()
        await devices.drained()
        assert devices.reconnects == 0
        async with cluster.connection() as after:
            await devices.whole(after)


async def test_a_gateway_that_starts_without_it_says_so_in_one_line_and_ends(
    tmp_path: Path, seed: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with own_cluster(tmp_path, seed) as cluster:
        await cluster.stop()
        process = Process("gateway", cluster.url, {})
        capfd.readouterr()
        await process.start()
        assert await process.ended() == 1
        said = capfd.readouterr().err.splitlines()
        assert len(said) == 1
        assert "cannot_run" in said[0]
        await cluster.start()

"""Postgres crashes, with batches in the inbox that the crash empties, and comes back on its port."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeAlias

import asyncpg
import pytest

from tests.failure.cluster import Cluster, own_cluster
from tests.failure.facts import counts, lines
from tests.failure.fleet import fleet
from tests.failure.wire import READER, Wire, batch, forwarder, reads
from tests.services import Services, make_token, services
from tests.waiting import wait_until

Fault: TypeAlias = Callable[[Cluster], Awaitable[None]]


@pytest.fixture
async def cluster(tmp_path: Path, seed: Path) -> AsyncIterator[Cluster]:
    """A Postgres to crash."""
    async with own_cluster(tmp_path, seed) as started:
        yield started


async def crash(cluster: Cluster) -> None:
    await cluster.crash()
    await cluster.start()


async def kill_a_backend(cluster: Cluster) -> None:
    async with cluster.connection() as victim:
        pid = await victim.fetchval("SELECT pg_backend_pid()")
        await cluster.kill_backend(pid)
        await wait_until(victim.is_closed, what="the connection to end")


@pytest.mark.parametrize("fault", [crash, kill_a_backend])
async def test_what_a_crash_takes_from_the_inbox_is_staged_again(cluster: Cluster, fault: Fault) -> None:
    async with cluster.connection() as database:
        token = await make_token(database, "forwarder", "f")
    async with services(cluster.url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        running.writers[0].signal(signal.SIGSTOP)
        generation = await stage(cluster, wire)
        await fault(cluster)
        await wait_until(lambda: up(cluster), what="Postgres to be back")
        async with cluster.connection() as database:
            # Nobody but the gateway brings the parts back: the writer still stands still.
            await wait_until(
                lambda: database.fetchval("SELECT count(*) = 3 FROM inbox"),
                what="the parts to be staged again",
            )
            assert await database.fetchval("SELECT generation FROM inbox_generation") != generation
            running.writers[0].signal(signal.SIGCONT)
            assert [await wire.ack() for _ in range(3)] == [[(READER, 1, last)] for last in (10, 20, 30)]
            assert [row[1] for row in await lines(database, "f", READER)] == list(range(1, 31))
            assert (await counts(database)).exact


async def stage(cluster: Cluster, wire: Wire) -> object:
    """Send three batches and return the inbox's generation once they lie in it."""
    async with cluster.connection() as database:
        for first in (1, 11, 21):
            await wire.send(batch(*reads(first, first + 9)))
        await wait_until(lambda: database.fetchval("SELECT count(*) = 3 FROM inbox"), what="three parts")
        return await database.fetchval("SELECT generation FROM inbox_generation")


async def up(cluster: Cluster) -> bool:
    try:
        async with cluster.connection() as database:
            return bool(await database.fetchval("SELECT true"))
    except (OSError, asyncpg.PostgresError):
        return False


@pytest.mark.parametrize("fault", [crash, kill_a_backend])
async def test_nothing_that_was_acked_is_lost_and_no_session_ends(cluster: Cluster, fault: Fault) -> None:
    async with (
        cluster.connection() as database,
        services(cluster.url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways)) as devices,
    ):
        async with devices.racing():
            for _ in range(2):
                await devices.goes_on(33)
                await fault(cluster)
            await wait_until(lambda: up(cluster), what="Postgres to be back")
            await all_ready(running)
        await devices.drained()
        assert devices.reconnects == 0
        async with cluster.connection() as after:
            await devices.whole(after)


async def all_ready(running: Services) -> None:
    for process in running.all:
        await process.ready()


async def test_a_connection_of_ours_that_the_crash_left_open_is_not_trusted(cluster: Cluster) -> None:
    """The same once more, with the gateway stopped over the crash: it wakes up to dead connections."""
    async with cluster.connection() as database:
        token = await make_token(database, "forwarder", "f")
    async with services(cluster.url, fanout=0) as running, forwarder(running.gateways[0].url, token) as wire:
        await wire.send(batch(*reads(1, 10)))
        await wire.ack()
        running.gateways[0].signal(signal.SIGSTOP)
        await wire.send(batch(*reads(11, 20)))
        await crash(cluster)
        running.gateways[0].signal(signal.SIGCONT)
        assert await wire.ack() == [(READER, 1, 20)]

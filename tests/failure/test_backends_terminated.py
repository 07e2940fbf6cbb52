"""Single backends are terminated, one kind after another, while reads come in."""

import asyncio
from functools import partial

import pytest

from tests.failure.facts import Database, backends
from tests.failure.fleet import fleet
from tests.failure.wire import connect, hello
from tests.services import make_token, services
from tests.waiting import wait_until

KINDS = [
    "rt-server gateway staging",
    "rt-server gateway outcomes",
    "rt-server gateway notifier",
    "rt-server gateway listener",
    "rt-server gateway presence",
    "rt-server gateway",  # the pool
    "rt-server writer drain",
    "rt-server writer upkeep",
    "rt-server writer notifier",
    "rt-server writer listener",
    "rt-server writer presence",
]


async def terminate(database: Database, kind: str) -> int:
    """Terminate all backends of a kind and wait until they are gone; return how many there were."""
    pids = await backends(database, kind)
    for pid in pids:
        await database.execute("SELECT pg_terminate_backend($1, 5000)", pid)
    return len(pids)


async def test_reads_go_on_whichever_connection_is_lost(database_url: str, database: Database) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways), count=4) as devices,
    ):
        async with devices.racing():
            for kind in KINDS * 2:
                await devices.goes_on(20)
                assert await wait_until(partial(terminate, database, kind), what=kind)
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)
        for process in running.all:
            await process.ready()


async def test_reads_go_on_when_all_connections_are_lost_at_once(
    database_url: str, database: Database
) -> None:
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways), count=4) as devices,
    ):
        async with devices.racing():
            for _ in range(4):
                await devices.goes_on(20)
                await terminate(database, "rt-server %")
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)


@pytest.mark.parametrize("where", [0, 1])
async def test_a_gateway_that_lost_its_lock_keeps_its_devices(
    database_url: str, database: Database, where: int
) -> None:
    """Without its advisory lock it counts as dead for a moment: only who asks to take over just then could tell."""
    token = await make_token(database, "forwarder", "f")
    async with (
        services(database_url, gateway=2, writer=0, fanout=0) as running,
        connect(running.gateways[0].url, token) as first,
    ):
        await first.greet()
        alive = asyncio.create_task(first.next(within_s=60))
        assert await terminate(database, "rt-server gateway presence") == 2
        await wait_until(
            lambda: database.fetchval("SELECT count(*) = 2 FROM live_processes"), what="both to be back"
        )
        for gateway in running.gateways:
            await gateway.ready()
        async with connect(running.gateways[where].url, token) as second:
            await second.send(hello())
            assert (await second.expect("error"))["code"] == "PROTOCOL_ERROR"
        assert not alive.done()
        alive.cancel()

"""What breaks around a receiver, and what it sees of it: nothing, or one reconnect."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random

import aiohttp
import pytest

from deploy.simulation.devices.arrivals import Arrivals
from deploy.simulation.devices.forwarder import Forwarder
from deploy.simulation.devices.receiver import AT_ONCE, Receiver
from shared.db.connections import Connection
from tests.delivery.conftest import running_fanout
from tests.delivery.stored import make_stream, store, store_many
from tests.delivery.wire import READER, START, connect, receiver
from tests.delivery.wire_v12 import PATH
from tests.failure.cluster import own_cluster
from tests.failure.facts import backends
from tests.services import Process, make_token, services
from tests.waiting import stretched, wait_until

POLL_S = 0.5


async def cursor_at(database: Connection, last_seq: int) -> None:
    async def written() -> bool:
        return (await database.fetchval("SELECT max(last_seq) FROM receiver_cursors") or 0) >= last_seq

    await wait_until(written, what=f"the cursor at {last_seq}")


@asynccontextmanager
async def running(receiver: Receiver) -> AsyncIterator[Receiver]:
    """Keep a device connected for as long as this lasts; it must not lose its connection meanwhile."""
    task = asyncio.ensure_future(receiver.run())
    await receiver.wait_connected()
    try:
        yield receiver
        assert not task.done()
        await receiver.stop()
    finally:
        await asyncio.wait({task}, timeout=5)
        task.cancel()


def in_order(arrivals: Arrivals, count: int) -> bool:
    """Whether 1 to `count` of the one epoch came, each once and in order on each connection."""
    (epoch,) = arrivals.epochs.values()
    return (epoch.through, epoch.twice, epoch.backward, epoch.ahead) == (count, 0, 0, set())


async def test_restarts_of_all_others_are_not_seen_by_receivers(
    database_url: str, database: Connection, token: str
) -> None:
    async with services(database_url, api=1) as cluster:
        forwarder = Forwarder(
            url=cluster.gateways[0].url,
            token=await make_token(database, "forwarder", "start"),
            device_id="start",
            readers=[READER],
            backoff_s=(0.05, 0.2),
            flush_s=0.0,
        )
        device = asyncio.ensure_future(forwarder.run())
        async with running(
            Receiver(url=cluster.fanouts[0].url, token=token, streams=[START], manners=AT_ONCE)
        ) as tent:
            for process in (cluster.writers[0], cluster.gateways[0], cluster.apis[0]):
                for number in range(300):
                    forwarder.record(READER, f"line {number}")
                await wait_until(lambda: forwarder.acked, what="the first ack")
                await process.kill()
                for number in range(100):
                    forwarder.record(READER, f"line {number} into the void")
                await process.start()
                await process.ready()
                await asyncio.wait_for(forwarder.drained(), stretched(20))
            await asyncio.wait_for(tent.wait_for(1_200), stretched(20))
            assert in_order(tent.arrivals, 1_200)
            assert tent.sessions == 1
        await forwarder.stop()
        await device


@pytest.mark.parametrize("how", ["crash", "stop"])
async def test_a_postgres_that_goes_and_comes_back_closes_no_receivers_socket(
    tmp_path: Path, seed: Path, how: str
) -> None:
    async with own_cluster(tmp_path, seed) as cluster:
        async with cluster.connection() as database:
            token = await make_token(database, "receiver", "tent")
            stream = await make_stream(database, *START)
            await store_many(database, stream, 3_000)
        async with (
            running_fanout(cluster.url) as fanout,
            receiver(fanout.url, token, START) as live,
            receiver(fanout.url, token, START) as replaying,
        ):
            # First, and unacked: it begins where the other's acks have brought the receiver.
            got = await replaying.identities(200, acking=False)
            assert len(await live.identities(3_000)) == 3_000
            await (cluster.crash() if how == "crash" else cluster.stop())
            await wait_until(lambda: refuses(fanout, token), what="new receivers to be refused")
            assert await refuses(fanout, token, path=PATH)
            await live.ack((START, 1, 3_000))
            got += await replaying.identities(800)  # a page that it had
            assert await live.silent(for_s=1.0)
            await cluster.start()
            await fanout.ready()
            async with cluster.connection() as database:
                await cursor_at(database, 3_000)
                got += await replaying.identities(2_000, within_s=stretched(20))
                await store(database, stream, [(1, 3_001, b"after")])
                assert await live.identities(1) == [(1, 3_001)]
                got += await replaying.identities(1)
                assert got == [(1, seq) for seq in range(1, 3_002)]
                rows = await database.fetch("SELECT session_id::text FROM live_receiver_sessions")
                assert {row[0] for row in rows} == {live.session_id, replaying.session_id}


async def refuses(fanout: Process, token: str, path: str = "/ws/v1/receivers") -> bool:
    try:
        async with connect(fanout.url, token, path=path):
            return False
    except aiohttp.WSServerHandshakeError as refusal:
        return refusal.status == 503


async def test_a_fanout_killed_in_mid_stream_costs_a_reconnect_and_no_event(
    fanout: Process, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, 2_000)
    arrivals = Arrivals()
    sessions = 0
    for until in (300, 800, 1_300):
        tent = Receiver(
            url=fanout.url,
            token=token,
            streams=[START],
            manners=AT_ONCE,
            arrivals=arrivals,
            keep=False,
            ack_after_s=0.03,
        )
        task = asyncio.ensure_future(tent.run())
        await tent.wait_connected()
        await wait_until(lambda until=until: arrived(arrivals) >= until, what=f"{until} events")  # type: ignore[misc]
        await fanout.kill()
        assert arrived(arrivals) < 2_000
        await task
        sessions += tent.sessions
        await fanout.start()
        await fanout.ready()
    async with running(
        Receiver(url=fanout.url, token=token, streams=[START], manners=AT_ONCE, arrivals=arrivals, keep=False)
    ):
        await store(database, stream, [(1, 2_001, b"new")])
        await wait_until(lambda: arrived(arrivals) == 2_001, what="everything")
        assert sessions == 3
        assert in_order(arrivals, 2_001)
        # Whose node died is not here any more; one is.
        assert await database.fetchval("SELECT count(*) FROM live_receiver_sessions") == 1


def arrived(arrivals: Arrivals) -> int:
    return sum(epoch.reads for epoch in arrivals.epochs.values())


async def test_lost_connections_to_the_database_are_not_seen_by_receivers(
    fanout: Process, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    await store_many(database, stream, 5_000)
    random = Random(7)
    seq = 5_000
    arrivals = Arrivals()
    tent = Receiver(
        url=fanout.url,
        token=token,
        streams=[START],
        manners=AT_ONCE,
        arrivals=arrivals,
        keep=False,
        ack_after_s=0.002,
    )
    async with running(tent):
        for _ in range(12):
            pids = await backends(database, "rt-server fanout%")
            for pid in random.sample(pids, random.randint(1, len(pids))) if pids else []:
                await database.execute("SELECT pg_terminate_backend($1)", pid)
            for _ in range(5):
                seq += 1
                await store(database, stream, [(1, seq, b"new")])
        await wait_until(lambda: arrived(arrivals) == seq, deadline_s=20, what="everything")
        assert in_order(arrivals, seq)
        await cursor_at(database, seq)
        await fanout.ready()


@pytest.mark.parametrize("name", ["tail", "listener", "presence"])
async def test_each_connection_of_the_fanout_comes_back_by_itself(
    fanout: Process, database: Connection, token: str, name: str
) -> None:
    stream = await make_stream(database, *START)
    async with receiver(fanout.url, token, START) as wire:
        await store(database, stream, [(1, 1, b"a")])
        await wire.take(1)
        # What was stored before it began may have come as a replay, before the tail has asked for anything.
        (pid,) = await wait_until(
            lambda: backends(database, f"rt-server fanout {name}"), what=f"the connection of the {name}"
        )
        await database.execute("SELECT pg_terminate_backend($1)", pid)
        await store(database, stream, [(1, 2, b"b")])
        assert await wire.identities(1) == [(1, 2)]

        async def is_back() -> bool:
            return await backends(database, f"rt-server fanout {name}") not in ([], [pid])

        await wait_until(is_back, what=f"another {name}")


async def test_without_listen_everything_comes_only_later(
    database_url: str, database: Connection, token: str
) -> None:
    async with (
        running_fanout(database_url, LISTEN="off") as fanout,
        receiver(fanout.url, token, START) as wire,
    ):
        assert await backends(database, "rt-server fanout listener") == []
        stream = await make_stream(database, *START)
        await store(database, stream, [(1, 1, b"a")])
        assert await wire.identities(1, within_s=stretched(5)) == [(1, 1)]
        for seq in range(2, 5):
            began = asyncio.get_running_loop().time()
            await store(database, stream, [(1, seq, b"a")])
            assert await wire.identities(1, within_s=stretched(5)) == [(1, seq)]
            assert asyncio.get_running_loop().time() - began < stretched(5 * POLL_S)


async def test_a_notification_that_is_lost_costs_a_poll(
    fanout: Process, database: Connection, token: str
) -> None:
    stream = await make_stream(database, *START)
    async with receiver(fanout.url, token, START) as wire:
        await store(database, stream, [(1, 1, b"a")])
        await wire.take(1)
        found = await fanout.metric("rtserver_polls_found_work_total")
        seqs = itertools.count(2)

        async def counted() -> bool:
            seq = next(seqs)
            await store(database, stream, [(1, seq, b"b")], notify=False)
            assert await wire.identities(1, within_s=stretched(5)) == [(1, seq)]
            # The notification of an earlier event may still be on its way, and wake who would have polled.
            return await fanout.metric("rtserver_polls_found_work_total") > found

        await wait_until(counted, what="the poll to be counted")

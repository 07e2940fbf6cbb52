"""Parts of a fanout over a real database, without its process."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import cast
from uuid import UUID, uuid4

import asyncpg
import pytest

from fanout.app import Fanout
from fanout.generation import FIRST
from fanout.node import Node
from fanout.settings import FanoutSettings
from fanout.store import POOL_SETTINGS
from fanout.tail import Tails
from shared.db.connections import Connection, create_pool
from shared.db.poll_loop import PollLoop
from shared.protocol.v1 import StreamRef
from shared.runtime.process import Process
from shared.wake import Stop
from tests import inside
from tests.delivery.stored import empty, make_stream
from tests.fanout.receiving import Receiver, running
from tests.ports import free_port
from tests.postgres import Postgresql

READER = "10.0.0.1:10000"

_DATABASE = "fanout_parts"


@pytest.fixture(scope="session")
def parts_url(cluster: Postgresql) -> str:
    """The address of one database for all tests here: emptying it is quicker than making another."""
    return asyncio.run(_make_database(cluster))


async def _make_database(cluster: Postgresql) -> str:
    connection = await asyncpg.connect(cluster.url(database="postgres"))
    await connection.execute(f"CREATE DATABASE {_DATABASE} TEMPLATE rt_template")
    await connection.close()
    url: str = cluster.url(database=_DATABASE)
    return url


@pytest.fixture
async def database_url(parts_url: str) -> str:
    """The address of a database with nothing in it but its schema."""
    connection = await asyncpg.connect(parts_url)
    await empty(connection)
    await connection.close()
    return parts_url


@pytest.fixture
async def process(database_url: str) -> AsyncIterator[Process]:
    """What the parts ask of their process: a pool, settings, a listener that receives nothing."""
    pool = await create_pool(database_url, name="test", size=4, **POOL_SETTINGS)
    stop = Stop()
    yield cast(
        "Process",
        SimpleNamespace(
            pool=pool,
            stop=stop,
            loop=partial(PollLoop, stop=stop),
            settings=FanoutSettings.read({"database_url": database_url}),
            listener=SimpleNamespace(on=lambda *_: None),
            presence=SimpleNamespace(process_id=uuid4()),
        ),
    )
    await pool.close()


@pytest.fixture
async def stream_id(database: Connection) -> UUID:
    """A stream `start` of READER with nothing in it."""
    return await make_stream(database, "start", READER)


@pytest.fixture
async def tails(process: Process) -> AsyncIterator[Tails]:
    """The tails of a node, which nothing feeds."""
    found = Tails(process)
    yield found
    found.link.drop()


@pytest.fixture
async def ids(database: Connection) -> dict[str, UUID]:
    """Three streams, by the names that `ref` makes."""
    return {name: await make_stream(database, "start", name) for name in ("a", "b", "c")}


@pytest.fixture
def node(process: Process) -> Node:
    """A node that gives no pause, and waits for acks as long as it takes."""
    settings = replace(
        cast("FanoutSettings", process.settings),
        pace_ms=60_000,
        replay_events_per_second=0,
        live_events_per_second=0,
        second_generation_events_per_second=0,
    )
    return Node.of(process, settings)


@pytest.fixture
async def receiver(node: Node, database: Connection) -> AsyncIterator[Receiver]:
    """Receiver `tent`, which is being sent what it subscribes to."""
    async with running(node, database) as found:
        yield found


def ref(name: str) -> StreamRef:
    """Name a stream of forwarder `start`."""
    return StreamRef("start", name)


async def resolve(tails: Tails) -> None:
    """Look at all names, as is done now and then."""
    await tails.look_up(list(tails.tails))


class Follower:
    """Who follows streams, and the readers of those that have moved."""

    generation = FIRST

    def __init__(self) -> None:
        self.woken: set[str] = set()

    def wake(self, ref: StreamRef) -> None:
        self.woken.add(ref.reader_ip)


@asynccontextmanager
async def running_inside(database_url: str, **settings: str) -> AsyncIterator[str]:
    """Run a whole fanout in the test's own process, where its constants can be changed; yields its address."""
    async with running_fanout_inside(database_url, **settings) as (_, url):
        yield url


@asynccontextmanager
async def running_fanout_inside(database_url: str, **settings: str) -> AsyncIterator[tuple[Fanout, str]]:
    """The same; yields the fanout, too."""
    port = free_port()
    given = {"database_url": database_url, "bind": f"127.0.0.1:{port}", **settings}
    fanout = Fanout(FanoutSettings.read(given))
    async with inside.running(fanout.process, fanout.run(), port):
        yield fanout, f"http://127.0.0.1:{port}"

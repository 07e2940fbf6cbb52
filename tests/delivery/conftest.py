"""Fanouts for tests: one that stands for all tests that leave it alone, and some of one's own to stop and kill."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import asyncpg
import pytest

from shared.db.connections import Connection
from tests.delivery.stored import empty
from tests.postgres import TEMPLATE, Postgresql, execute
from tests.services import Process, make_token
from tests.waiting import wait_until

_DATABASE = "standing_fanout"
# Settings of a fanout that does not wait after each message as devices in the field need it (test_pace.py).
NO_PAUSE = {
    "REPLAY_EVENTS_PER_SECOND": "0",
    "LIVE_EVENTS_PER_SECOND": "0",
    "SECOND_GENERATION_EVENTS_PER_SECOND": "0",
}
# The same, and it sends on whether it is acked or not: what stops it is the socket.
UNBRIDLED = {**NO_PAUSE, "MAX_IN_FLIGHT": "100000"}
# Everything but who is alive: the fanout stays.
_EMPTY = (
    "TRUNCATE device_tokens, streams, events, stream_metrics, receiver_cursors, receiver_sessions CASCADE"
)


@dataclass
class Standing:
    """The fanout that stands, its database, which was emptied for this test, and the token of receiver `tent`."""

    fanout: Process
    database: Connection
    token: str

    @property
    def url(self) -> str:
        """Where receivers reach it."""
        return self.fanout.url

    async def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        return await self.fanout.metric(name)


@pytest.fixture(scope="session")
def standing_fanout(cluster: Postgresql) -> Iterator[Process]:
    """A fanout's process for all tests of this worker."""
    asyncio.run(execute(cluster, f"CREATE DATABASE {_DATABASE} TEMPLATE {TEMPLATE}"))
    fanout = Process("fanout", cluster.url(database=_DATABASE), NO_PAUSE)
    asyncio.run(fanout.start())
    yield fanout
    asyncio.run(fanout.kill())
    asyncio.run(execute(cluster, f"DROP DATABASE {_DATABASE} WITH (FORCE)"))


@pytest.fixture
async def standing(standing_fanout: Process) -> AsyncIterator[Standing]:
    """The fanout that stands, as if nobody had been there before."""
    await wait_until(lambda: _is_ready(standing_fanout.url), deadline_s=30, what="the fanout to be ready")
    database = await asyncpg.connect(standing_fanout.database_url)
    await empty(database)
    yield Standing(standing_fanout, database, await make_token(database, "receiver", "tent"))
    await database.close()


async def _is_ready(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as http, http.get(f"{url}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


@asynccontextmanager
async def running_fanout(database_url: str, **environment: str) -> AsyncIterator[Process]:
    """Run a fanout of one's own; at the end it is killed."""
    process = Process("fanout", database_url, environment)
    await process.start()
    try:
        await process.ready()
        yield process
    finally:
        if process.child is not None and process.child.returncode is None:
            await process.kill()


@pytest.fixture
async def fanout(database_url: str) -> AsyncIterator[Process]:
    """A fanout of one's own over a fresh database."""
    async with running_fanout(database_url) as process:
        yield process


@pytest.fixture
async def token(database: Connection) -> str:
    """The token of receiver `tent` in the fresh database."""
    return await make_token(database, "receiver", "tent")

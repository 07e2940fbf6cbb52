"""What measurements stand on: a Postgres of their own with the settings of production, and a fresh database each."""

import itertools
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple, TypedDict

import asyncpg

from deploy.local.postgres import EmbeddedPostgres
from shared.db.connections import Connection
from shared.db.migrate import migrate
from tests.services import Process, make_token

__all__ = ["NO_PAUSE", "RESULTS", "Ground", "Pace", "Site", "ground", "receivers", "running"]

# Ignored by git; the database lies there too, on a real disk.
RESULTS = Path(".bench").absolute()


class Pace(TypedDict, total=False):
    """Settings of a fanout: how fast its receivers are sent to."""

    REPLAY_EVENTS_PER_SECOND: str
    LIVE_EVENTS_PER_SECOND: str
    SECOND_GENERATION_EVENTS_PER_SECOND: str


# For receivers that take all that comes: what the server can do, and not what receivers in the field bear. What their
# pace costs is a figure of its own (pace.py).
NO_PAUSE: Pace = {
    "REPLAY_EVENTS_PER_SECOND": "0",
    "LIVE_EVENTS_PER_SECOND": "0",
    "SECOND_GENERATION_EVENTS_PER_SECOND": "0",
}


class Site(NamedTuple):
    """A fresh, migrated database: its address and a connection to it."""

    url: str
    database: Connection


async def receivers(site: Site, count: int, name: str = "bench") -> list[str]:
    """Make so many receivers, and return their tokens; one of them may have eight sessions at the most."""
    return [await make_token(site.database, "receiver", f"{name}-{number}") for number in range(count)]


class Ground:
    """A Postgres server, by the address of one of its databases; `postgres_pid` where it is ours to look into."""

    def __init__(self, server_url: str, postgres_pid: int | None = None) -> None:
        self.postgres_pid = postgres_pid
        self._server_url = server_url
        self._numbers = itertools.count(1)

    @asynccontextmanager
    async def site(self) -> AsyncIterator[Site]:
        """Make a database; it is gone afterwards."""
        name = f"bench_{next(self._numbers)}"
        admin = await asyncpg.connect(self._server_url)
        try:
            await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            await admin.execute(f"CREATE DATABASE {name}")
            # What the last measurement left in memory is written now, not in the middle of the next.
            await admin.execute("CHECKPOINT")
            url = f"{self._server_url.rsplit('/', 1)[0]}/{name}"
            await migrate(url)
            database = await asyncpg.connect(url)
            yield Site(url, database)
            await database.close()
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        finally:
            await admin.close()


@asynccontextmanager
async def ground(server_url: str | None = None) -> AsyncIterator[Ground]:
    """Use the server at `server_url`, or run one for as long as it is needed: fsync on, as `rt-server up` has it."""
    if server_url is not None:
        yield Ground(server_url)
        return
    with tempfile.TemporaryDirectory(dir=RESULTS, prefix="postgres-") as directory:
        server = EmbeddedPostgres(Path(directory))
        await server.start()
        try:
            yield Ground(server.url, server.pid)
        finally:
            await server.stop()


@asynccontextmanager
async def running(role: str, site: Site, **environment: str) -> AsyncIterator[Process]:
    """Run one process of a role over a site."""
    process = Process(role, site.url, {"LOG_LEVEL": "warn", **environment})
    await process.start()
    try:
        await process.ready()
        yield process
    finally:
        await process.kill()

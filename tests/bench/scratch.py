"""A database and a fanout of one's own for a measurement."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.database import Connection
from tests.rooms import Process

__all__ = ["fanout_over_scratch"]


@asynccontextmanager
async def fanout_over_scratch(server_url: str, name: str) -> AsyncIterator[tuple[Process, Connection]]:
    """Make the database `name` anew at a server (the address of any of its databases) and run a fanout over it."""
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await admin.execute(f"CREATE DATABASE {name}")
        url = server_url.rsplit("/", 1)[0] + "/" + name
        fanout = Process("fanout", url, {"LOG_LEVEL": "warn"})
        await fanout.start()
        try:
            await fanout.ready()
            database = await asyncpg.connect(url)
            yield fanout, database
            await database.close()
        finally:
            await fanout.kill()
            await admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
    finally:
        await admin.close()

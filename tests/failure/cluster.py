"""A Postgres of a test's own, to be crashed, stopped and brought back on its port."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from shared.db.migrate import migrate
from tests.failure.facts import Database
from tests.postgres import Postgresql, start_cluster

__all__ = ["Cluster", "own_cluster"]


class Cluster:
    """One Postgres; made by `own_cluster`."""

    def __init__(self, postgres: Postgresql) -> None:
        self._postgres = postgres
        self.url: str = postgres.url(database="test")

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Database]:
        """A connection of the test's own."""
        connection = await asyncpg.connect(self.url)
        try:
            yield connection
        finally:
            connection.terminate()

    async def crash(self) -> None:
        """Stop it as `pg_ctl -m immediate` does: without a checkpoint, so that it must recover."""
        postmaster = self._postgres.child_process
        assert postmaster is not None
        postmaster.send_signal(signal.SIGQUIT)
        await asyncio.to_thread(postmaster.wait)
        self._postgres.child_process = None

    async def stop(self) -> None:
        """Stop it in order."""
        await asyncio.to_thread(self._postgres.terminate)

    async def start(self) -> None:
        """Bring it back with its data, on its port."""
        await asyncio.to_thread(self._postgres.start)

    @property
    def runs(self) -> bool:
        """Whether its postmaster lives."""
        return bool(self._postgres.is_alive())

    async def kill_backend(self, pid: int) -> None:
        """Kill -9 one backend, on which all others end too and memory is set up anew."""
        os.kill(pid, signal.SIGKILL)


@asynccontextmanager
async def own_cluster(
    directory: Path, seed: Path | None, *, initdb_args: str = "", postgres_args: str = ""
) -> AsyncIterator[Cluster]:
    """Start a Postgres with the schema in its database; without a seed it is made anew, with these arguments."""
    postgres = await asyncio.to_thread(
        start_cluster, directory, seed, initdb_args=initdb_args, postgres_args=postgres_args
    )
    try:
        cluster = Cluster(postgres)
        if seed is None:
            await migrate(cluster.url)
        yield cluster
    finally:
        await asyncio.to_thread(postgres.stop)

"""A listener that never reads fills the notification queue: whoever notifies then fails, unless he looks first."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.delivery.wire import receiver
from tests.failure.cluster import Cluster, own_cluster
from tests.failure.facts import Database
from tests.failure.wire import READER, batch, forwarder, read
from tests.services import make_token, services

FULL = 0.9


@asynccontextmanager
async def small_queue(directory: Path, seed: Path) -> AsyncIterator[Cluster]:
    """A Postgres with as little room for notifications as can be."""
    async with own_cluster(directory, seed) as cluster:
        async with cluster.connection() as database:
            await database.execute("ALTER SYSTEM SET max_notify_queue_pages = 64")
        await cluster.stop()
        await cluster.start()
        yield cluster


@asynccontextmanager
async def jammed(cluster: Cluster, database: Database) -> AsyncIterator[None]:
    """Let somebody listen who never reads, and notify until the server refuses."""
    async with cluster.connection() as unresponsive:
        await unresponsive.execute("LISTEN unresponsive")
        await unresponsive.execute("BEGIN")
        payloads = [(f"{number:07900}",) for number in range(1_000)]
        with pytest.raises(asyncpg.ProgramLimitExceededError):
            await database.executemany("SELECT pg_notify('unresponsive', $1)", payloads)
        assert await database.fetchval("SELECT pg_notification_queue_usage()") > FULL
        yield


async def test_everything_lives_by_the_polls_while_the_queue_is_jammed(tmp_path: Path, seed: Path) -> None:
    async with small_queue(tmp_path, seed) as cluster, cluster.connection() as database:
        tokens = [await make_token(database, kind, kind) for kind in ("forwarder", "receiver")]
        async with services(cluster.url) as running, jammed(cluster, database):
            async with forwarder(running.gateways[0].url, tokens[0]) as wire:
                for number in range(1, 4):
                    await wire.send(batch(read(number)))
                    assert await wire.ack() == [(READER, 1, number)]
            async with receiver(running.fanouts[0].url, tokens[1], ("forwarder", READER)) as tent:
                assert await tent.identities(3) == [(1, 1), (1, 2), (1, 3)]
            ended = [process.child and process.child.returncode for process in running.all]
            assert ended == [None] * len(ended)

"""A long-running snapshot elsewhere (a report, a backup) keeps vacuum from taking away what drains leave behind."""

import asyncio
from functools import partial

import asyncpg

from shared.runtime.process import Process
from shared.runtime.settings import Settings
from tests.failure.facts import Database, counts
from tests.failure.fleet import fleet
from tests.ports import free_port
from tests.services import services
from tests.waiting import wait_until
from writer.store import upkeep as store
from writer.upkeep import Upkeep

DEAD_BYTES = 400_000


async def test_the_inbox_is_given_back_all_the_same_while_reads_come_in(
    database_url: str, database: Database
) -> None:
    settings = Settings.read({"database_url": database_url, "bind": f"127.0.0.1:{free_port()}"})
    process = Process("writer", settings)
    reporter = await asyncpg.connect(database_url)
    async with (
        services(database_url, gateway=2, writer=2, fanout=0) as running,
        fleet(database, *(each.url for each in running.gateways), count=4) as devices,
        reporter.transaction(isolation="repeatable_read"),
    ):
        await reporter.fetchval("SELECT count(*) FROM streams")
        async with devices.racing():
            upkeep = asyncio.create_task(Upkeep(process, dead_bytes=DEAD_BYTES, look_every_s=0.1).run())
            for _ in range(3):
                was = await inbox_file(database)
                await wait_until(
                    partial(emptied, database, was), deadline_s=15, what="the inbox to be emptied"
                )
            process.stop.ask()
            await upkeep
        await devices.drained()
        assert devices.reconnects == 0
        await devices.whole(database)
        assert (await store.inbox_state(database)).bytes < 4 * DEAD_BYTES
        assert await reporter.fetchval("SELECT count(*) FROM events") < (await counts(database)).events
    await reporter.close()


async def inbox_file(database: Database) -> int:
    """The number of the inbox's file: a truncate gives it a new one."""
    number: int = await database.fetchval("SELECT relfilenode::bigint FROM pg_class WHERE relname = 'inbox'")
    return number


async def emptied(database: Database, was: int) -> bool:
    return await inbox_file(database) != was

"""The inbox is given back what its dead rows occupy, whatever snapshots there are, and no live row is lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from shared.runtime.process import Process
from shared.runtime.settings import Settings
from tests.failure.facts import Database, lines
from tests.ports import free_port
from tests.waiting import stretched, wait_until
from tests.writer.inbox import GATEWAY, add_stream, drain, event, outcomes, put
from writer.store import upkeep as store
from writer.upkeep import Upkeep


@pytest.fixture
async def second(database_url: str) -> AsyncIterator[Database]:
    """Somebody else's connection."""
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def work(database: Database, times: int) -> None:
    """Leave dead rows behind."""
    stream_id = await add_stream(database, f"f{uuid4()}")
    for first in range(1, 200 * times, 200):
        await put(database, stream_id, [event(first + n, "x" * 200) for n in range(200)])
        await drain(database)


async def test_what_dead_rows_occupy_is_given_back_and_what_lives_is_kept(database: Database) -> None:
    await work(database, 20)
    stream_id = await add_stream(database)
    kept = await put(database, stream_id, [event(1, "a\0b🏁"), event(2, epoch=2)])
    told = await outcomes(database)
    before = await database.fetch("SELECT * FROM inbox ORDER BY part_id")
    size = (await store.inbox_state(database)).bytes
    assert await store.empty_inbox(database)
    assert (await store.inbox_state(database)).bytes < size / 5
    assert await database.fetch("SELECT * FROM inbox ORDER BY part_id") == before
    assert await outcomes(database) == told
    await put(database, stream_id, [event(3)])
    await drain(database)
    assert [row[1] for row in await lines(database, "f", "r")] == [1, 3, 2]
    assert set(kept) < (await outcomes(database)).keys()


async def test_it_is_given_back_under_a_long_snapshot_too(database: Database, second: Database) -> None:
    async with second.transaction(isolation="repeatable_read"):
        await second.fetchval("SELECT count(*) FROM streams")
        await work(database, 20)
        await database.execute("VACUUM inbox")
        size = (await store.inbox_state(database)).bytes
        assert size > 500_000  # vacuum may take nothing away
        assert await store.empty_inbox(database)
        assert (await store.inbox_state(database)).bytes < size / 5


async def test_who_holds_the_inbox_is_not_waited_for_long(database: Database, second: Database) -> None:
    stream_id = await add_stream(database)
    await put(database, stream_id, [event(1)])
    await database.execute("SET lock_timeout = '50ms'")
    async with second.transaction():
        await second.execute("LOCK TABLE inbox IN ACCESS SHARE MODE")  # as a backup does
        async with asyncio.timeout(stretched(1)):
            assert not await store.empty_inbox(database)
    assert await store.empty_inbox(database)
    assert await drain(database) is not None


async def test_outcomes_of_gateways_that_are_no_more_are_forgotten(database: Database) -> None:
    await database.execute(
        "INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, lease_expires_at)"
        " VALUES ($1, 'gateway', '', 1, '', '', true, now() - interval '1 hour')",
        GATEWAY,
    )
    stream_id = await add_stream(database)
    (ours,) = await put(database, stream_id, [event(1)])
    await put(database, stream_id, [event(2)], gateway_id=uuid4())
    await drain(database)
    await store.forget_outcomes(database)
    assert await outcomes(database) == {ours: "stored"}


async def test_the_upkeep_empties_an_inbox_that_has_grown(database: Database, database_url: str) -> None:
    settings = Settings.read({"database_url": database_url, "bind": f"127.0.0.1:{free_port()}"})
    process = Process("writer", settings)
    await work(database, 20)
    size = (await store.inbox_state(database)).bytes
    keeping = asyncio.create_task(Upkeep(process, dead_bytes=size // 2).run())

    async def smaller() -> bool:
        return (await store.inbox_state(database)).bytes < size / 5

    await wait_until(smaller, what="the inbox to be emptied")
    process.stop.ask()
    await keeping


def upkeep_of(database_url: str, old_snapshot_s: float = 60.0, **more: Any) -> tuple[Process, Upkeep]:
    process = Process(
        "writer", Settings.read({"database_url": database_url, "bind": f"127.0.0.1:{free_port()}"})
    )
    return process, Upkeep(process, look_every_s=0.05, old_snapshot_s=old_snapshot_s, **more)


# Room is made again only when the clock has gone on.
@pytest.mark.parametrize(
    "room", [{}, {"dead_bytes": 0, "clock": lambda: 0.0}], ids=["at rest", "when it waits to make room again"]
)
async def test_a_disk_that_lets_nothing_into_the_inbox_is_told_by_the_gateway(
    database: Database, database_url: str, room: dict[str, Any]
) -> None:
    process, upkeep = upkeep_of(database_url, **room)
    keeping = asyncio.create_task(upkeep.run())
    await database.execute(
        "INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, lease_expires_at, problem)"
        " VALUES ($1, 'gateway', '', 1, '', '', true, now() + interval '1 hour', 'the disk is full: so')",
        GATEWAY,
    )
    await wait_until(lambda: process.checks["inbox"]() == "the disk is full: so", what="the writer to say so")
    await database.execute("UPDATE processes SET problem = 'anything else'")
    await wait_until(lambda: process.checks["inbox"]() is None, what="the end of it")
    process.stop.ask()
    await keeping


async def test_who_holds_an_old_snapshot_is_told_by_one_writer(
    database: Database, second: Database, database_url: str
) -> None:
    process, upkeep = upkeep_of(database_url, 0.2)
    await add_writer(database, process.presence.process_id)
    await add_writer(database, UUID(int=2**128 - 1))
    other, other_upkeep = upkeep_of(database_url, 0.2)
    other.presence.process_id = UUID(int=2**128 - 1)
    keeping = [asyncio.create_task(each.run()) for each in (upkeep, other_upkeep)]
    await second.execute("SET application_name = 'a report'")
    async with second.transaction(isolation="repeatable_read"):
        pid = await second.fetchval("SELECT pg_backend_pid()")
        await wait_until(process.concerns["snapshot"], what="the writer to say so")
        assert f"held by a report (pid {pid}, user postgres) since " in (process.concerns["snapshot"]() or "")
        assert other.concerns["snapshot"]() is None
    await wait_until(lambda: process.concerns["snapshot"]() is None, what="the end of it")
    for each in (process, other):
        each.stop.ask()
    await asyncio.gather(*keeping)


async def add_writer(database: Database, process_id: UUID) -> None:
    await database.execute(
        "INSERT INTO processes (process_id, role, host, pid, address, version, holds_lock, lease_expires_at)"
        " VALUES ($1, 'writer', '', 1, '', '', false, now() + interval '1 hour')",
        process_id,
    )

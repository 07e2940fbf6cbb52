"""An import that takes long: nobody who only refers to its race waits for it, and nobody waits in a circle."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID, uuid4

import asyncpg
import pytest_asyncio

from api.races.imports import Participant
from api.races.store import mappings, races, roster
from shared.db.connections import Pool, Transaction
from tests.api.seeds import Database, add_forwarder_session, add_process, add_stream
from tests.waiting import wait_until

ADA, ALAN = Participant(1, "Ada", "Byron", None, "F"), Participant(2, "Alan", "Turing", None, "M")
_WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


@pytest_asyncio.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    async with asyncpg.create_pool(database_url, min_size=1, max_size=4) as pool:
        yield pool


async def kept(pool: Pool, change: Callable[[Transaction], Awaitable[bool]]) -> bool:
    """Change something, and commit that."""
    async with pool.acquire() as connection, connection.transaction():
        return await change(connection)


async def import_people(pool: Pool, race: UUID, *people: Participant) -> bool:
    """Import people as the api does: with the race in hand first. Return whether there was one."""

    async def change(connection: Transaction) -> bool:
        if await roster.hold(connection, race) is None:
            return False
        await roster.replace(connection, race, "participants", people, kept_days=0)
        return True

    return await kept(pool, change)


@asynccontextmanager
async def importing(
    pool: Pool, database: Database, race: UUID, *people: Participant
) -> AsyncIterator["asyncio.Future[bool]"]:
    """Import people into a race that has Ada and Alan; held up, with the race in hand, while this lasts."""
    await import_people(pool, race, ADA, ALAN)
    async with database.transaction():
        await database.execute("SELECT FROM participants WHERE race_id = $1 AND bib = 1 FOR UPDATE", race)
        task = asyncio.ensure_future(import_people(pool, race, *people))
        await waiting(pool, 1)
        yield task
    assert await task


async def waiting(pool: Pool, count: int) -> None:
    """Wait until so many wait for a lock."""
    await wait_until(lambda: _are_waiting(pool, count), what=f"{count} waiting for a lock")


async def _are_waiting(pool: Pool, count: int) -> bool:
    return bool(await pool.fetchval(_WAITING) == count)


async def add_race(pool: Pool) -> UUID:
    race = await races.add(pool, "10 km")
    assert race is not None
    return race.race_id


async def test_forwarders_epochs_receivers_and_reads_do_not_wait_for_an_import(
    pool: Pool, database: Database
) -> None:
    race, stream = await add_race(pool), await add_stream(database)
    fanout = await add_process(database, "fanout")
    await add_forwarder_session(database, "start", await add_process(database, "gateway"))
    session = await database.fetchval("SELECT session_id FROM forwarder_sessions")
    async with importing(pool, database, race, ALAN), asyncio.timeout(30):
        assert await mappings.assign(pool, "start", race) == (True, True)
        assert (await mappings.map_epoch(pool, stream, 7, race)).changed
        reserve = "SELECT reserve_epoch_of_race($1, 0, $2, $3)"
        assert await pool.fetchval(reserve, stream, session, race) == 2
        follow = "INSERT INTO receiver_sessions VALUES ($1, 'tent', $2, $1, '{}', now(), $3)"
        await pool.execute(follow, uuid4(), fanout, race)
        found = await roster.roster(pool, race)
        assert found is not None
        assert b"Byron" in found
    assert b"Byron" not in (await roster.roster(pool, race) or b"Byron")


async def test_a_person_who_is_removed_while_a_file_is_imported_is_gone_after_both(
    pool: Pool, database: Database
) -> None:
    race = await add_race(pool)
    async with importing(pool, database, race, ADA, ALAN):
        removing = asyncio.ensure_future(
            kept(pool, lambda one: roster.remove_participant(one, race, ALAN.bib))
        )
        await waiting(pool, 2)
    assert await removing
    assert await database.fetchval("SELECT array_agg(bib) FROM participants") == [1]


async def test_a_race_is_deleted_behind_an_import_with_all_that_it_brought(
    pool: Pool, database: Database
) -> None:
    race = await add_race(pool)
    async with importing(pool, database, race, ADA, ALAN):
        deleting = asyncio.create_task(races.delete(pool, race))
        await waiting(pool, 2)
    assert await deleting == "deleted"
    assert await database.fetchval("SELECT count(*) FROM participants") == 0

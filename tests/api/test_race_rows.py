"""What the database itself keeps of races: who may delete one, and which epoch is whose from its first moment on."""

import asyncio
from uuid import UUID, uuid4

import asyncpg
import pytest

from tests.api.seeds import (
    Database,
    add_forwarder_session,
    add_process,
    add_race,
    add_receiver_session,
    add_stream,
)
from tests.locks import SOMEBODY_WAITS
from tests.waiting import wait_until


async def follow(database: Database, race_id: UUID, *, lives: bool = True) -> None:
    """Let a receiver follow a race, in a session of a process that lives or not."""
    session = await add_receiver_session(
        database, "tent", await add_process(database, "fanout", lives=lives), []
    )
    await database.execute(
        "UPDATE receiver_sessions SET race_id = $2 WHERE session_id = $1", session, race_id
    )


async def delete(database: Database, race_id: UUID | None) -> str:
    return str(await database.fetchval("SELECT delete_races($1)", race_id))


async def session_of(database: Database, forwarder_id: str) -> UUID:
    await add_forwarder_session(database, forwarder_id, await add_process(database, "gateway"))
    session: UUID = await database.fetchval("SELECT session_id FROM forwarder_sessions")
    return session


async def reserve(database: Database, stream_id: UUID, race_id: UUID, session: UUID, seen: int = 0) -> object:
    return await database.fetchval(
        "SELECT reserve_epoch_of_race($1, $2, $3, $4)", stream_id, seen, session, race_id
    )


async def test_a_race_goes_with_its_people_chips_mappings_and_assignments(database: Database) -> None:
    race, other = await add_race(database), await add_race(database, "5 km")
    stream = await add_stream(database)
    for each, epoch in ((race, 1), (other, 2)):
        await database.execute("INSERT INTO participants VALUES ($1, 7, 'Ada', 'Byron', NULL, 'F')", each)
        await database.execute("INSERT INTO chips VALUES ($1, '058000000007', 7, 1, true)", each)
        await database.execute("INSERT INTO forwarder_races VALUES ($1, $2)", f"f{epoch}", each)
        await database.execute("INSERT INTO epoch_races VALUES ($1, $2, $3)", stream, epoch, each)
    await database.execute("INSERT INTO epoch_names VALUES ($1, 1, 'morning')", stream)
    await follow(database, race, lives=False)
    assert await delete(database, race) == "deleted"
    assert await delete(database, race) == "absent"
    for table in ("races", "participants", "chips", "forwarder_races", "epoch_races"):
        assert await database.fetchval(f"SELECT array_agg(race_id) FROM {table}") == [other], table
    assert await database.fetchval("SELECT name FROM epoch_names") == "morning"
    assert await database.fetchval("SELECT count(*) FROM receiver_sessions WHERE race_id IS NULL") == 1


async def test_a_race_that_a_live_session_follows_stays_and_so_do_all_others(database: Database) -> None:
    race, other = await add_race(database), await add_race(database, "5 km")
    await follow(database, race)
    assert await delete(database, race) == "followed"
    assert await delete(database, None) == "followed"
    assert await database.fetchval("SELECT count(*) FROM races") == 2
    assert await delete(database, other) == "deleted"


async def test_a_session_that_begins_while_its_race_is_deleted_finds_no_race(
    database_url: str, database: Database
) -> None:
    race = await add_race(database)
    fanout = await add_process(database, "fanout")
    another = await asyncpg.connect(database_url)
    try:
        async with another.transaction():
            assert await delete(another, race) == "deleted"
            beginning = asyncio.create_task(
                database.execute(
                    "INSERT INTO receiver_sessions VALUES ($1, 'tent', $2, $1, '{}', now(), $3)",
                    uuid4(),
                    fanout,
                    race,
                )
            )
            await wait_until(lambda: _waits_for_a_lock(another), what="a session that waits for the race")
        with pytest.raises(asyncpg.ForeignKeyViolationError):
            await beginning
    finally:
        await another.close()


async def test_a_race_is_kept_by_a_session_that_began_while_it_was_to_be_deleted(
    database_url: str, database: Database
) -> None:
    race = await add_race(database)
    another = await asyncpg.connect(database_url)
    try:
        async with another.transaction():
            await follow(another, race)
            deleting = asyncio.create_task(delete(database, race))
            await wait_until(lambda: _waits_for_a_lock(another), what="who waits for the race")
        assert await deleting == "followed"
    finally:
        await another.close()


async def _waits_for_a_lock(connection: Database) -> bool:
    return bool(await connection.fetchval(SOMEBODY_WAITS))


async def test_an_epoch_that_is_reserved_for_a_race_is_its_own_whatever_it_was_before(
    database: Database,
) -> None:
    race, other = await add_race(database), await add_race(database, "5 km")
    stream = await add_stream(database, epoch=3)
    session = await session_of(database, "start")
    await database.execute("INSERT INTO epoch_races VALUES ($1, 4, $2), ($1, 5, $2)", stream, other)
    assert await reserve(database, stream, race, session) == 4
    assert await reserve(database, stream, race, session, seen=7) == 8
    found = await database.fetch("SELECT stream_epoch, race_id FROM epoch_races ORDER BY stream_epoch")
    assert [tuple(each) for each in found] == [(4, race), (5, other), (8, race)]
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 8


async def test_nothing_is_reserved_for_a_race_or_by_a_session_that_is_gone(database: Database) -> None:
    race = await add_race(database)
    stream = await add_stream(database)
    session = await session_of(database, "start")
    assert await reserve(database, stream, race, uuid4()) is None
    assert await delete(database, race) == "deleted"
    assert await reserve(database, stream, race, session) is None
    assert await database.fetchval("SELECT count(*) FROM epoch_races") == 0
    assert await database.fetchval("SELECT stream_epoch FROM streams") == 1


async def test_an_epoch_is_taken_out_of_its_race_once(database: Database) -> None:
    stream = await add_stream(database)
    await database.execute("INSERT INTO epoch_races VALUES ($1, 1, $2)", stream, await add_race(database))
    found = [await database.fetchval("SELECT unmap_epoch($1, 1)", stream) for _ in range(2)]
    assert found == [True, False]

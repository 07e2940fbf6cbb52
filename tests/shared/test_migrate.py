"""Migrations: once, together, and never backwards."""

import asyncio
import re

import asyncpg
import pytest

from shared.db.connections import Connection
from shared.db.errors import DatabaseUnavailable, SchemaError
from shared.db.migrate import available, available_routines, migrate
from shared.errors import RtServerError
from tests.ports import free_port
from tests.waiting import wait_until

_NAME = "rt-server migrate"
_HANGS = (
    f"SELECT count(*) FROM pg_stat_activity WHERE application_name = '{_NAME}' AND wait_event_type = 'Lock'"
)


def _everything() -> list[str]:
    return [each.name for each in available()] + [f"routines/{each.name}" for each in available_routines()]


async def test_twenty_processes_that_start_at_once_apply_each_migration_once(empty_database_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_database_url) for _ in range(20)))
    assert sorted(name for names in applied for name in names) == _everything()


async def test_a_second_run_applies_nothing(database_url: str) -> None:
    assert await migrate(database_url) == []


async def test_what_cannot_be_noted_is_not_applied_and_the_next_notes_it(empty_database_url: str) -> None:
    noted: list[list[str]] = []

    async def note(connection: Connection, applied: list[str]) -> None:
        # In the very transaction, in which all of it is there.
        assert await connection.fetchval("SELECT count(*) FROM schema_routines") == len(available_routines())
        noted.append(applied)
        if len(noted) == 1:
            raise RtServerError("the log cannot be written")

    with pytest.raises(RtServerError, match="the log"):
        await migrate(empty_database_url, note)
    connection = await asyncpg.connect(empty_database_url)
    assert await connection.fetchval("SELECT count(*) FROM schema_routines") == 0
    await connection.close()
    applied = await migrate(empty_database_url, note)
    assert applied == [f"routines/{each.name}" for each in available_routines()]
    assert noted == [_everything(), applied]
    assert await migrate(empty_database_url, note) == []
    assert len(noted) == 2


async def test_a_database_newer_than_the_code_is_refused(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("INSERT INTO schema_migrations VALUES (999, '0999_next_year.sql', 'x')")
    with pytest.raises(SchemaError, match="use a newer rt-server"):
        await migrate(database_url)


async def test_a_migration_that_was_edited_after_it_was_applied_is_refused(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
    with pytest.raises(
        SchemaError, match=r"other contents .* use the rt-server that made .* another --data-dir"
    ):
        await migrate(database_url)


async def test_a_user_who_may_not_change_the_schema_is_told_who_can(empty_database_url: str) -> None:
    owner = await asyncpg.connect(empty_database_url)
    await owner.execute("CREATE ROLE migrates_nothing LOGIN")
    try:
        with pytest.raises(SchemaError, match="as the owner first"):
            await migrate(empty_database_url.replace("//postgres@", "//migrates_nothing@"))
    finally:
        await owner.execute("DROP ROLE migrates_nothing")
        await owner.close()


async def test_a_database_that_cannot_be_reached_is_told_without_its_password() -> None:
    with pytest.raises(DatabaseUnavailable) as caught:
        await migrate(f"postgresql://user:secret@127.0.0.1:{free_port()}/rt")
    assert "secret" not in str(caught.value)


async def test_a_migration_killed_in_the_middle_leaves_nothing_behind(empty_database_url: str) -> None:
    """Its lock and its transaction end with its connection: the next process applies all of it."""
    blocker = await asyncpg.connect(empty_database_url)
    watcher = await asyncpg.connect(empty_database_url)
    # The migration gets its lock and hangs at the first name that it wants to make.
    await blocker.execute("BEGIN; CREATE TABLE device_tokens (x int)")
    killed = asyncio.create_task(migrate(empty_database_url))
    await wait_until(lambda: watcher.fetchval(_HANGS), what="the migration to hang")
    await watcher.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", _NAME
    )
    with pytest.raises(DatabaseUnavailable):
        await killed
    await blocker.execute("ROLLBACK")
    await blocker.close()
    await watcher.close()
    assert await migrate(empty_database_url) == _everything()


def test_migrations_are_numbered_without_gaps() -> None:
    assert [each.version for each in available()] == list(range(1, len(available()) + 1))


async def test_a_database_made_while_migrations_held_routines_goes_on(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for each in available()[:3]:
        with_routines = re.search(r"([0-9a-f]{64}) \((?:the same, with its func|the drain itself)", each.sql)
        assert with_routines
        await database.execute(
            "UPDATE schema_migrations SET checksum = $2 WHERE version = $1", each.version, with_routines[1]
        )
    await database.execute("DROP TABLE schema_routines")
    assert await migrate(database_url) == [f"routines/{each.name}" for each in available_routines()]


async def test_a_database_of_any_earlier_text_of_a_migration_goes_on(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    for each in available():
        for earlier in each.known_as:
            await database.execute(
                "UPDATE schema_migrations SET checksum = $2 WHERE version = $1", each.version, earlier
            )
            assert await migrate(database_url) == []


async def test_a_routine_is_applied_again_when_it_has_changed_and_keeps_its_grants(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute(
        "CREATE OR REPLACE FUNCTION numbers_in(ranges int8multirange) RETURNS bigint LANGUAGE sql RETURN -1"
    )
    await database.execute("REVOKE ALL ON FUNCTION numbers_in FROM PUBLIC")
    await database.execute("UPDATE schema_routines SET checksum = 'other' WHERE name = 'operators.sql'")

    assert await migrate(database_url) == ["routines/operators.sql"]

    assert await database.fetchval("SELECT numbers_in('{[1,4)}')") == 3
    granted = "SELECT has_function_privilege('pg_monitor', 'numbers_in(int8multirange)', 'EXECUTE')"
    assert not await database.fetchval(granted)


async def test_a_routine_of_a_newer_release_is_left_as_it_is(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    await database.execute("UPDATE schema_routines SET checksum = 'newer', version = version + 1")
    assert await migrate(database_url) == []


async def test_tokens_of_receivers_that_could_not_be_told_apart_get_other_ids(
    database: "asyncpg.Connection[asyncpg.Record]",
) -> None:
    """Two of receiver-main made within a minute, by the release that made ids of the time."""
    ids = await database.fetch("SELECT uuidv7() AS token_id FROM generate_series(1, 3)")
    names = ("receiver-main", "receiver-main", "tent")
    for number, (row, name) in enumerate(zip(ids, names, strict=True)):
        await database.execute(
            "INSERT INTO device_tokens (token_id, token_hash, device_type, device_id)"
            " VALUES ($1, sha256($2), 'receiver', $3)",
            row["token_id"],
            bytes([number]),
            name,
        )
    migration = next(each for each in available() if each.name.endswith("token_ids.sql"))
    await database.execute(migration.sql)
    rows = await database.fetch("SELECT token_id, device_id FROM device_tokens ORDER BY device_id")
    assert len({str(row["token_id"])[:8] for row in rows[:2]}) == 2
    assert rows[2]["token_id"] == ids[2]["token_id"]

"""What is written of readers and batteries: the newest, only of who has the device, and versions in their order."""

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest

from gateway.store.devices import (
    Power,
    ReaderState,
    UpsState,
    begin_clearing,
    end_clearing,
    is_clearing,
    note_readers,
    note_ups,
)
from shared.db.connections import Pool, connect, create_pool
from tests.failure.facts import Database
from tests.locks import SOMEBODY_WAITS
from tests.waiting import wait_until

ON = '{"power_plugged": true, "battery_percent": 90, "sampled_at": 1}'
OFF = '{"power_plugged": false, "battery_percent": 89, "sampled_at": 2}'


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    """Connections as a gateway has them."""
    pool = await create_pool(database_url, name="gateway", size=2)
    yield pool
    await pool.close()


async def session(database: Database, forwarder_id: str = "f") -> UUID:
    """Let a new session have the forwarder."""
    session_id = uuid4()
    await database.execute(
        """
        INSERT INTO forwarder_sessions (forwarder_id, session_id, fence, gateway_id, token_id)
        VALUES ($1, $2, 1, gen_random_uuid(), gen_random_uuid())
        ON CONFLICT (forwarder_id) DO UPDATE SET session_id = excluded.session_id
        """,
        forwarder_id,
        session_id,
    )
    return session_id


async def stored(database: Database, *columns: str) -> tuple[object, ...]:
    row = await database.fetchrow(f"SELECT {', '.join(columns)} FROM reader_states WHERE reader_ip = 'r'")
    assert row is not None
    return tuple(row)


async def test_what_is_not_told_stays_within_a_session(pool: Pool, database: Database) -> None:
    held = await session(database)
    await note_readers(pool, [ReaderState("f", "r", held, connected=True)])
    await note_readers(pool, [ReaderState("f", "r", held, state="connected", info='{"banner": "x"}')])
    await note_readers(pool, [ReaderState("f", "r", held, download='{"progress": 1}')])
    assert await stored(database, "connected", "state", "reader_info::text", "download::text") == (
        True,
        "connected",
        '{"banner": "x"}',
        '{"progress": 1}',
    )


async def test_of_an_earlier_session_only_the_info_stays(pool: Pool, database: Database) -> None:
    state = ReaderState("f", "r", await session(database), True, "connected", '{"banner": "x"}', "{}")
    await note_readers(pool, [state])
    held = await session(database)
    assert await note_readers(pool, [ReaderState("f", "r", held, state="connecting")]) == ["f"]
    assert await stored(database, "session_id", "connected", "state", "reader_info::text", "download") == (
        held,
        None,
        "connecting",
        '{"banner": "x"}',
        None,
    )


async def test_who_has_lost_the_device_changes_nothing(pool: Pool, database: Database) -> None:
    lost = await session(database)
    held = await session(database)
    await note_readers(pool, [ReaderState("f", "r", held, connected=True)])
    await note_ups(pool, [UpsState("f", held, True, ON)])
    assert await note_readers(pool, [ReaderState("f", "r", lost, connected=False)]) == []
    assert await note_ups(pool, [UpsState("f", lost, False, OFF)]) == []
    assert await stored(database, "session_id", "connected") == (held, True)
    assert await database.fetchval("SELECT available FROM forwarder_ups")


async def test_the_same_again_is_no_change_but_the_info_is_younger(pool: Pool, database: Database) -> None:
    state = ReaderState("f", "r", await session(database), True, "connected", '{"banner": "x"}')
    assert await note_readers(pool, [state]) == ["f"]
    version, changed_at, info_at = await stored(database, "version", "changed_at", "info_at")
    assert await note_readers(pool, [state]) == []
    assert await stored(database, "version", "changed_at") == (version, changed_at)
    (younger,) = await stored(database, "info_at")
    assert younger > info_at  # type: ignore[operator]
    assert await note_readers(pool, [state._replace(connected=False)]) == ["f"]
    (risen,) = await stored(database, "version")
    assert risen > version  # type: ignore[operator]


async def test_a_loss_of_power_is_told_over_sessions(pool: Pool, database: Database) -> None:
    first = await session(database)
    assert await note_ups(pool, [UpsState("f", first, True, ON)]) == [Power("f", None, True, 90)]
    second = await session(database)
    assert await note_ups(pool, [UpsState("f", second, True, OFF)]) == [Power("f", True, False, 89)]
    assert await note_ups(pool, [UpsState("f", second, False, None)]) == [Power("f", False, False, 89)]
    row = await database.fetchrow("SELECT available, status::text FROM forwarder_ups")
    assert row is not None
    assert not row["available"]  # and what was last known of it stays
    assert '"power_plugged": false' in row["status"]
    assert await note_ups(pool, [UpsState("f", second, True, ON)]) == [Power("f", False, True, 90)]


async def test_versions_are_committed_in_their_order(
    pool: Pool, database: Database, database_url: str
) -> None:
    slow = await connect(database_url, name="a gateway whose commit is still to come")
    first, second = await session(database, "first"), await session(database, "second")
    transaction = slow.transaction()
    await transaction.start()
    await slow.fetch("SELECT note_ups('{first}', $1, '{true}', ARRAY[NULL]::jsonb[])", [first])
    other = asyncio.ensure_future(note_ups(pool, [UpsState("second", second, True, None)]))
    await wait_until(lambda: database.fetchval(SOMEBODY_WAITS), what="the other to wait for the version")
    assert await database.fetchval("SELECT count(*) FROM forwarder_ups") == 0
    await transaction.commit()
    await other
    rows = await database.fetch("SELECT forwarder_id FROM forwarder_ups ORDER BY version")
    assert [row["forwarder_id"] for row in rows] == ["first", "second"]
    await slow.close()


async def test_a_reader_that_clears_its_memory_is_known_to_do_so_for_a_time(
    pool: Pool, database: Database
) -> None:
    assert not await is_clearing(pool, "f", "r")
    await begin_clearing(pool, "f", "r", for_s=15)
    assert await is_clearing(pool, "f", "r")
    assert not await is_clearing(pool, "f", "another")
    await database.execute("UPDATE clearing_readers SET clearing_until = clock_timestamp()")
    assert not await is_clearing(pool, "f", "r")
    await begin_clearing(pool, "f", "r", for_s=15)
    await end_clearing(pool, "f", "r")
    assert not await is_clearing(pool, "f", "r")

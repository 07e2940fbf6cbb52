"""What a process notes for operators, coalesced where one subject repeats itself."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import pytest

from shared.db.connections import create_pool
from shared.runtime import activity as activity_module
from shared.runtime.activity import Activity
from shared.wake import Stop
from tests.failure.facts import Database
from tests.waiting import wait_until

Entries = Callable[[], Awaitable[list[tuple[str, Any]]]]


@asynccontextmanager
async def writing(database_url: str, activity: Activity, stop: Stop) -> AsyncIterator[None]:
    """Write what is noted inside."""
    async with await create_pool(database_url, name="test", size=1) as pool:
        running = asyncio.create_task(activity.run(pool))
        yield
        stop.ask()
        await running


async def entries(database: Database) -> list[tuple[str, Any]]:
    """Return events and fields, the oldest first."""
    rows = await database.fetch("SELECT event, fields FROM activity ORDER BY activity_id")
    return [(row["event"], json.loads(row["fields"])) for row in rows]


async def test_what_a_subject_repeats_becomes_one_entry_with_a_count(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_module, "WINDOW_S", 0.3)
    stop, written = Stop(), []
    activity = Activity(uuid4(), stop=stop, written=lambda: written.append(True))
    async with writing(database_url, activity, stop):
        for n in range(1_000):
            activity.note("forwarder_refused", of="a", n=n)
        activity.note("forwarder_refused", of="b")
        activity.note("forwarder_gone", of="a")
        activity.note("token_minted")
        activity.note("token_minted")
        expected = [
            ("forwarder_refused", {"n": 0}),
            ("forwarder_refused", {}),
            ("forwarder_gone", {}),
            ("token_minted", {}),
            ("token_minted", {}),
            ("forwarder_refused", {"n": 999, "count": 999}),
        ]

        async def coalesced() -> bool:
            return await entries(database) == expected

        await wait_until(coalesced, what="the count")
        assert written
        # Its window is over: it is news again.
        await wait_until(lambda: not activity.windows, what="the end of the window")
        activity.note("forwarder_refused", of="a", n=1_000)

        async def again() -> bool:
            return (await entries(database))[-1] == ("forwarder_refused", {"n": 1_000})

        await wait_until(again, what="the next entry")


async def test_what_is_coalesced_at_the_stop_is_written(database_url: str, database: Database) -> None:
    stop = Stop()
    activity = Activity(uuid4(), stop=stop)
    async with writing(database_url, activity, stop):
        for _ in range(3):
            activity.note("forwarder_gone", of="a")
    assert await entries(database) == [("forwarder_gone", {}), ("forwarder_gone", {"count": 2})]


async def test_the_subjects_that_are_coalesced_are_bounded(
    database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity_module, "WINDOWS_AT_MOST", 2)
    stop = Stop()
    activity = Activity(uuid4(), stop=stop)
    async with writing(database_url, activity, stop):
        for n in range(10):
            activity.note("forwarder_refused", of=str(n), n=n)
    assert await entries(database) == [
        ("forwarder_refused", {"n": 0}),
        ("forwarder_refused", {"n": 1}),
        ("activity_dropped", {"count": 8}),
    ]


async def test_what_is_recorded_is_there_at_once_behind_what_waits_and_once(
    database_url: str, database: Database
) -> None:
    stop = Stop()
    activity = Activity(uuid4(), stop=stop)
    activity.note("stream_renamed", n=1)
    async with await create_pool(database_url, name="test", size=1) as pool:
        await activity.record(pool, "restart_asked", by="anna")
        expected = [("stream_renamed", {"n": 1}), ("restart_asked", {"by": "anna"})]
        assert await entries(database) == expected
    async with writing(database_url, activity, stop):
        activity.note("restart_ended")
    assert await entries(database) == [*expected, ("restart_ended", {})]


async def test_an_entry_of_a_change_is_there_if_and_only_if_the_change_is(
    database_url: str, database: Database
) -> None:
    told: list[bool] = []
    activity = Activity(uuid4(), stop=Stop(), written=lambda: told.append(True))
    await database.execute("CREATE TABLE changed (what text)")
    async with await create_pool(database_url, name="test", size=1) as pool:
        with suppress(LookupError):
            async with activity.changing(pool) as (connection, note):
                await connection.execute("INSERT INTO changed VALUES ('half')")
                await note("changed", what="half")
                raise LookupError
        assert not told
        async with activity.changing(pool) as (connection, note):
            await connection.execute("INSERT INTO changed VALUES ('whole')")
            await note("changed", what="whole")
            assert not told, "what is told of is there to be found"
        assert told
    assert await database.fetchval("SELECT array_agg(what) FROM changed") == ["whole"]
    assert await entries(database) == [("changed", {"what": "whole"})]


async def test_what_a_device_changes_again_and_again_becomes_one_entry_with_a_count(
    database_url: str, database: Database
) -> None:
    stop = Stop()
    activity = Activity(uuid4(), stop=stop)
    async with writing(database_url, activity, stop):
        async with await create_pool(database_url, name="test", size=1) as pool:
            for n in range(20):
                async with activity.changing(pool) as (_, note):
                    await note("epoch_named", of="forwarder f", n=n)
        assert await entries(database) == [("epoch_named", {"n": 0})]
    assert await entries(database) == [("epoch_named", {"n": 0}), ("epoch_named", {"n": 19, "count": 19})]


async def test_changes_alone_have_the_table_trimmed(database_url: str, database: Database) -> None:
    """Of a process that notes nothing besides."""
    stop = Stop()
    activity = Activity(uuid4(), stop=stop)
    await database.execute(
        "INSERT INTO activity (level, process_id, event)"
        " SELECT 'info', gen_random_uuid(), 'old' FROM generate_series(1, 5010)"
    )

    async def trimmed() -> bool:
        return bool(await database.fetchval("SELECT count(*) FROM activity") <= 5000)

    async with writing(database_url, activity, stop):
        async with (
            await create_pool(database_url, name="test", size=1) as pool,
            activity.changing(pool) as (_, note),
        ):
            await note("new")
        await wait_until(trimmed, what="the newest entries alone")
    assert (await entries(database))[-1] == ("new", {})

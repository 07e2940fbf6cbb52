"""Notices of several api processes, one of which dies with a notice in hand: another sends it again, as it was."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.api.noticing import later, silent_box
from tests.api.seeds import Database
from tests.api.webhooks import Webhooks, webhooks
from tests.services import Process
from tests.waiting import wait_until


@pytest.fixture
async def hooks() -> AsyncIterator[Webhooks]:
    async with webhooks() as made:
        yield made


@pytest.fixture
async def told(database_url: str, hooks: Webhooks) -> AsyncIterator[list[Process]]:
    """Two api processes that tell one webhook, which answers nobody until it is released."""
    environment = {"ALERT_URLS": hooks.url("hangs", "?rto=20")}
    async with AsyncExitStack() as stack:
        found = [Process("api", database_url, environment) for _ in range(2)]
        for each in found:
            await each.start()
            stack.push_async_callback(end, each)
        await asyncio.gather(*(each.ready() for each in found))
        yield found


async def end(process: Process) -> None:
    if process.child is not None and process.child.returncode is None:
        await process.kill()


async def test_who_dies_between_sending_and_noting_has_it_sent_again_by_another_with_the_same_id(
    told: list[Process], hooks: Webhooks, database: Database
) -> None:
    await silent_box(database)
    await wait_until(
        lambda: database.fetchval("SELECT count(*) = 8 FROM noticed_alerts"), what="all eight to be noticed"
    )
    await later(database, 5)
    await wait_until(lambda: bool(hooks.came), what="the notice to come")
    pid = await database.fetchval(
        "SELECT pid FROM alert_notices JOIN processes ON process_id = taken_by WHERE state = 'taken'"
    )
    (holder,) = [each for each in told if each.pid == pid]
    await holder.kill()
    await wait_until(lambda: len(hooks.came) == 2, what="the other to send it again")
    hooks.released.set()
    await wait_until(
        lambda: database.fetchval("SELECT state = 'sent' FROM alert_notices"), what="it to be noted"
    )
    (_, first), (_, again) = hooks.came
    assert first == again
    assert "notice 1" in again["message"]
    row = await database.fetchrow("SELECT unsure, tries, reached FROM alert_notices")
    assert row is not None
    assert (row["unsure"], row["tries"], row["reached"]) == (True, 2, ["json 1"])
    # One that is gone, and its program with it, is no second sender.
    assert len(hooks.came) == 2


async def test_who_loses_the_database_while_sending_notes_it_afterwards_and_sends_nothing_twice(
    database_url: str, hooks: Webhooks, database: Database
) -> None:
    process = Process("api", database_url, {"ALERT_URLS": hooks.url("hangs", "?rto=20")})
    await process.start()
    try:
        await process.ready()
        await silent_box(database, readers=1)
        await wait_until(
            lambda: database.fetchval("SELECT count(*) = 1 FROM noticed_alerts"), what="it to be noticed"
        )
        await later(database, 5)
        await wait_until(lambda: bool(hooks.came), what="the notice to come")
        # All of them, so that the process has to find its way back, and is not alive in between.
        await database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'rt-server api%'"
        )
        hooks.released.set()
        await wait_until(
            lambda: database.fetchval("SELECT state = 'sent' FROM alert_notices"), what="it to be noted"
        )
    finally:
        await end(process)
    assert len(hooks.came) == 1
    assert await database.fetchval("SELECT tries FROM alert_notices") == 1


async def test_with_an_address_that_apprise_does_not_know_no_process_starts(database_url: str) -> None:
    process = Process("api", database_url, {"ALERT_URLS": "bogus://user:a-secret@there"})
    await process.start()
    assert await process.ended() == 1

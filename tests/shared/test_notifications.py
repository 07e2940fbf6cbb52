"""Bells and who hears them: they fold, they come back after a loss, and who was away looks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from shared.db.channels import INBOX, Bell
from shared.db.listener import Listener
from shared.wake import Stop
from tests.waiting import wait_until

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"


@asynccontextmanager
async def bell_and_listener(url: str, heard: list[str]) -> AsyncIterator[tuple[Bell, Listener, Stop]]:
    stop = Stop()
    bell = Bell(url, name="test", stop=stop)
    listener = Listener(url, name="test", stop=stop)
    listener.on(INBOX, heard.append)
    async with bell, listener, asyncio.TaskGroup() as tasks:
        tasks.create_task(bell.run())
        tasks.create_task(listener.run())
        yield bell, listener, stop
        stop.ask()


async def test_a_listener_is_told_to_look_as_soon_as_it_listens(database_url: str) -> None:
    heard: list[str] = []
    async with bell_and_listener(database_url, heard):
        assert heard == [""]


async def test_equal_rings_fold_and_different_ones_do_not(database_url: str) -> None:
    heard: list[str] = []
    async with bell_and_listener(database_url, heard) as (bell, _, _):
        for _ in range(100):
            bell.ring(INBOX, "a")
            bell.ring(INBOX, "b")
        await wait_until(lambda: len(heard) >= 3, what="both bells")
        bell.ring(INBOX, "end")
        await wait_until(lambda: "end" in heard, what="the last bell")
    assert heard == ["", "a", "b", "end"]


async def test_a_lost_listener_comes_back_and_looks(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    heard: list[str] = []
    async with bell_and_listener(database_url, heard) as (bell, listener, _):
        await database.execute(TERMINATE, "test listener")
        await wait_until(lambda: heard == ["", ""] and listener.problem is None, what="a second look")
        bell.ring(INBOX, "again")
        await wait_until(lambda: "again" in heard, what="a bell on the new connection")


async def test_a_lost_bell_rings_again_on_a_new_connection(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    heard: list[str] = []
    async with bell_and_listener(database_url, heard) as (bell, _, _):
        await database.execute(TERMINATE, "test bell")

        # The ring that meets the loss may be lost with it: the poll of whoever waits covers that.
        async def rings() -> bool:
            bell.ring(INBOX, "x")
            return "x" in heard

        await wait_until(rings, what="a ring after the loss")


async def test_switched_off_it_hears_nothing_and_has_no_problem(database_url: str) -> None:
    stop = Stop()
    listener = Listener(database_url, name="test", stop=stop, enabled=False)
    async with listener, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(listener.run())
        await asyncio.sleep(0)
        assert listener.problem is None
        assert not running.done()  # an end that nobody asked for would take the process down
        stop.ask()

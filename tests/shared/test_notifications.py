"""Notifications and who receives them: they are coalesced, they come again after a loss, and who was away looks."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from structlog.testing import capture_logs

from shared.db.channels import INBOX, Notifier
from shared.db.listener import Listener
from shared.wake import Stop
from tests.waiting import wait_until

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1"


@asynccontextmanager
async def notifier_and_listener(
    url: str, received: list[str]
) -> AsyncIterator[tuple[Notifier, Listener, Stop]]:
    stop = Stop()
    notifier = Notifier(url, name="test", stop=stop)
    listener = Listener(url, name="test", stop=stop)
    listener.on(INBOX, received.append)
    async with notifier, listener, asyncio.TaskGroup() as tasks:
        tasks.create_task(notifier.run())
        tasks.create_task(listener.run())
        yield notifier, listener, stop
        stop.ask()


async def test_a_listener_is_told_to_look_as_soon_as_it_listens(database_url: str) -> None:
    received: list[str] = []
    async with notifier_and_listener(database_url, received):
        assert received == [""]


async def test_equal_notifications_are_coalesced_and_different_ones_are_not(database_url: str) -> None:
    received: list[str] = []
    async with notifier_and_listener(database_url, received) as (notifier, _, _):
        for _ in range(100):
            notifier.notify(INBOX, "a")
            notifier.notify(INBOX, "b")
        await wait_until(lambda: len(received) >= 3, what="both notifications")
        notifier.notify(INBOX, "end")
        await wait_until(lambda: "end" in received, what="the last notification")
    assert received == ["", "a", "b", "end"]


async def test_who_cannot_read_a_payload_looks_at_everything_and_it_is_said_once(database_url: str) -> None:
    received: list[str] = []
    numbers: list[int | None] = []
    async with notifier_and_listener(database_url, received) as (notifier, listener, _):
        listener.on(INBOX, lambda payload: numbers.append(int(payload) if payload else None))
        listener.on(INBOX, received.append)  # behind it: who can read is told all the same
        with capture_logs() as lines:
            for payload in ("1", "secret" * 100, "9" * 5_000, "2"):
                notifier.notify(INBOX, payload)
                await wait_until(lambda: received[-1] == payload, what=payload[:9])  # noqa: B023 - at once
                assert received.count(payload) == 2  # both who can read are told
    assert numbers == [1, None, None, 2]
    said = [line for line in lines if line["event"] == "notification_unreadable"]
    assert [line["channel"] for line in said] == [INBOX]
    assert len(said[0]["error"]) <= 200


async def test_a_lost_listener_comes_back_and_looks(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    received: list[str] = []
    async with notifier_and_listener(database_url, received) as (notifier, listener, _):
        await database.execute(TERMINATE, "test listener")
        await wait_until(lambda: received == ["", ""] and listener.problem is None, what="a second look")
        notifier.notify(INBOX, "again")
        await wait_until(lambda: "again" in received, what="a notification on the new connection")


async def test_a_lost_notification_is_sent_again_on_a_new_connection(
    database_url: str, database: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    received: list[str] = []
    async with notifier_and_listener(database_url, received) as (notifier, _, _):
        await database.execute(TERMINATE, "test notifier")

        # The notification that meets the loss may be lost with it: the poll of whoever waits covers that.
        async def notified() -> bool:
            notifier.notify(INBOX, "x")
            return "x" in received

        await wait_until(notified, what="a notification after the loss")


async def test_switched_off_it_hears_nothing_and_has_no_problem(database_url: str) -> None:
    stop = Stop()
    listener = Listener(database_url, name="test", stop=stop, enabled=False)
    async with listener, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(listener.run())
        await asyncio.sleep(0)
        assert listener.problem is None
        assert not running.done()  # an end that nobody asked for would take the process down
        stop.ask()

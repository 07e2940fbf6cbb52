"""One live session for each forwarder: the first connection wins while it is alive (protocol.md, section 2.4)."""

import asyncio
from typing import Any

import asyncpg
import pytest
from structlog.testing import capture_logs

from gateway.store import sessions as store
from shared.db.errors import DatabaseRefused
from tests.failure.facts import Database
from tests.failure.link import link
from tests.failure.wire import Wire, batch, connect, forwarder, hello, read
from tests.gateway.conftest import Inside
from tests.waiting import stretched, wait_until

ALREADY = "a session for this device is already active"


async def refused(wire: Wire) -> None:
    await wire.send(hello())
    error = await wire.expect("error", within_s=stretched(5.0))
    assert (error["code"], error["message"]) == ("PROTOCOL_ERROR", ALREADY)
    assert await wire.closed() == 1008


async def answering(wire: Wire) -> None:
    """Answer pings as a device does that has nothing to say."""
    await wire.next(within_s=3600)


@pytest.mark.parametrize("where", ["here", "there"])
async def test_a_second_connection_is_refused_while_the_first_is_alive(
    inside: Inside, other: Inside, where: str, writer: object
) -> None:
    url = {"here": inside, "there": other}[where].url
    async with forwarder(inside.url, inside.token) as first:
        alive = asyncio.create_task(answering(first))
        for _ in range(2):
            async with connect(url, inside.token) as second:
                await refused(second)
        assert not alive.done()
        alive.cancel()
        await asyncio.wait([alive])
        await first.send(batch(read(1)))
        await first.ack()


async def test_the_place_is_free_once_the_first_has_closed(inside: Inside, other: Inside) -> None:
    async with forwarder(inside.url, inside.token):
        pass
    async with forwarder(other.url, inside.token):
        pass


async def test_the_place_is_free_once_the_first_has_vanished(inside: Inside, other: Inside) -> None:
    async with forwarder(inside.url, inside.token) as first:
        await first.drop()
    async with asyncio.timeout(stretched(2)), forwarder(other.url, inside.token):
        pass


async def test_a_half_open_first_connection_gives_way_to_the_second(inside: Inside, other: Inside) -> None:
    async with link(inside.url) as way, forwarder(way.url, inside.token):
        way.freeze()
        async with asyncio.timeout(stretched(5)), forwarder(other.url, inside.token):
            await wait_until(lambda: not inside.gateway.ownership.held, what="the first to be dropped")


async def test_a_session_that_ends_while_it_is_acquired_leaves_the_place_free(
    inside: Inside, database: Database, database_url: str
) -> None:
    async with forwarder(inside.url, inside.token):
        pass
    blocker = await asyncpg.connect(database_url)
    try:
        async with blocker.transaction():
            await blocker.execute("SELECT FROM forwarder_sessions FOR UPDATE")
            async with connect(inside.url, inside.token) as early:
                await early.send(hello())
                await wait_until(
                    lambda: inside.gateway.ownership.acquiring, what="the session to be asked for"
                )
                await early.drop()
            await wait_until(
                lambda: inside.gateway.acceptor.connections[0].gone, what="the end to be noticed"
            )
    finally:
        await blocker.close()
    await wait_until(lambda: not inside.gateway.acceptor.connections, what="the session to end")
    assert await database.fetchval("SELECT ended_at IS NOT NULL FROM forwarder_sessions")


async def test_a_session_that_is_not_known_to_be_acquired_yet_is_no_dead_session(
    inside: Inside, other: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    proceed = asyncio.Event()
    acquired = 0

    async def acquire(pool: Any, **fields: Any) -> int | None:
        nonlocal acquired
        acquired += 1
        fence = await acquire_truly(pool, **fields)
        if acquired == 1:
            await proceed.wait()
        return fence

    acquire_truly = store.acquire_session
    monkeypatch.setattr(store, "acquire_session", acquire)
    async with connect(inside.url, inside.token) as first:
        await first.send(hello())
        await wait_until(lambda: acquired, what="the first acquisition")
        async with connect(other.url, inside.token) as second:
            await refused(second)
        proceed.set()
        await first.expect("heartbeat")


async def test_a_probe_that_fails_is_loud_and_the_next_is_answered(
    inside: Inside, other: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = 0

    async def answer(*arguments: Any) -> None:
        nonlocal failed
        failed += 1
        if failed == 1:
            raise DatabaseRefused("no")
        await answer_truly(*arguments)

    answer_truly = store.answer_probe
    monkeypatch.setattr(store, "answer_probe", answer)
    async with forwarder(inside.url, inside.token) as first:
        alive = asyncio.create_task(answering(first))
        with capture_logs() as lines:
            async with connect(other.url, inside.token) as second:
                await refused(second)
        alive.cancel()
        await asyncio.wait([alive])
    (line,) = [each for each in lines if each["event"] == "task_failed"]
    assert (line["log_level"], line["task"], line["session_id"]) == ("error", "probe", first.session_id)


async def test_sessions_that_were_taken_over_are_dropped_when_the_gateway_returns(
    inside: Inside, database: Database
) -> None:
    async with forwarder(inside.url, inside.token) as first:
        await database.execute(
            "UPDATE forwarder_sessions SET gateway_id = gen_random_uuid(), fence = fence + 1"
        )
        inside.gateway.ownership.doubt()
        assert await first.closed() == 1006


async def test_what_is_sent_under_an_older_fence_is_not_written(
    inside: Inside, database: Database, writer: object
) -> None:
    async with forwarder(inside.url, inside.token) as first:
        await database.execute("UPDATE forwarder_sessions SET fence = nextval('session_fence')")
        await first.send(batch(read(1)))
        error = await first.expect("error")
        assert (error["code"], error["retryable"]) == ("SESSION_EXPIRED", True)
        assert await first.closed() == 1008
    assert not await database.fetchval("SELECT EXISTS (SELECT FROM events)")


async def test_a_doubt_that_comes_while_the_gateway_asks_is_looked_into_as_well(
    inside: Inside, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask_truly, asked = store.owned_sessions, 0

    async def ask(*arguments: Any) -> Any:
        nonlocal asked
        asked += 1
        owned = await ask_truly(*arguments)
        if asked == 1:
            await database.execute(
                "UPDATE forwarder_sessions SET gateway_id = gen_random_uuid(), fence = fence + 1"
            )
            inside.gateway.ownership.doubt()
        return owned

    async with forwarder(inside.url, inside.token) as first:
        monkeypatch.setattr(store, "owned_sessions", ask)
        inside.gateway.ownership.doubt()
        assert await first.closed() == 1006

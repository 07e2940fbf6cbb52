"""The event stream is bounded, whoever follows it, and no burden to a stop."""

import asyncio
import signal
import socket
from contextlib import AsyncExitStack

import aiohttp
import pytest

from api.live import routes as handlers
from api.live.messages import Resync
from api.live.view import Live
from tests.api.conftest import Ask, Client
from tests.api.following import OVERVIEW, following, store
from tests.api.seeds import (
    Database,
    add_stream,
)
from tests.api.sse import PATH, follow
from tests.services import Process
from tests.waiting import stretched, wait_until


@pytest.fixture
def small_ring(monkeypatch: pytest.MonkeyPatch) -> None:
    """A ring that is soon full."""
    monkeypatch.setattr("api.live.view.RING_MESSAGES", 10)


@pytest.mark.usefixtures("small_ring")
async def test_a_slow_client_is_told_to_start_anew_and_goes_on(live: Live, client: Client) -> None:
    async with following(client) as events:
        for _ in range(100):
            live.tell(Resync())
        # It is one of the loop's turns for us, and the ring has gone on without it.
        lost_at = live.ring.last_id
        assert (await events.next())["type"] == "resync"
        assert events.last_id == lost_at
        live.tell(Resync())
        await events.next()
        assert events.last_id == live.ring.last_id


async def test_a_client_that_does_not_read_is_dropped(
    live: Live, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.http.event_streams.CLIENT_WAITS_S", 0.2)
    with socket.socket() as silent:
        silent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        silent.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(silent, (client.host, client.port))
        await loop.sock_sendall(silent, f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await wait_until(lambda: live.listeners == 1, what="the silent client to be served")

        def dropped() -> bool:
            live.ring.add(b":" + b"x" * 500_000 + b"\n\n")
            return live.listeners == 0

        await wait_until(dropped, deadline_s=30, what="the silent client to be dropped")


async def test_no_more_listeners_than_there_are_places(
    live: Live, client: Client, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handlers, "LISTENERS_AT_ONCE", 1)
    async with following(client), client.get(PATH) as answer:
        assert answer.status == 503
    await wait_until(lambda: live.listeners == 0, what="the first to be gone")


async def test_a_crowd_costs_one_refresh(live: Live, ask: Ask) -> None:
    await asyncio.gather(*(ask("GET", OVERVIEW) for _ in range(20)))
    assert live.looks <= 10  # of twenty, where each comes by itself


async def test_nobody_listens_and_nothing_is_looked_at(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    def is_wanted(_: Live) -> bool:
        asked.set()
        return False

    with monkeypatch.context() as patch:
        patch.setattr(Live, "wanted", property(is_wanted))
        for _ in range(2):
            asked.clear()
            live.wake()
            await asked.wait()
        assert live.looks == 0
    with live.listening():
        live.wake()
        await wait_until(lambda: live.looks, what="a look")


async def test_the_numbers_of_a_stream_come_at_most_four_times_a_second(
    live: Live, client: Client, database: Database
) -> None:
    clock = [100.0]
    live.clock = lambda: clock[0]
    stream_id = await add_stream(database)
    async with following(client) as events:
        told: list[str] = []
        for n in range(1, 10):
            await store(database, stream_id, first_seq=n)
            before = live.ring.end
            await live.refresh()
            taken = live.ring.take(before, at_most=10**6)
            assert taken is not None
            told += ["metrics"] * taken[0].count(b"event: metrics_updated")
            clock[0] += 0.1
        # 0.0, 0.3, 0.6; the loop may have been the one who told.
        assert len(told) <= 3
        clock[0] += 1
        last = await events.until(
            lambda event: event["type"] == "metrics_updated" and event["card"]["epoch_reads"] == 9
        )
        assert last["metrics"]["dedup_count"] == 9


async def test_three_hundred_open_streams_do_not_hold_up_a_stop(
    apis: list[Process], http: aiohttp.ClientSession
) -> None:
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(follow(http, apis[0].url)) for _ in range(300)]
        apis[0].signal(signal.SIGTERM)
        async with asyncio.timeout(stretched(8)):
            assert await apis[0].ended() == 0
        assert len(streams) == 300

"""Pings and heartbeats, and receivers that answer nothing."""

import asyncio
from contextlib import suppress

import pytest

from shared.db.connections import Connection
from shared.transport import connection
from tests.delivery.stored import make_stream, store_many
from tests.delivery.wire import START, connect, stopped
from tests.fanout.conftest import running_inside
from tests.services import make_token
from tests.waiting import wait_until

# More is sent than the sockets hold, whether it is acked or not.
UNBRIDLED = {"max_in_flight": "100000", "replay_events_per_second": "0"}


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PING_EVERY_S", 0.1)
    monkeypatch.setattr(connection, "ANSWER_WITHIN_S", 1.2)


@pytest.fixture
async def token(database: Connection) -> str:
    return await make_token(database, "receiver", "tent")


async def sessions(database: Connection) -> int:
    return int(await database.fetchval("SELECT count(*) FROM receiver_sessions"))


async def test_a_half_open_receiver_is_dropped_and_its_row_ends(
    database_url: str, database: Connection, token: str
) -> None:
    async with running_inside(database_url) as url, connect(url, token) as wire:
        await wire.greet()
        assert await sessions(database) == 1

        # Nothing reads the socket meanwhile, so no ping is answered.
        await wait_until(lambda: no_sessions(database), deadline_s=5, what="the session to end")
        assert await wire.closed() == 1006


async def test_a_receiver_that_is_merely_silent_stays(
    database_url: str, database: Connection, token: str
) -> None:
    async with running_inside(database_url) as url, connect(url, token) as wire:
        await wire.greet()
        assert await wire.silent(for_s=2 * connection.ANSWER_WITHIN_S + 0.2)
        assert wire.frames.count("ping") >= 2
        assert (wire.open, await sessions(database)) == (True, 1)


async def test_no_ping_comes_before_the_first_heartbeat(database_url: str, token: str) -> None:
    async with running_inside(database_url) as url, connect(url, token) as wire:
        assert await wire.silent(for_s=0.5)
        assert wire.frames == []
        await wire.greet()

        async def pinged() -> bool:
            await wire.silent(for_s=0.05)
            return "ping" in wire.frames

        await wait_until(pinged, what="a ping")
    assert wire.frames[:2] == ["heartbeat", "ping"]


async def test_heartbeats_come_again_and_again(
    database_url: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "HEARTBEAT_EVERY_S", 0.1)
    async with running_inside(database_url) as url, connect(url, token) as wire:
        session_id = await wire.greet()
        for _ in range(3):
            assert await wire.next() == {"kind": "heartbeat", "session_id": session_id, "device_id": "tent"}


async def test_a_receiver_that_takes_little_by_little_is_alive_until_it_stops(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 20_000)
    loop = asyncio.get_running_loop()
    async with running_inside(database_url, **UNBRIDLED) as url, stopped(url, token, START) as raw:
        until = loop.time() + 2 * connection.ANSWER_WITHIN_S + 1
        while loop.time() < until:
            assert await loop.sock_recv(raw, 8_192)
            await asyncio.sleep(0.02)  # a slow link
        assert await sessions(database) == 1
        await wait_until(lambda: no_sessions(database), deadline_s=6, what="the session to end")


async def test_a_stuck_receiver_that_asks_for_an_answer_is_dropped_too(
    database_url: str, database: Connection, token: str
) -> None:
    await store_many(database, await make_stream(database, *START), 20_000)
    async with running_inside(database_url, **UNBRIDLED) as url, stopped(url, token, START) as raw:
        await wait_until(lambda: sessions(database), what="the session to begin")

        async def gone() -> bool:
            hello = b'{"kind":"receiver_hello"}'
            if await sessions(database):
                await asyncio.get_running_loop().sock_sendall(
                    raw, b"\x81" + bytes([0x80 | len(hello)]) + bytes(4) + hello
                )
                await asyncio.sleep(connection.ANSWER_WITHIN_S / 2)
                return False
            return True

        with suppress(ConnectionError):
            await wait_until(gone, deadline_s=10, what="the session to end")
        assert await wait_until(lambda: no_sessions(database), deadline_s=1)


async def no_sessions(database: Connection) -> bool:
    return not await sessions(database)

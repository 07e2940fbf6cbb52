"""What a process holds of large answers has a bound, whatever their clients take of them, and is given back."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from api.http import large
from tests.api.conftest import Client
from tests.api.seeds import Database
from tests.waiting import wait_until

# Far more than the sockets of both sides hold.
_MANY = """
INSERT INTO participants
SELECT $1, n, repeat('a', 200), repeat('b', 200), repeat('c', 200), 'X' FROM generate_series(1, 12000) AS n
"""


@pytest.fixture
async def roster(database: Database) -> str:
    """The path of a roster of 8 MB."""
    race_id: UUID = await database.fetchval("INSERT INTO races (name) VALUES ('marathon') RETURNING race_id")
    await database.execute(_MANY, race_id)
    return f"/api/v1/races/{race_id}/participants"


@asynccontextmanager
async def taking_nothing(client: Client, path: str) -> AsyncIterator[None]:
    """Ask for something, and take no more of it than its first byte."""
    narrow = socket.socket()
    narrow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    narrow.setblocking(False)
    loop = asyncio.get_running_loop()
    url = client.make_url(path)
    await loop.sock_connect(narrow, (url.host, url.port))
    try:
        await loop.sock_sendall(narrow, f"GET {path} HTTP/1.1\r\nHost: {url.host}\r\n\r\n".encode())
        assert await loop.sock_recv(narrow, 1) == b"H"
        yield
    finally:
        narrow.close()


async def status(client: Client, path: str) -> int:
    async with client.get(path) as answer:
        await answer.read()
        return answer.status


async def test_who_comes_when_much_is_on_its_way_is_told_to_ask_again_until_it_is_taken(
    client: Client, roster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "MOST_BYTES", 1024 * 1024)
    async with taking_nothing(client, roster):
        async with client.get(roster) as answer:
            assert answer.status == 503
            assert "Retry-After" in answer.headers
            assert (await answer.json())["code"] == "UNAVAILABLE"
        # What is small is answered all the same.
        assert await status(client, "/api/v1/races") == 200

    async def taken() -> bool:
        return await status(client, roster) == 200

    await wait_until(taken, what="the place to be given back")
    assert await taken()


async def test_who_takes_nothing_is_dropped(
    client: Client, roster: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(large, "MOST_BYTES", 1024 * 1024)
    monkeypatch.setattr(large, "SENT_WITHIN_S", 0.5)

    async def taken() -> bool:
        return await status(client, roster) == 200

    async with taking_nothing(client, roster):
        # Its time goes on from here, and those who ask now have all that they need.
        monkeypatch.setattr(large, "SENT_WITHIN_S", 60.0)
        await wait_until(taken, what="the one that takes nothing to be dropped")

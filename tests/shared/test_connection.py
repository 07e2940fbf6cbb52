"""Whether a device's connection is alive: a ping waits behind what the device takes slowly."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest
from aiohttp import web

from shared.transport import connection as module
from shared.transport.account import Account
from shared.transport.connection import DeviceConnection
from tests.ports import free_port
from tests.waiting import wait_until

# All of it fits into the kernel on our side, and next to nothing into the device's.
SENT_BYTES = 150_000
TAKES_BYTES = 1_500
TAKES_EVERY_S = 0.02

UPGRADE = b"\r\n".join(
    (
        b"GET / HTTP/1.1",
        b"Host: here",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        b"\r\n",
    )
)


class Device(NamedTuple):
    """A device's end of a connection, and ours."""

    raw: socket.socket
    connection: DeviceConnection

    async def take(self) -> int:
        """Take a little, as over a slow link; 0 when the connection has ended."""
        await asyncio.sleep(TAKES_EVERY_S)
        try:
            return len(await asyncio.get_running_loop().sock_recv(self.raw, TAKES_BYTES))
        except ConnectionError:
            return 0


@asynccontextmanager
async def device() -> AsyncIterator[Device]:
    """Connect a device that answers nothing, and to which SENT_BYTES are on their way."""
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[DeviceConnection] = loop.create_future()

    async def serve(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ours = request.transport.get_extra_info("socket")
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * SENT_BYTES)
        connection = DeviceConnection(request, Account(2**26), message_bytes=2**20)
        await connection.accept()
        connection.admit()
        connected.set_result(connection)
        await connection.receive()
        connection.end()
        return connection.response

    app = web.Application()
    app.router.add_get("/", serve)
    runner = web.AppRunner(app)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        await loop.sock_connect(raw, ("127.0.0.1", port))
        await loop.sock_sendall(raw, UPGRADE)
        connection = await connected
        await connection.send(b"x" * SENT_BYTES)
        await connection.flush()
        yield Device(raw, connection)
        connection.abort()
    await runner.cleanup()


async def test_a_device_that_takes_slowly_what_lies_before_a_ping_is_alive_until_it_takes_no_more() -> None:
    async with device() as each:
        asked = asyncio.ensure_future(each.connection.answers(1.0))
        while not asked.done():
            assert await each.take()
        assert asked.result()

        async def is_dead() -> bool:
            return not await each.connection.answers(0.2)

        await wait_until(is_dead, what="no answer from who takes nothing")
        assert not each.connection.gone


async def test_a_device_that_takes_slowly_what_lies_before_a_ping_is_not_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PING_EVERY_S", 0.1)
    monkeypatch.setattr(module, "ANSWER_WITHIN_S", 0.9)
    async with device() as each:
        alive = asyncio.ensure_future(each.connection.stay_alive("tent"))
        took = 0
        while took < SENT_BYTES:
            took += await each.take()
            assert not alive.done(), f"dropped when {took} bytes were taken"
        # From here on it has the ping, and answers nothing.
        while await each.take():
            pass
        await alive

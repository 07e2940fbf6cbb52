"""One WebSocket of a device: JSON objects out, JSON objects in, until it ends one way or another.

Devices answer pings, offer no compression, send nothing when idle and never give up on a silent server. What
the messages mean is not known here.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import orjson

from deploy.simulation.devices.messages import Message

__all__ = ["UNREACHABLE", "Connection", "open_connection"]

# What opening or using a connection may raise when there is no server, or a server that refuses.
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)

_OPEN_TIMEOUT_S = 10.0
# A server that is asked to close answers at once or is gone.
_CLOSE_TIMEOUT_S = 1.0
_MAX_MESSAGE_BYTES = 64 * 2**20


class Connection:
    """An open WebSocket; made by `open_connection`."""

    def __init__(self, http: aiohttp.ClientSession, socket: "aiohttp.ClientWebSocketResponse[bool]") -> None:
        self._http = http
        self._socket = socket

    async def send(self, message: Message) -> None:
        """Send one text frame; ConnectionError when the connection has ended."""
        await self._socket.send_frame(orjson.dumps(message), aiohttp.WSMsgType.TEXT)

    async def messages(self) -> AsyncIterator[Message]:
        """Yield what comes in text frames until the connection has ended."""
        while True:
            frame = await self._socket.receive()
            if self._http.closed:  # Dropped: what still lies in the buffer never reached the device.
                return
            if frame.type is aiohttp.WSMsgType.TEXT:
                yield orjson.loads(frame.data)
            elif frame.type is not aiohttp.WSMsgType.BINARY:
                return

    async def close(self) -> None:
        """End it with a close frame."""
        await self._socket.close()

    async def drop(self) -> None:
        """Vanish: end it without a close frame, as a device does that loses power or its network."""
        await self._http.close()


@asynccontextmanager
async def open_connection(url: str, token: str) -> AsyncIterator[Connection]:
    """Open a WebSocket at the http(s) `url` as the device that holds `token`; raises one of UNREACHABLE."""
    # A session of its own for each connection: closing it is what ends the transport without a close frame.
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as http:
        async with asyncio.timeout(_OPEN_TIMEOUT_S):
            socket = await http.ws_connect(
                url,
                headers={"Authorization": f"Bearer {token}"},
                timeout=aiohttp.ClientWSTimeout(ws_close=_CLOSE_TIMEOUT_S),
                compress=0,
                max_msg_size=_MAX_MESSAGE_BYTES,
                decode_text=False,
            )
        try:
            yield Connection(http, socket)
        finally:
            await socket.close()

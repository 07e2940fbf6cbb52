"""A WebSocket client as cheap as can be, so that what is measured is the server and not its load.

It speaks just enough of RFC 6455: an upgrade without looking at the answer's headers, whole frames, answers to
pings. Its frames are masked with zeros, which is valid and costs nothing.
"""

import asyncio
import struct
from typing import TypeVar, cast
from urllib.parse import urlsplit

__all__ = ["BareSocket", "connect", "frame"]

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_TEXT, _PING, _PONG = 1, 9, 10


def frame(payload: bytes, kind: int = _TEXT) -> bytes:
    """Return a client's frame."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | kind, 0x80 | size)
    elif size < 65536:
        head = struct.pack("!BBH", 0x80 | kind, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | kind, 0x80 | 127, size)
    return head + b"\0\0\0\0" + payload


class BareSocket(asyncio.Protocol):
    """One connection; subclasses say what to do once it is `opened` and with each text `message`."""

    path = "/"

    def __init__(self, token: str) -> None:
        self.lost = False
        self._token = token
        self._buffer = bytearray()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    def opened(self) -> None:
        """The upgrade went through: time for a hello."""

    def message(self, payload: bytes) -> None:
        """A text message came."""
        raise NotImplementedError

    def write(self, framed: bytes) -> None:
        """Send what `frame` made."""
        assert self._transport is not None
        self._transport.write(framed)

    def close(self) -> None:
        """Vanish."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by their class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(_UPGRADE.format(path=self.path, token=self._token).encode())

    def connection_lost(self, _exc: Exception | None) -> None:
        self.lost = True

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._upgrade():
            return
        buffer, at = bytes(self._buffer), 0
        while (payload := _payload(buffer, at)) is not None:
            self._take(buffer[at] & 0x0F, buffer[payload])
            at = payload.stop
        del self._buffer[:at]

    def _upgrade(self) -> bool:
        head, found, rest = bytes(self._buffer).partition(b"\r\n\r\n")
        if not found:
            return False
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionError(head.decode())
        self._upgraded = True
        self._buffer = bytearray(rest)
        self.opened()
        return True

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT:
            self.message(payload)
        elif kind == _PING:
            self.write(frame(payload, _PONG))


def _payload(buffer: bytes, at: int) -> slice | None:
    """Return where the payload of the frame at `at` stands; None when the frame is not whole yet."""
    if len(buffer) < at + 2:
        return None
    size, start = buffer[at + 1], at + 2
    if size == 126:
        start += 2
        size = int.from_bytes(buffer[at + 2 : start])
    elif size == 127:
        start += 8
        size = int.from_bytes(buffer[at + 2 : start])
    return slice(start, start + size) if len(buffer) >= start + size else None


S = TypeVar("S", bound=BareSocket)


async def connect(socket: S, url: str) -> S:
    """Connect it to a server's base URL; what it receives comes to its methods."""
    parts = urlsplit(url)
    loop = asyncio.get_running_loop()
    await loop.create_connection(lambda: socket, parts.hostname or "", parts.port or 80)
    return socket

"""A forwarder's socket, message by message: what a test sends goes out as it is, right or wrong."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from tests.upgrade import upgraded
from tests.waiting import PATIENCE_S, stretched

__all__ = [
    "READER",
    "Message",
    "Wire",
    "batch",
    "connect",
    "forwarder",
    "frame",
    "hello",
    "read",
    "reads",
    "refused",
    "unresponsive",
]

READER = "10.0.0.1:10000"

# Their pongs are more than Linux lets a socket hold unsent.
_PINGS = 40_000

Message = dict[str, Any]
Ack = list[tuple[str, int, int]]


class Wire:
    """An open WebSocket; made by `connect`. It answers pings, sends nothing unasked and never reconnects."""

    def __init__(
        self, http: aiohttp.ClientSession, upgraded: "aiohttp.ClientWebSocketResponse[bool]", headers: Any
    ) -> None:
        self.headers = headers
        self.session_id = ""
        self.seen: list[Message] = []
        self._http = http
        self._socket = upgraded

    async def send(self, message: Message | str | bytes) -> None:
        """Send one text frame: a message as JSON, anything else as it is."""
        if isinstance(message, str):
            message = message.encode()
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)

    async def send_binary(self, payload: bytes) -> None:
        """Send one binary frame."""
        await self._socket.send_frame(payload, aiohttp.WSMsgType.BINARY)

    async def ping(self) -> None:
        """Ping; the pong is swallowed unless `frames` is asked."""
        await self._socket.send_frame(b"anyone?", aiohttp.WSMsgType.PING)

    async def frame(self, *, within_s: float = PATIENCE_S) -> Any:
        """Return the next frame of any kind but pings, which are answered."""
        async with asyncio.timeout(within_s):
            while True:
                frame = await self._socket.receive()
                if frame.type is not aiohttp.WSMsgType.PING:
                    return frame
                await self._socket.send_frame(frame.data, aiohttp.WSMsgType.PONG)

    async def next(self, *, within_s: float = PATIENCE_S) -> Message | None:
        """Return the next message; None when the socket has ended."""
        while True:
            frame = await self.frame(within_s=within_s)
            if frame.type is aiohttp.WSMsgType.TEXT:
                message: Message = json.loads(frame.data)
                self.seen.append(message)
                return message
            if frame.type is not aiohttp.WSMsgType.PONG:
                return None

    async def expect(self, kind: str, *, within_s: float = PATIENCE_S) -> Message:
        """Return the next message but heartbeats, which must be of `kind`."""
        while (message := await self.next(within_s=within_s)) is not None:
            if message["kind"] == kind:
                return message
            assert message["kind"] == "heartbeat", message
        raise AssertionError(f"the socket ended with {self.close_code} before {kind}; came: {self.seen[-3:]}")

    async def greet(self, readers: Sequence[str] = (READER,), **fields: Any) -> str:
        """Say hello and return the id of the session."""
        await self.send(hello(readers, **fields))
        self.session_id = (await self.expect("heartbeat"))["session_id"]
        return self.session_id

    async def ack(self, *, within_s: float = PATIENCE_S) -> Ack:
        """Return the next ack as (reader_ip, epoch, last_seq)s."""
        message = await self.expect("forwarder_ack", within_s=within_s)
        return [(each["reader_ip"], each["stream_epoch"], each["last_seq"]) for each in message["entries"]]

    async def closed(self, *, within_s: float = PATIENCE_S) -> int | None:
        """Wait for the end and return the code of the close frame; 1006 when there was none."""
        while await self.next(within_s=within_s) is not None:
            pass
        return self.close_code

    @property
    def close_code(self) -> int | None:
        """The code of the close frame that came."""
        return self._socket.close_code

    async def drop(self) -> None:
        """Vanish without a close frame."""
        await self._http.close()


@asynccontextmanager
async def connect(url: str, token: str | None, **headers: str) -> AsyncIterator[Wire]:
    """Open a forwarder's socket at the base `url`; aiohttp.WSServerHandshakeError when it is refused."""
    async with upgraded(f"{url}/ws/v1/forwarders", token, headers) as (http, socket, answered):
        yield Wire(http, socket, answered)


async def refused(url: str, token: str | None = None) -> bool:
    """Whether an upgrade is answered 503, and when to come back."""
    try:
        async with connect(url, token):
            return False
    except aiohttp.WSServerHandshakeError as refusal:
        return refusal.status == 503 and refusal.headers is not None and "Retry-After" in refusal.headers


@asynccontextmanager
async def forwarder(url: str, token: str, readers: Sequence[str] = (READER,)) -> AsyncIterator[Wire]:
    """Open a socket and say hello."""
    async with connect(url, token) as wire:
        await wire.greet(readers)
        yield wire


def hello(readers: Sequence[str] = (READER,), **fields: object) -> Message:
    """Return a hello."""
    return {"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": list(readers), **fields}


def read(seq: int, line: str | None = None, *, reader: str = READER, epoch: int = 1) -> Message:
    """Return one read of a batch."""
    return {
        "forwarder_id": "",
        "reader_ip": reader,
        "stream_epoch": epoch,
        "seq": seq,
        "reader_timestamp": "2026-02-22T10:11:12.340",
        "raw_read_line": f"line {seq}" if line is None else line,
        "read_type": "raw",
    }


def frame(seq: int, line: bytes | None = None, *, reader: str = READER, epoch: int = 1) -> Message:
    """Return one read of a batch as newer forwarders send it."""
    told = read(seq, reader=reader, epoch=epoch)
    text = told.pop("raw_read_line")
    return {**told, "raw_frame": list(f"{text}\r\n".encode() if line is None else line), "read_type": "RAW"}


def reads(first: int, last: int, *, reader: str = READER, epoch: int = 1) -> list[Message]:
    """Return the reads from `first` to `last`, both included."""
    return [read(seq, reader=reader, epoch=epoch) for seq in range(first, last + 1)]


def batch(*events: Message, session_id: str = "") -> Message:
    """Return a batch of reads."""
    return {
        "kind": "forwarder_event_batch",
        "session_id": session_id,
        "batch_id": "b",
        "events": list(events),
    }


@asynccontextmanager
async def unresponsive(url: str, token: str) -> AsyncIterator[None]:
    """A forwarder that says hello and never reads a byte, not even the pongs to more pings than any buffer holds."""
    host, port = url.removeprefix("http://").split(":")
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(plain, (host, int(port)))
        upgrade = (
            f"GET /ws/v1/forwarders HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
            "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        await loop.sock_sendall(plain, upgrade.encode())
        await loop.sock_sendall(plain, _frame(aiohttp.WSMsgType.TEXT, json.dumps(hello([])).encode()))
        pings = _frame(aiohttp.WSMsgType.PING, b"?" * 125) * 1000
        with suppress(TimeoutError):
            async with asyncio.timeout(stretched(5)):
                for _ in range(_PINGS // 1000):
                    await loop.sock_sendall(plain, pings)
        yield


def _frame(kind: aiohttp.WSMsgType, payload: bytes) -> bytes:
    """A short client's frame, with a mask of zeros."""
    return bytes([0x80 | kind, 0x80 | len(payload), 0, 0, 0, 0]) + payload

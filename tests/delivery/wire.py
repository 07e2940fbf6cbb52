"""A receiver's socket, message by message: what a test sends goes out as it is, right or wrong."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import orjson

from tests.upgrade import upgraded
from tests.waiting import PATIENCE_S, stretched

__all__ = ["READER", "START", "Cursor", "Message", "Wire", "connect", "cursors", "receiver", "stopped"]

READER = "10.0.0.1:10000"
START = ("start", READER)

Message = dict[str, Any]
# (stream_epoch, seq)
Identity = tuple[int, int]
# (forwarder_id, reader_ip), stream_epoch, last_seq
Cursor = tuple[tuple[str, str], int, int]


def cursors(*named: Cursor) -> list[Message]:
    """Return cursors as a hello or an ack lists them."""
    return [
        {"forwarder_id": forwarder_id, "reader_ip": reader_ip, "stream_epoch": epoch, "last_seq": last_seq}
        for (forwarder_id, reader_ip), epoch, last_seq in named
    ]


class Wire:
    """An open WebSocket; made by `connect`. It answers pings, acks nothing unasked and never reconnects."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        socket: "aiohttp.ClientWebSocketResponse[bool]",
        headers: Any,
        patience_s: float,
    ) -> None:
        self.headers = headers
        self.patience_s = patience_s  # the bound of every wait that names none of its own, stretched
        self.session_id = ""
        self.frames: list[str] = []  # kinds of frames and messages, in the order they came
        self.batches: list[list[Message]] = []
        self._http = http
        self._socket = socket

    async def send(self, message: Message | bytes) -> None:
        """Send one text frame: a message as JSON, bytes as they are."""
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        await self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)

    async def send_binary(self, payload: bytes) -> None:
        """Send one binary frame."""
        await self._socket.send_frame(payload, aiohttp.WSMsgType.BINARY)

    async def ping(self) -> None:
        """Ping, whatever comes of it."""
        await self._socket.ping()

    async def next(self, *, within_s: float | None = None) -> Message | None:
        """Return the next message; None when the socket has ended."""
        async with asyncio.timeout(stretched(self.patience_s) if within_s is None else within_s):
            while True:
                frame = await self._socket.receive()
                if frame.type is aiohttp.WSMsgType.PING:
                    self.frames.append("ping")
                    with suppress(ConnectionError):
                        await self._socket.send_frame(frame.data, aiohttp.WSMsgType.PONG)
                elif frame.type is aiohttp.WSMsgType.TEXT:
                    message: Message = orjson.loads(frame.data)
                    self.frames.append(message["kind"])
                    return message
                else:
                    return None

    async def greet(self, receiver_id: str = "receiver-main", resume: Iterable[Cursor] = ()) -> str:
        """Say hello and return the id of the session."""
        await self.send(
            {"kind": "receiver_hello", "receiver_id": receiver_id, "resume": cursors(*resume) or None}
        )
        heartbeat = await self.next()
        assert heartbeat is not None, self._socket.close_code
        assert heartbeat["kind"] == "heartbeat", heartbeat
        self.session_id = heartbeat["session_id"]
        return self.session_id

    async def all_received(self) -> None:
        """Wait until all that was sent has been received: a hello is answered in its turn. Batches are passed over."""
        await self.send({"kind": "receiver_hello"})
        while (message := await self.next()) is not None and message["kind"] != "heartbeat":
            pass

    async def subscribe(self, *streams: tuple[str, str]) -> None:
        """Subscribe."""
        named = [
            {"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams
        ]
        await self.send({"kind": "receiver_subscribe", "session_id": self.session_id, "streams": named})

    async def ack(self, *named: Cursor) -> None:
        """Ack."""
        await self.send({"kind": "receiver_ack", "session_id": self.session_id, "entries": cursors(*named)})

    async def batch(self, *, within_s: float | None = None) -> list[Message]:
        """Return the events of the next batch; heartbeats are passed over."""
        while (message := await self.next(within_s=within_s)) is not None:
            if message["kind"] == "receiver_event_batch":
                assert message["session_id"] == self.session_id
                self.batches.append(message["events"])
                return self.batches[-1]
            assert message["kind"] == "heartbeat", message
        raise AssertionError(f"the socket ended with {self._socket.close_code} before a batch")

    async def take(self, count: int, *, acking: bool = True, within_s: float | None = None) -> list[Message]:
        """Return the next events, at least `count`, acking each batch or not."""
        events: list[Message] = []
        while len(events) < count:
            events += await self.batch(within_s=within_s)
            if acking:
                await self.ack_all(self.batches[-1])
        return events

    async def ack_all(self, events: list[Message]) -> None:
        """Ack events up to the highest of each epoch."""
        last: dict[tuple[str, str, int], int] = {}
        for each in events:
            epoch = (each["forwarder_id"], each["reader_ip"], each["stream_epoch"])
            last[epoch] = max(each["seq"], last.get(epoch, 0))
        await self.ack(*(((fid, ip), epoch, seq) for (fid, ip, epoch), seq in last.items()))

    async def identities(
        self, count: int, *, acking: bool = True, within_s: float | None = None
    ) -> list[Identity]:
        """The same as (stream_epoch, seq)s."""
        events = await self.take(count, acking=acking, within_s=within_s)
        return [(event["stream_epoch"], event["seq"]) for event in events]

    async def silent(self, *, for_s: float = 0.3) -> bool:
        """Whether no batch comes for so long. There is no fact to wait for where nothing may happen."""
        try:
            await self.batch(within_s=for_s)
        except TimeoutError:
            return True
        return False

    async def closed(self, *, within_s: float | None = None) -> int | None:
        """Wait for the end and return the code of the close frame; 1006 when there was none."""
        while await self.next(within_s=within_s) is not None:
            pass
        return self._socket.close_code

    @property
    def open(self) -> bool:
        """Whether the socket has not ended, as far as is known."""
        return not self._socket.closed

    async def drop(self) -> None:
        """Vanish without a close frame."""
        await self._http.close()


@asynccontextmanager
async def connect(
    url: str,
    token: str | None,
    headers: Mapping[str, str] = {},
    *,
    patience_s: float = PATIENCE_S,
    path: str = "/ws/v1/receivers",
) -> AsyncIterator[Wire]:
    """Open a receiver's socket at the base `url`; aiohttp.WSServerHandshakeError when it is refused."""
    async with upgraded(f"{url}{path}", token, headers, patience_s=patience_s) as (
        http,
        socket,
        answered,
    ):
        yield Wire(http, socket, answered, patience_s)


@asynccontextmanager
async def receiver(
    url: str,
    token: str,
    *streams: tuple[str, str],
    resume: Iterable[Cursor] = (),
    patience_s: float = PATIENCE_S,
) -> AsyncIterator[Wire]:
    """Open a socket, say hello and subscribe."""
    async with connect(url, token, patience_s=patience_s) as wire:
        await wire.greet(resume=resume)
        if streams:
            await wire.subscribe(*streams)
        yield wire


@asynccontextmanager
async def stopped(url: str, token: str, *streams: tuple[str, str]) -> AsyncIterator[socket.socket]:
    """Open a socket that says hello, subscribes and then reads nothing any more, with little room in its kernel."""
    parts = urlsplit(url)
    with socket.socket() as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(raw, (parts.hostname, parts.port))
        lines = (
            "GET /ws/v1/receivers HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Authorization: Bearer {token}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        )
        await loop.sock_sendall(raw, "".join(f"{line}\r\n" for line in (*lines, "")).encode())
        named = [
            {"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams
        ]
        for message in ({"kind": "receiver_hello"}, {"kind": "receiver_subscribe", "streams": named}):
            await loop.sock_sendall(raw, _frame(json.dumps(message).encode()))
        yield raw


def _frame(payload: bytes) -> bytes:
    """Return a masked text frame."""
    return b"\x81" + bytes([0x80 | 126]) + len(payload).to_bytes(2) + b"\0\0\0\0" + payload

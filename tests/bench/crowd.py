"""Many receivers in one process, as cheap as can be, so that what is measured is the server.

They speak just enough of the protocol: hello, subscribe, and an ack for each batch, whose last event they find
without parsing the rest. Their frames are masked with zeros, which is valid and costs nothing.
"""

import asyncio
import struct
import time
from collections.abc import Sequence
from typing import cast
from urllib.parse import urlsplit

import orjson

from tests.waiting import wait_until

__all__ = ["Crowd", "Member"]

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
_HELLO = orjson.dumps({"kind": "receiver_hello", "receiver_id": "receiver-main"})
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_BATCH = b'{"kind":"receiver_event_batch"'
_HEARTBEAT = b'{"kind":"heartbeat"'
# Reading the time off every message would cost more than counting it.
_TIMED_ONE_IN = 8


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


class Member(asyncio.Protocol):
    """One receiver."""

    def __init__(self, crowd: "Crowd", token: str) -> None:
        self.events = 0
        self.last_seq = 0
        self._crowd = crowd
        self._token = token
        self._buffer = bytearray()
        self._upgraded = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no asyncio.Transport by their class, only by what they do.
        self._transport = cast("asyncio.Transport", transport)
        upgrade = _UPGRADE.format(path="/ws/v1/receivers", host=self._crowd.host, token=self._token)
        self._transport.write(upgrade.encode())

    def connection_lost(self, _exc: Exception | None) -> None:
        self._crowd.lost += 1

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._upgraded and not self._upgrade():
            return
        buffer, at = bytes(self._buffer), 0
        while (payload := self._payload(buffer, at)) is not None:
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
        self._write(frame(_HELLO))
        return True

    @staticmethod
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

    def _take(self, kind: int, payload: bytes) -> None:
        if kind == _TEXT and payload.startswith(_BATCH):
            self._take_batch(payload)
        elif kind == _TEXT and payload.startswith(_HEARTBEAT):
            if not self._crowd.heartbeat(self):
                self._write(self._crowd.subscribe)
        elif kind == _PING:
            self._write(frame(payload, _PONG))

    def _take_batch(self, payload: bytes) -> None:
        at = payload.rfind(b'"seq":') + 6
        self.last_seq = int(payload[at : payload.find(b",", at)])
        count = payload.count(b'"seq":')
        self.events += count
        self._crowd.count(count, payload)
        if self._crowd.acks:
            self._write(frame(b"%b%d}]}" % (self._crowd.ack, self.last_seq)))

    def _write(self, payload: bytes) -> None:
        assert self._transport is not None
        self._transport.write(payload)


class Crowd:
    """Receivers of one server, all of the same streams, which have one epoch."""

    def __init__(self, url: str, streams: Sequence[tuple[str, str]], *, acks: bool = True) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self.acks = acks
        self.events = self.messages = self.lost = 0
        self.latencies_s: list[float] = []
        self.members: list[Member] = []
        self._address = parts.hostname or "", parts.port or 80
        named = [
            {"forwarder_id": forwarder_id, "reader_ip": reader_ip} for forwarder_id, reader_ip in streams
        ]
        self.subscribe = frame(
            orjson.dumps({"kind": "receiver_subscribe", "session_id": "", "streams": named})
        )
        entry = orjson.dumps({**named[0], "stream_epoch": 1, "last_seq": 0}).removesuffix(b"0}")
        self.ack = b'{"kind":"receiver_ack","session_id":"","entries":[' + entry
        self._greeted: set[Member] = set()

    async def join(self, tokens: Sequence[str], *, at_once: int = 50) -> None:
        """Connect one more member for each token, so many at a time, and wait until all are greeted."""
        until = len(self._greeted) + len(tokens)
        for start in range(0, len(tokens), at_once):
            await asyncio.gather(*(self._join(token) for token in tokens[start : start + at_once]))
        await wait_until(lambda: len(self._greeted) >= until, deadline_s=60, what="all to be greeted")

    async def _join(self, token: str) -> None:
        loop = asyncio.get_running_loop()
        _, member = await loop.create_connection(lambda: Member(self, token), *self._address)
        self.members.append(member)

    def heartbeat(self, member: Member) -> bool:
        """Whether the member has had one before."""
        known = member in self._greeted
        self._greeted.add(member)
        return known

    def count(self, events: int, payload: bytes) -> None:
        """Count a batch; its latency when the reader's timestamp of its last event is a time in seconds."""
        self.events += events
        self.messages += 1
        if self.messages % _TIMED_ONE_IN:
            return
        at = payload.rfind(b'"reader_timestamp":"') + 20
        text = payload[at : payload.find(b'"', at)]
        if text.replace(b".", b"").isdigit():
            self.latencies_s.append(time.time() - float(text))

    def leave(self) -> None:
        """Drop all connections."""
        for member in self.members:
            member.close()
        self.members.clear()
        self._greeted.clear()

"""A device that means harm, or is badly broken: with a good token of either type, or with none that anybody knows.

It has no account and gets no promise; all others keep theirs, while it goes on and afterwards.
- **oversize**: messages, first messages, lines and ignored fields beyond every bound.
- **conflicting**: other lines under the same identities, in both forms, again and again; acks of what was never
  sent; questions without end.
- **unfinished**: upgrades, messages and frames that begin and never end, a byte now and then.
- **numerous**: connections as many as it gets, each with a hello, and names of readers and streams without end.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import count
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from shared.protocol.ipico import compose
from tests.bench.sockets import frame

__all__ = ["ATTACKER", "Attacker", "Entrance"]

# What the names of its devices begin with.
ATTACKER = "intruder"

_MIB = 2**20
_READER = "10.6.6.6:10000"
_SOCKETS, _AT_ONCE = 24, 150
_UNFINISHED = 8 * _MIB  # sent of each; announced are fifteen
_CONFLICTS = 200  # in a batch
_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
)
_GONE = (OSError, RuntimeError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError)


class Entrance(NamedTuple):
    """Where it comes in, and with what."""

    path: str
    token: str

    @property
    def is_forwarders(self) -> bool:
        """Whether forwarders come in here."""
        return self.path.endswith("forwarders")

    @property
    def is_newer(self) -> bool:
        """Whether receivers of the second generation come in here."""
        return "/v1.2/" in self.path


class Attacker:
    """Attacks the server at `url` through one of the `entrances`."""

    def __init__(self, url: str, entrances: Sequence[Entrance]) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._entrances = entrances
        self._ways: dict[str, Callable[[Entrance], Awaitable[None]]] = {
            "oversize": self._oversize,
            "conflicting": self._conflicting,
            "unfinished": self._unfinished,
            "numerous": self._numerous,
        }

    async def attack(self, how: str, *, pick: int, seconds: float) -> None:
        """Go on for so long, whatever is answered."""
        entrance = self._entrances[pick % len(self._entrances)]
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while True:
                    with suppress(*_GONE):
                        await self._ways[how](entrance)
                    await asyncio.sleep(0.05)

    async def _oversize(self, entrance: Entrance) -> None:
        for large in oversize(entrance):
            with suppress(*_GONE):
                async with asyncio.timeout(1), _Socket(self._host, self._port) as socket:
                    await socket.upgrade(entrance)
                    for message in large:
                        await socket.send(message)
                    await socket.answered()

    async def _conflicting(self, entrance: Entrance) -> None:
        async with _Socket(self._host, self._port) as socket:
            await socket.upgrade(entrance)
            await socket.send(frame(hello(entrance)))
            await socket.answered()
            for number in count():
                await socket.send(frame(_in_conflict(entrance, number)))
                if entrance.is_forwarders:
                    await socket.answered()
                await asyncio.sleep(0.02)

    async def _unfinished(self, entrance: Entrance) -> None:
        await asyncio.gather(
            *(self._never_end(entrance, place) for place in range(_SOCKETS)), return_exceptions=True
        )

    async def _never_end(self, entrance: Entrance, place: int) -> None:
        async with _Socket(self._host, self._port) as socket:
            if place % 4 == 0:
                await socket.send(
                    _UPGRADE.format(path=entrance.path, host=self._host, token=entrance.token).encode()
                )
            else:
                await socket.upgrade(entrance)
                if place % 4 > 1:
                    await socket.send(frame(hello(entrance)))
                await socket.send(frame(bytes(15 * _MIB))[:_UNFINISHED])
            while True:
                await asyncio.sleep(0.2)
                await socket.send(b"a")

    async def _numerous(self, entrance: Entrance) -> None:
        await asyncio.gather(
            *(self._one_more(entrance, place) for place in range(_AT_ONCE)), return_exceptions=True
        )

    async def _one_more(self, entrance: Entrance, place: int) -> None:
        async with _Socket(self._host, self._port) as socket:
            await socket.upgrade(entrance)
            # The readers are always the same two hundred: how many a forwarder may have is for another test.
            names = [f"{_READER}-{0 if entrance.is_forwarders else place}-{number}" for number in range(200)]
            await socket.send(frame(hello(entrance, names)))
            if not entrance.is_forwarders:
                await socket.send(frame(subscription(names)))
            await socket.ended()


class _Socket:
    """A connection that is reset at the end."""

    def __init__(self, host: str, port: int) -> None:
        self._host, self._port = host, port

    async def __aenter__(self) -> "_Socket":
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.transport.abort()

    async def upgrade(self, entrance: Entrance) -> None:
        """Become a WebSocket; ConnectionError when that is refused."""
        request = _UPGRADE.format(path=entrance.path, host=self._host, token=entrance.token)
        await self.send(f"{request}\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        if b" 101 " not in head.split(b"\r\n")[0]:
            raise ConnectionRefusedError(head.decode())

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self._writer.write(data)
        await self._writer.drain()

    async def answered(self) -> None:
        """Wait for whatever comes."""
        if not await self._reader.read(65536):
            raise ConnectionResetError

    async def ended(self) -> None:
        """Read until there is nothing more."""
        while await self._reader.read(65536):
            pass


def hello(entrance: Entrance, names: Sequence[str] = (_READER,)) -> bytes:
    """Return a hello; a forwarder's names these readers, a receiver's resumes from them."""
    if entrance.is_forwarders:
        return orjson.dumps({"kind": "forwarder_hello", "forwarder_id": "", "reader_ips": names})
    cursors = [{**named, "stream_epoch": 1, "last_seq": 2**40} for named in _streams(names)]
    if entrance.is_newer:
        mode = {"mode": "live", "streams": _streams(names)}
        return orjson.dumps(
            {"kind": "receiver_hello_v12", "receiver_id": "", "mode": mode, "resume": cursors}
        )
    return orjson.dumps({"kind": "receiver_hello", "receiver_id": "", "resume": cursors})


def subscription(names: Sequence[str]) -> bytes:
    """Return a subscription to streams that nobody has."""
    return orjson.dumps({"kind": "receiver_subscribe", "session_id": "", "streams": _streams(names)})


def conflict(number: int) -> bytes:
    """Return a batch of the same identities as all others, with lines that no other has."""
    return events([line(seq + _CONFLICTS * number) for seq in range(_CONFLICTS)])


def _in_conflict(entrance: Entrance, number: int) -> bytes:
    if entrance.is_forwarders:
        return conflict(number)
    return question(number) if entrance.is_newer else vain_ack()


def question(number: int) -> bytes:
    """Return what a receiver asks, of kinds that change something and of none that there is, without end."""
    kinds = ("streams_list", "config_get", "file_upload", "nothing_known", "announcer_reset")
    kind = f"receiver_proxy_{kinds[number % len(kinds)]}_request"
    return orjson.dumps({"kind": kind, "request_id": str(number), "forwarder_id": ATTACKER})


def line(number: int) -> str:
    """Return the line of a chip that no other read has."""
    return compose(reader_id="66", tag_id=f"{number:012x}", read_at=datetime(2026, 2, 22, 10, 11, 12))  # noqa: DTZ001


def events(lines: Sequence[str], session_id: object = "") -> bytes:
    """Return a batch of these lines, numbered from 1."""
    batch = [
        {
            "forwarder_id": "",
            "reader_ip": _READER,
            "stream_epoch": 1,
            "seq": seq,
            "reader_timestamp": "",
            # Now one form, now the other.
            **({"raw_read_line": line} if seq % 2 else {"raw_frame": list(f"{line}\r\n".encode())}),
            "read_type": "raw",
        }
        for seq, line in enumerate(lines, start=1)
    ]
    return orjson.dumps(
        {"kind": "forwarder_event_batch", "session_id": session_id, "batch_id": "", "events": batch}
    )


def vain_ack() -> bytes:
    """Return an ack of ten thousand things that were never sent."""
    entries = [{**named, "stream_epoch": 1, "last_seq": 2**40} for named in _streams(map(str, range(10_000)))]
    return orjson.dumps({"kind": "receiver_ack", "session_id": "", "entries": entries})


def oversize(entrance: Entrance) -> list[list[bytes]]:
    """Return what to send on one connection after the other."""
    greeting = frame(hello(entrance))
    nested = b"[" * 200_000 + b"]" * 200_000
    batch = events([line(0)]) if entrance.is_forwarders else subscription([_READER])
    return [
        [frame(bytes(17 * _MIB))],  # as the first message
        [greeting, frame(bytes(17 * _MIB))],
        [greeting, frame(batch.replace(b'"session_id":""', b'"session_id":' + nested))],
        [greeting, frame(events(["x" * _MIB]) if entrance.is_forwarders else subscription(["x" * _MIB]))],
        [greeting, frame(os.urandom(_MIB))],
    ]


def _streams(names: Iterable[str]) -> list[dict[str, str]]:
    return [{"forwarder_id": ATTACKER, "reader_ip": name} for name in names]

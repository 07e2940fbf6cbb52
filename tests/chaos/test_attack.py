"""Each attack is what its name says: seen by a server that takes everything and answers anything."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from tests.chaos.attack import Attacker, Entrance
from tests.chaos.faults import ATTACKS
from tests.waiting import wait_until

ENTRANCES = [
    Entrance("/ws/v1/forwarders", "f"),
    Entrance("/ws/v1/receivers", "r"),
    Entrance("/ws/v1.2/receivers", "r"),
]


@dataclass
class Victim:
    """What came: sockets at once, sizes that were announced, messages that were finished, and how many were not."""

    url: str = ""
    open: int = 0
    most_open: int = 0
    announced: list[int] = field(default_factory=list)
    messages: list[Any] = field(default_factory=list)
    unfinished: int = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Be a WebSocket and answer each message."""
        self.open += 1
        self.most_open = max(self.open, self.most_open)
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
            while True:
                await self._message(reader)
                writer.write(b"\x81\x00")
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self.open -= 1
            writer.transport.abort()

    async def _message(self, reader: asyncio.StreamReader) -> None:
        head = await reader.readexactly(2)
        size = head[1] & 0x7F
        if size > 125:
            size = int.from_bytes(await reader.readexactly(2 if size == 126 else 8))
        self.announced.append(size)
        self.unfinished += 1
        await reader.readexactly(4)
        payload = await reader.readexactly(size)
        self.unfinished -= 1
        if payload.startswith(b"{"):
            self.messages.append(payload)


@asynccontextmanager
async def attacked(how: str, pick: int) -> AsyncIterator[Victim]:
    victim = Victim()
    server = await asyncio.start_server(victim.take, "127.0.0.1", 0)
    victim.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    attack = asyncio.create_task(Attacker(victim.url, ENTRANCES).attack(how, pick=pick, seconds=60))
    try:
        yield victim
    finally:
        attack.cancel()
        await asyncio.wait([attack])
        server.close()
        await wait_until(lambda: victim.open == 0, what="the attacker to be gone")


@pytest.mark.parametrize("pick", [0, 1])
async def test_oversize(pick: int) -> None:
    async with attacked("oversize", pick) as victim:
        await wait_until(
            lambda: max(victim.announced, default=0) > 16 * 2**20, what="a message beyond all bounds"
        )
        await wait_until(
            lambda: any(b"[" * 100_000 in each for each in victim.messages), what="a nested field"
        )


async def test_conflicting() -> None:
    async with attacked("conflicting", 0) as victim:
        await wait_until(lambda: len(victim.messages) > 3, what="some batches")
    first, second = (orjson.loads(each)["events"] for each in victim.messages[1:3])
    assert [event["seq"] for event in first] == [event["seq"] for event in second]
    assert not {*map(content, first)} & {*map(content, second)}
    assert {"raw_read_line" in event for event in first} == {True, False}  # either form is tried


def content(event: dict[str, Any]) -> bytes:
    """Return what an event of either form says."""
    return bytes(event["raw_frame"]) if "raw_frame" in event else event["raw_read_line"].encode()


async def test_questions_without_end() -> None:
    async with attacked("conflicting", 2) as victim:
        await wait_until(lambda: len(victim.messages) > 6, what="some questions")
    hello, *questions = map(orjson.loads, victim.messages[:6])
    assert hello["kind"] == "receiver_hello_v12"
    assert len({each["kind"] for each in questions}) == 5


async def test_acks_of_what_was_never_sent() -> None:
    async with attacked("conflicting", 1) as victim:
        await wait_until(lambda: len(victim.messages) > 2, what="some acks")
    assert len(orjson.loads(victim.messages[1])["entries"]) == 10_000


@pytest.mark.parametrize("pick", [0, 1])
async def test_unfinished(pick: int) -> None:
    async with attacked("unfinished", pick) as victim:
        await wait_until(lambda: victim.unfinished >= 18, what="messages that never end")
        assert victim.open == 24


@pytest.mark.parametrize("pick", [0, 1])
async def test_numerous(pick: int) -> None:
    async with attacked("numerous", pick) as victim:
        await wait_until(lambda: victim.open >= 150, what="all of them at once")
        await wait_until(lambda: len(victim.messages) >= 150, what="their hellos")


async def test_an_attack_ends_in_time_and_outlives_a_server_that_refuses() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 429 Too Many Requests\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await asyncio.gather(*(Attacker(url, ENTRANCES).attack(how, pick=0, seconds=0.3) for how in ATTACKS))
    server.close()

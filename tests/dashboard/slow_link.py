"""A slow link between a browser and a server, which counts what passes: requests, connections and bytes, both ways.

Half a round trip for what goes up and half for what comes down, a round trip for each new connection, and so many bytes
a second for all connections together in each direction. What is to be asserted are its counts, not its times: they are
the same on a machine that is busy with other things.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from shared.runtime.settings import host_port

__all__ = ["Request", "SlowLink", "named_by_page", "seconds", "seconds_over_tls", "slow_link"]

BYTES_PER_S: Final = 50_000
ROUND_TRIP_S: Final = 0.5
# What browsers open to one server that speaks HTTP/1.1.
CONNECTIONS: Final = 6
# What a public authority's chain of certificates has more than one that is made here.
CHAIN_BYTES: Final = 2_000
# The path of all that passes in a connection that nobody can look into.
ENCRYPTED: Final = "(encrypted)"

_HEAD = re.compile(rb"(?:GET|POST|HEAD|PUT|PATCH|DELETE) /(\S*) HTTP/1\.1\r\n")
_CHUNK = 16 * 1024


@dataclass
class Request:
    """A request that has passed: its path without the first slash, and the bytes of it and of its answer so far."""

    path: str
    up: int = 0
    down: int = 0


@dataclass
class _Way:
    """One direction of the link: what is sent waits for what was sent before, whatever connection that is of."""

    free_at: float = 0.0

    async def carry(self, size: int) -> None:
        now = asyncio.get_running_loop().time()
        self.free_at = max(now, self.free_at) + size / BYTES_PER_S
        await asyncio.sleep(self.free_at - now)


@dataclass
class SlowLink:
    """The link as it is."""

    server: tuple[str, int]
    requests: list[Request] = field(default_factory=list)
    url: str = ""
    _may_pass: Callable[[str], bool] = lambda _path: True
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _up: _Way = field(default_factory=_Way)
    _down: _Way = field(default_factory=_Way)
    ends: set[asyncio.StreamWriter] = field(default_factory=set)

    def let_pass(self, may_pass: Callable[[str], bool]) -> None:
        """Let requests of these paths go up, and have others wait until they may."""
        self._may_pass = may_pass
        self._changed.set()
        self._changed = asyncio.Event()

    @property
    def passed(self) -> int:
        """The bytes that have passed, both ways."""
        return sum(each.up + each.down for each in self.requests)

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection, until either side ends it."""
        # Whoever opens a connection says nothing before it stands.
        await asyncio.sleep(ROUND_TRIP_S)
        there, to_server = await asyncio.open_connection(*self.server)
        self.ends |= {writer, to_server}
        mine: list[Request] = []
        try:
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._carry_up(reader, to_server, mine))
                ways.create_task(self._carry_down(there, writer, mine))
        finally:
            for end in (writer, to_server):
                self.ends.discard(end)
                end.transport.abort()

    async def _carry_up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mine: list[Request]
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                # A browser asks again only when it has its answer: a request begins where a chunk does.
                if (head := _HEAD.match(chunk)) is not None or not mine:
                    path = ENCRYPTED if head is None else head[1].decode()
                    while not self._may_pass(path):
                        await self._changed.wait()
                    mine.append(Request(path))
                    self.requests.append(mine[-1])
                mine[-1].up += len(chunk)
                await self._up.carry(len(chunk))
                self._later(writer, chunk)
        writer.close()

    async def _carry_down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mine: list[Request]
    ) -> None:
        with suppress(ConnectionError):
            while chunk := await reader.read(_CHUNK):
                mine[-1].down += len(chunk)
                await self._down.carry(len(chunk))
                self._later(writer, chunk)
        writer.close()

    def _later(self, writer: asyncio.StreamWriter, chunk: bytes) -> None:
        """Let a chunk arrive half a round trip later; those of a connection keep their order."""
        loop = asyncio.get_running_loop()
        loop.call_later(ROUND_TRIP_S / 2, lambda: None if writer.is_closing() else writer.write(chunk))


@asynccontextmanager
async def slow_link(server: tuple[str, int]) -> AsyncIterator[SlowLink]:
    """Put a slow link before a server, and say by its `url` where it is reached."""
    link = SlowLink(server)
    listening = await asyncio.start_server(link.take, "127.0.0.1", 0)
    link.url = f"http://{host_port(listening.sockets[0].getsockname()[:2])}"
    try:
        yield link
    finally:
        listening.close()
        for each in list(link.ends):
            each.transport.abort()


def seconds(requests: Collection[Request]) -> float:
    """Return how long a page takes that loads its document first, and then all the rest of these requests at once.

    A connection and the document take a round trip each. Of the others the open connection takes one after the other,
    and each further one of the six as many but one: it has to be opened first. All bytes pass one after the other.
    """
    rounds, others = 2, len(requests) - 1
    while others > 0:
        rounds += 1
        others -= 1 if rounds == 3 else CONNECTIONS
    return rounds * ROUND_TRIP_S + sum(each.down for each in requests) / BYTES_PER_S


def seconds_over_tls(down: int) -> float:
    """Return how long the same takes over HTTPS, with a sign-in, by the bytes that came down in its one connection.

    A connection, its TLS (1.3), the document that is refused, the document and all the rest take a round trip each:
    HTTP/2 asks for everything at once. Not counted: whoever types the token, and what a server holds back until it
    knows the link.
    """
    return 5 * ROUND_TRIP_S + (down + CHAIN_BYTES) / BYTES_PER_S


async def named_by_page(url: str, password: str = "") -> tuple[set[str], set[str], set[str]]:
    """Return what the page at a URL names to be loaded at first, what else for its first page, and what for others."""
    shown = {"Authorization": f"Bearer {password}"}
    async with aiohttp.ClientSession(headers=shown) as http, http.get(url) as answer:
        head, later, others, _ = re.split("</head>|</template>", await answer.text())
    named = [set(re.findall(r'(?:href|src)="([\w./-]+)"', each)) for each in (head, later, others)]
    return named[0], named[1], named[2]

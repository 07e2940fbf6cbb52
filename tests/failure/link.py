"""The way between a device and the gateways, which a test can cut: a small TCP proxy."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

__all__ = ["Link", "link"]


class Link:
    """Takes connections and hands each to the first upstream that accepts it; made by `link`.

    `taken` is how many it took so far.
    """

    def __init__(self, upstreams: Sequence[str]) -> None:
        self.url = ""
        self.taken = 0
        self._upstreams = [url.removeprefix("http://").split(":") for url in upstreams]
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._generation = 0
        self._writers: set[asyncio.StreamWriter] = set()

    def freeze(self) -> None:
        """Let nothing through any more on the connections that are open, and tell neither side."""
        self._generation += 1

    def cut(self) -> None:
        """Reset all connections."""
        for writer in self._writers:
            writer.transport.abort()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        self.taken += 1
        there = await self._connected()
        if there is None:
            writer.transport.abort()
            return
        generation = self._generation
        self._writers |= {writer, there[1]}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(reader, there[1], generation))
                tasks.create_task(self._carry(there[0], writer, generation))
        finally:
            self._writers -= {writer, there[1]}
            writer.transport.abort()
            there[1].transport.abort()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for host, port in self._upstreams:
            with suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        return None

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, generation: int) -> None:
        # uvloop calls it a RuntimeError to write on a connection that was reset.
        with suppress(ConnectionError, RuntimeError):
            while chunk := await source.read(65536):
                if generation != self._generation:
                    continue  # frozen: packets are lost, nobody is told
                sink.write(chunk)
                await sink.drain()
        if generation == self._generation:
            sink.close()
            return
        await asyncio.Event().wait()  # frozen: not even the end is told


@asynccontextmanager
async def link(*upstreams: str) -> AsyncIterator[Link]:
    """Run a link to `upstreams` (base URLs) at `link.url`."""
    way = Link(upstreams)
    serving: set[asyncio.Task[None]] = set()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        with suppress(asyncio.CancelledError):
            await way.take(reader, writer)
        serving.discard(task)

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    way.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield way
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
